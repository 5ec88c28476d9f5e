package dash

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// scanner reads lines of metrics.jsonl. All lines of a run have the same names in
// the same order but where a resumed run schedules another hyperparameter, so it
// expects the text between the numbers of the line before and looks at names only
// where that fails.
type scanner struct {
	// names and the text that comes before each number: `{"update":`, `,"member":`.
	names  []string
	before [][]byte
	// values of the last line; NaN stands for null.
	values []float64
}

// The names every line begins with.
const (
	nameUpdate = "update"
	nameMember = "member"
	nameSteps  = "env_steps"
)

// line reads a line without its end. same is true where it has the names of the line
// before.
func (s *scanner) line(text []byte) (same bool, err error) {
	if s.expected(text) {
		return true, nil
	}
	return false, s.learn(text)
}

// expected reads a line that has the same names as the one before; false: it has not.
func (s *scanner) expected(text []byte) bool {
	if len(s.names) == 0 {
		return false
	}
	for i, before := range s.before {
		if !bytes.HasPrefix(text, before) {
			return false
		}
		value, n := parseNumber(text[len(before):])
		if n == 0 {
			return false
		}
		s.values[i], text = value, text[len(before)+n:]
	}
	return len(text) == 1 && text[0] == '}'
}

// learn reads a line and its names. A line is one object of numbers and nulls, as
// package train writes it.
func (s *scanner) learn(text []byte) error {
	s.names, s.before, s.values = s.names[:0], s.before[:0], s.values[:0]
	rest := text
	for open := []byte(`{"`); len(rest) > 0; open = []byte(`,"`) {
		if !bytes.HasPrefix(rest, open) {
			break
		}
		end := bytes.IndexByte(rest[2:], '"')
		if end < 0 || len(rest) < end+4 || rest[end+3] != ':' {
			break
		}
		value, n := parseNumber(rest[end+4:])
		if n == 0 {
			break
		}
		s.names = append(s.names, string(rest[2:end+2]))
		s.before = append(s.before, bytes.Clone(rest[:end+4]))
		s.values = append(s.values, value)
		if rest = rest[end+4+n:]; len(rest) == 1 && rest[0] == '}' && len(s.names) >= 3 {
			if s.names[0] != nameUpdate || s.names[1] != nameSteps || s.names[2] != nameMember {
				return fmt.Errorf("it begins with the names %q, want %s, %s, %s", s.names[:3], nameUpdate, nameSteps, nameMember)
			}
			return nil
		}
	}
	s.names, s.before = s.names[:0], s.before[:0]
	return fmt.Errorf("byte %d of the line: want an object of numbers, one after the other, that begins with %s, %s, %s",
		len(text)-len(rest), nameUpdate, nameSteps, nameMember)
}

// powers of ten that a float64 holds exactly.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// parseNumber reads a JSON number or null at the start of text, and says how many
// bytes it takes; 0: there is none. The value may be off by two units in the last
// place of a float64, of which a chart shows nothing: what is kept is a float32.
func parseNumber(text []byte) (value float64, n int) {
	if bytes.HasPrefix(text, []byte("null")) {
		return math.NaN(), 4
	}
	negative := len(text) > 0 && text[0] == '-'
	i := 0
	if negative {
		i = 1
	}
	var mantissa uint64
	digits, scale, point := 0, 0, false
	start := i
	for ; i < len(text); i++ {
		c := text[i] - '0'
		if c < 10 {
			if mantissa < 1e18 {
				mantissa = mantissa*10 + uint64(c)
			} else {
				scale++ // a digit that no float64 has room for
			}
			if point {
				scale--
			}
			digits++
			continue
		}
		if text[i] != '.' || point || i == start {
			break
		}
		point = true
	}
	if digits == 0 || text[i-1] == '.' {
		return 0, 0
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		return parseExponent(text, i)
	}
	value = float64(mantissa)
	switch {
	case scale < 0 && scale >= -22:
		value /= powers[-scale]
	case scale > 0 && scale <= 22:
		value *= powers[scale]
	case scale != 0:
		value *= math.Pow10(scale)
	}
	if negative {
		value = -value
	}
	return value, i
}

// parseExponent reads a number whose e is at a place: these are few.
func parseExponent(text []byte, at int) (value float64, n int) {
	n = at + 1
	if n < len(text) && (text[n] == '+' || text[n] == '-') {
		n++
	}
	first := n
	for n < len(text) && text[n]-'0' < 10 {
		n++
	}
	if n == first {
		return 0, 0
	}
	value, err := strconv.ParseFloat(string(text[:n]), 64)
	if err != nil {
		return 0, 0
	}
	return value, n
}
