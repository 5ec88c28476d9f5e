// Package yamltext parses YAML of no known origin, such as a configuration inside a
// checkpoint, within bounds.
package yamltext

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A configuration can come from anywhere, inside a checkpoint for one, and the
// parser takes time and memory that grow with the square of some numbers, and of
// nesting as deep as the text is long. These bounds are far beyond any
// configuration: the longest part is run.schedule, of which they leave room for
// ten thousand values.
const (
	maxText    = 1 << 20 // bytes
	maxLines   = 40_000
	maxLine    = 16 << 10 // bytes
	maxNesting = 64
	// maxKeys bounds the keys under one key, and maxItems the items within brackets.
	maxKeys  = 1000
	maxItems = 20_000
	// maxShown bounds what a message shows of what was written, in bytes.
	maxShown = 200
)

// MaxBytes is the most that a text can have. Who reads one needs no more to see that
// it is too long.
const MaxBytes = maxText

// byteOrderMark is what some editors put before UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

// Parse reads YAML of no known origin; problem says what is wrong with it, empty:
// nothing.
func Parse(text []byte) (file *ast.File, problem string) {
	text = bytes.TrimPrefix(text, byteOrderMark)
	if problem = beyond(text); problem != "" {
		return nil, problem
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, "not valid YAML: " + Shortened(strings.Join(strings.Fields(err.Error()), " "), maxShown) + tabHint(text)
	}
	return file, ""
}

// tabHint names the first line that begins with a tab, which looks like spaces and
// is none to YAML.
func tabHint(text []byte) string {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if indentation := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.IndexByte(indentation, '\t') >= 0 {
			return fmt.Sprintf("; line %d is indented with a tab, and YAML wants spaces", i+1)
		}
	}
	return ""
}

// notText says where the text is none: a binary file, or one in another encoding.
func notText(text []byte) string {
	at := bytes.IndexByte(text, 0)
	if !utf8.Valid(text) {
		for i := 0; i < len(text); {
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				if at < 0 || i < at {
					at = i
				}
				break
			}
			i += size
		}
	}
	if at < 0 {
		return ""
	}
	return fmt.Sprintf("not a text in UTF-8: byte %d is 0x%02x", at, text[at])
}

// beyond says which bound the text exceeds; empty: none. It looks at characters
// and not at their meaning: brackets within quotes count as any others.
func beyond(text []byte) string {
	if len(text) > maxText {
		return fmt.Sprintf("%d bytes of YAML; a configuration has at most %d", len(text), maxText)
	}
	if problem := notText(text); problem != "" {
		return problem
	}
	if n := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")); n > maxLines {
		return fmt.Sprintf("%d lines of YAML; a configuration has at most %d", n, maxLines)
	}
	s := scan{line: 1}
	for rest := text; len(rest) > 0; s.line++ {
		end := bytes.IndexAny(rest, "\n\r")
		if end < 0 {
			end = len(rest)
		}
		if problem := s.check(rest[:end]); problem != "" {
			return fmt.Sprintf("line %d: %s", s.line, problem)
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return ""
}

// scan counts what is nested over the lines of a text.
type scan struct {
	line int
	// items are the numbers of items within the brackets that are open.
	items []int
	// keys are the lines at each indentation, since one that was less indented.
	keys []indented
}

type indented struct{ columns, keys int }

func (s *scan) check(line []byte) string {
	if len(line) > maxLine {
		return fmt.Sprintf("%d bytes; a line has at most %d", len(line), maxLine)
	}
	if problem := s.indentation(line); problem != "" {
		return problem
	}
	marks := 0 // that may each begin a level, as in "- - - ? 1"
	quoted := false
	for i, c := range line {
		blank := i+1 == len(line) || line[i+1] == ' ' || line[i+1] == '\t'
		if c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			break // a comment
		}
		switch c {
		case '"', '\'':
			quoted = true
		case '[', '{':
			s.items = append(s.items, 0)
		case ']', '}':
			s.items = s.items[:max(0, len(s.items)-1)]
		case ',':
			if n := len(s.items); n > 0 {
				if s.items[n-1]++; s.items[n-1] > maxItems {
					return fmt.Sprintf("more than %d items within brackets", maxItems)
				}
			}
		case ' ', '\t':
			continue
		}
		if marks++; !blank || c != '-' && c != '?' && c != ':' {
			marks = 0
		}
		if len(s.items) > maxNesting || marks > maxNesting {
			return fmt.Sprintf("nested more than %d deep", maxNesting)
		}
	}
	return ""
}

// indentation counts the keys under one key: lines of one indentation with none
// less indented between them.
func (s *scan) indentation(line []byte) string {
	columns := len(line) - len(bytes.TrimLeft(line, " \t"))
	if columns == len(line) || line[columns] == '#' {
		return ""
	}
	for len(s.keys) > 0 && s.keys[len(s.keys)-1].columns > columns {
		s.keys = s.keys[:len(s.keys)-1]
	}
	if n := len(s.keys); n == 0 || s.keys[n-1].columns < columns {
		s.keys = append(s.keys, indented{columns: columns})
	}
	if len(s.keys) > maxNesting {
		return fmt.Sprintf("nested more than %d deep", maxNesting)
	}
	at := &s.keys[len(s.keys)-1]
	if strings.IndexByte("-[]{}", line[columns]) < 0 && bytes.IndexByte(line, ':') >= 0 {
		if at.keys++; at.keys > maxKeys {
			return fmt.Sprintf("more than %d keys side by side", maxKeys)
		}
	}
	return ""
}

// Shortened is a text for a message, which must stay readable: at most so many
// bytes of it.
func Shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + fmt.Sprintf("... (%d bytes)", len(s))
}
