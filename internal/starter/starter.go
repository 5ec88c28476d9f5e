// Package starter writes a configuration for a new user to edit: every key with its
// value, and beside it what the reference page says of it.
package starter

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"brood/docs"
	"brood/train"

	"github.com/goccy/go-yaml"
)

// width is where comments wrap.
const width = 100

// kept are the keys that brood alone writes; a user has no use for them.
const kept = "run.earlier."

// YAML writes the configuration out with comments; head becomes the first of them.
// train.Load of the text gives the configuration again, or there is an error.
func YAML(cfg train.Config, head string) ([]byte, error) {
	plain, err := cfg.YAML()
	if err != nil {
		return nil, err
	}
	keys, err := docs.Keys()
	if err != nil {
		return nil, err
	}
	w := writer{docs: map[string]docs.Key{}}
	for _, k := range keys {
		w.docs[k.Path] = k
	}
	if err := yaml.UnmarshalWithOptions(plain, &w.values, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("starter: read the configuration: %w", err)
	}
	w.comment("", head)
	if err := w.keys(train.Keys()); err != nil {
		return nil, err
	}
	back, err := train.Load("the commented configuration", w.text.Bytes(), nil)
	if err != nil {
		return nil, fmt.Errorf("starter: %w", err)
	}
	if again, err := back.YAML(); err != nil || !bytes.Equal(plain, again) {
		return nil, fmt.Errorf("starter: the commented configuration is another one than what it was made from (%v)", err)
	}
	return w.text.Bytes(), nil
}

type writer struct {
	text   bytes.Buffer
	docs   map[string]docs.Key
	values yaml.MapSlice
	// section is the path of the keys being written, by parts.
	section []string
}

func (w *writer) keys(paths []string) error {
	for i := 0; i < len(paths); i++ {
		path := paths[i]
		if strings.HasPrefix(path, kept) {
			continue
		}
		list, _, ofList := strings.Cut(path, ".*.")
		var err error
		if ofList {
			last := i
			for last+1 < len(paths) && strings.HasPrefix(paths[last+1], list+".*.") {
				last++
			}
			err = w.list(list, paths[i:last+1])
			i = last
		} else {
			err = w.key(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enter writes the headings on the way to a key, and returns its name and indentation.
func (w *writer) enter(path string) (name, indent string) {
	parts := strings.Split(path, ".")
	sections, name := parts[:len(parts)-1], parts[len(parts)-1]
	common := 0
	for common < min(len(sections), len(w.section)) && sections[common] == w.section[common] {
		common++
	}
	if len(w.section) > 0 || len(sections) > 0 {
		w.text.WriteByte('\n')
	}
	for depth := common; depth < len(sections); depth++ {
		fmt.Fprintf(&w.text, "%s%s:\n", strings.Repeat("  ", depth), sections[depth])
	}
	w.section = sections
	return name, strings.Repeat("  ", len(sections))
}

func (w *writer) key(path string) error {
	k, documented := w.docs[path]
	value, set := valueAt(w.values, path)
	if !documented || !set {
		return fmt.Errorf("starter: %s: documented is %v, and has a value %v; both must be so", path, documented, set)
	}
	text, err := scalar(k.Type, value)
	if err != nil {
		return fmt.Errorf("starter: %s: %w", path, err)
	}
	name, indent := w.enter(path)
	w.comment(indent, k.Meaning)
	w.comment(indent, kind(k))
	fmt.Fprintf(&w.text, "%s%s: %s\n", indent, name, text)
	return nil
}

// list writes a list of sections: what each may hold, then an element a line. One
// that the configuration does not have is left as a comment.
func (w *writer) list(path string, members []string) error {
	name, indent := w.enter(path)
	w.comment(indent, "a list; each element has:")
	for _, m := range members {
		k, documented := w.docs[m]
		if !documented {
			return fmt.Errorf("starter: %s has no row in the reference page", m)
		}
		w.comment(indent+"  ", strings.TrimPrefix(m, path+".*.")+": "+k.Meaning+"; "+kind(k))
	}
	value, set := valueAt(w.values, path)
	if !set {
		fmt.Fprintf(&w.text, "%s# %s: []\n", indent, name)
		return nil
	}
	elements, _ := value.([]any)
	if len(elements) == 0 {
		fmt.Fprintf(&w.text, "%s%s: []\n", indent, name)
		return nil
	}
	fmt.Fprintf(&w.text, "%s%s:\n", indent, name)
	for _, element := range elements {
		pairs, ok := element.(yaml.MapSlice)
		if !ok {
			return fmt.Errorf("starter: an element of %s is %v; want names with values", path, element)
		}
		var fields []string
		for _, pair := range pairs {
			if pair.Value == nil {
				continue // the default is that there is none
			}
			field := fmt.Sprint(pair.Key)
			text, err := scalar(w.docs[path+".*."+field].Type, pair.Value)
			if err != nil {
				return fmt.Errorf("starter: %s.*.%s: %w", path, field, err)
			}
			fields = append(fields, field+": "+text)
		}
		fmt.Fprintf(&w.text, "%s  - {%s}\n", indent, strings.Join(fields, ", "))
	}
	return nil
}

// kind is the type, the valid values and the default, as a comment.
func kind(k docs.Key) string {
	text := k.Type
	switch {
	case len(k.Words) > 1:
		text += ": one of " + k.Valid
	case k.Valid != "":
		text += ", " + k.Valid
	}
	if k.Default != "" {
		text += "; default " + k.Default
	}
	return text
}

func (w *writer) comment(indent, text string) {
	for _, paragraph := range strings.Split(strings.ToValidUTF8(text, "?"), "\n") {
		line := indent + "#"
		for _, word := range strings.Fields(paragraph) {
			if len(line)+1+len(word) > width && line != indent+"#" {
				fmt.Fprintln(&w.text, line)
				line = indent + "#"
			}
			line += " " + word
		}
		fmt.Fprintln(&w.text, line)
	}
}

func valueAt(tree yaml.MapSlice, path string) (any, bool) {
	parts := strings.Split(path, ".")
	for depth, part := range parts {
		at := slices.IndexFunc(tree, func(item yaml.MapItem) bool { return item.Key == part })
		if at < 0 {
			return nil, false
		}
		if depth == len(parts)-1 {
			return tree[at].Value, true
		}
		tree, _ = tree[at].Value.(yaml.MapSlice)
	}
	return nil, false
}

// scalar writes a value on one line. Numbers are written the short way, which the
// YAML library reads back as text where they have an exponent and no point.
func scalar(kind string, value any) (string, error) {
	switch v := value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case string:
		if kind == "number" {
			f, err := strconv.ParseFloat(v, 64)
			return strconv.FormatFloat(f, 'g', -1, 64), err
		}
	}
	text, err := yaml.MarshalWithOptions(value, yaml.Flow(true))
	return strings.TrimSpace(string(text)), err
}
