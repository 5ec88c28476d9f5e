// Package docs holds the reference page within the program: what `brood init`
// writes beside a key, and what the shell's completion says of it, is what the page
// says.
package docs

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed reference.md
var reference string

// Key is a row of the page's tables of configuration keys. Its texts are plain:
// without the page's marks.
type Key struct {
	// Path is the dotted path, as train.Keys lists it.
	Path string
	// Type is number, integer, text, switch, or a list or map of these.
	Type string
	// Default as the page writes it; empty where the row has none.
	Default string
	// Valid says which values there may be.
	Valid string
	// Meaning is what the key does, with its unit.
	Meaning string
	// Words are the values that Valid lists word by word; none where it is a range.
	Words []string
}

// Keys returns the rows in the order of the page.
func Keys() ([]Key, error) { return keysOf(reference) }

var (
	keyRow = regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z0-9_.*]+)`[ *]* \\|.*$")
	link   = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)
	// words is a cell that holds nothing but values, such as "`max`, `min`".
	words = regexp.MustCompile("^`[^`]+`(, `[^`]+`)*$")
)

func keysOf(page string) (keys []Key, err error) {
	_, section, found := strings.Cut(page, "\n## Configuration\n")
	if !found {
		return nil, fmt.Errorf("docs: the page has no section Configuration")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	seen := map[string]bool{}
	for _, row := range keyRow.FindAllStringSubmatch(section, -1) {
		cells := cellsOf(row[0])
		if len(cells) != 5 {
			return nil, fmt.Errorf("docs: the row of %s has %d cells; want key, type, default, valid and meaning", row[1], len(cells))
		}
		if seen[row[1]] {
			return nil, fmt.Errorf("docs: %s has two rows", row[1])
		}
		seen[row[1]] = true
		k := Key{Path: row[1], Type: plain(cells[1]), Default: plain(cells[2]), Valid: plain(cells[3]), Meaning: plain(cells[4])}
		if words.MatchString(cells[3]) {
			k.Words = strings.Split(k.Valid, ", ")
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// cellsOf splits a table's row; \| within a cell is a character of it.
func cellsOf(row string) []string {
	const escaped = "\x00"
	row = strings.ReplaceAll(strings.TrimSpace(row), `\|`, escaped)
	cells := strings.Split(strings.Trim(row, "|"), "|")
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(cell, escaped, "|"))
	}
	return cells
}

func plain(cell string) string {
	return strings.ReplaceAll(link.ReplaceAllString(cell, "$1"), "`", "")
}
