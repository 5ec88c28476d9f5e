package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"brood/presets"
	"brood/train"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference.md")
	require.NoError(t, err)
	return string(text)
}

func TestReferenceHasEveryCommandAndFlag(t *testing.T) {
	page := reference(t)
	for _, cmd := range newRoot().Commands() {
		if cmd.Name() == "help" {
			continue
		}
		assert.Contains(t, page, "`brood "+strings.ReplaceAll(cmd.Use, "|", `\|`)+"`")
		section := sectionOf(page, "### `brood "+cmd.Name()+"`")
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			assert.Regexp(t, "`--"+f.Name+"[ `]", section, "brood %s --%s", cmd.Name(), f.Name)
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
				assert.Regexp(t, "\\| `--"+f.Name+" [A-Z]+` \\| `"+f.DefValue+"` \\|", section, "default of brood %s --%s", cmd.Name(), f.Name)
			}
		})
	}
	for _, p := range presets.All() {
		assert.Contains(t, page, p.Environment)
	}
}

// No page names a flag or subcommand that the program does not have.
func TestDocumentedFlagsExist(t *testing.T) {
	known := map[string]bool{"--help": true}
	for _, cmd := range append([]*cobra.Command{newRoot()}, newRoot().Commands()...) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
	}
	for _, flag := range regexp.MustCompile("`(--[a-z-]+)").FindAllStringSubmatch(reference(t), -1) {
		assert.True(t, known[flag[1]], "docs/reference.md names %s", flag[1])
	}
}

// sectionOf is the text from a heading to the next of the same or a higher level.
func sectionOf(page, heading string) string {
	_, rest, found := strings.Cut(page, heading+"\n")
	if !found {
		return ""
	}
	if end := regexp.MustCompile(`(?m)^#{1,3} `).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

var keyRow = regexp.MustCompile("(?m)^\\| `([a-z]+\\.[a-z0-9_.*]+)`[ *]* \\| [^|]+ \\| (`[^`]*`)? ?\\| ")

// Every configuration key has a row with its default, and no row is of a key
// that does not exist.
func TestReferenceHasEveryKeyWithItsDefault(t *testing.T) {
	documented := map[string]string{}
	for _, row := range keyRow.FindAllStringSubmatch(reference(t), -1) {
		documented[row[1]] = strings.Trim(row[2], "`")
	}
	text, err := train.DefaultConfig().YAML()
	require.NoError(t, err)
	var defaults map[string]any
	require.NoError(t, yaml.Unmarshal(text, &defaults))

	keys := train.Keys()
	for _, key := range keys {
		got, ok := documented[key]
		if !assert.True(t, ok, "docs/reference.md has no row for %s", key) {
			continue
		}
		delete(documented, key)
		if !strings.Contains(key, "*") {
			assert.Equal(t, plainValue(t, valueAt(t, defaults, key)), got, "default of %s", key)
		}
	}
	assert.Empty(t, documented, "docs/reference.md has rows of keys that do not exist")
}

func valueAt(t *testing.T, tree map[string]any, key string) any {
	t.Helper()
	parts := strings.Split(key, ".")
	for _, part := range parts[:len(parts)-1] {
		tree = tree[part].(map[string]any)
	}
	value, ok := tree[parts[len(parts)-1]]
	require.True(t, ok, key)
	return value
}

// plainValue writes a default as the page does: no exponents, no trailing zeros.
func plainValue(t *testing.T, value any) string {
	t.Helper()
	switch v := value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil { // 1e-05, which the library reads as text
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
		return v
	default:
		text, err := yaml.MarshalWithOptions(v, yaml.Flow(true))
		require.NoError(t, err)
		return strings.TrimSpace(string(text))
	}
}

func TestReferenceHasEveryMetric(t *testing.T) {
	section := sectionOf(reference(t), "### metrics.jsonl")
	for _, name := range train.MetricNames() {
		assert.Contains(t, section, "`"+name+"`")
	}
}
