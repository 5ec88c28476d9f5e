package train

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"brood/internal/yamltext"
)

// Setting overrides one key of a configuration.
type Setting struct {
	// Origin is what the user typed, for errors: "--set ppo.gamma=0.9".
	Origin string
	// Key is a dotted path; a number in it is an index into a list.
	Key string
	// Value is YAML.
	Value string
}

// ParseSettings reads the arguments of --set, each KEY=VALUE.
func ParseSettings(args []string) ([]Setting, error) {
	var settings []Setting
	var mistakes []error
	for _, arg := range args {
		key, value, found := strings.Cut(arg, "=")
		if !found || key == "" {
			mistakes = append(mistakes, &FieldError{Place: "--set " + arg, Problem: "want KEY=VALUE, such as ppo.learning_rate=1e-3"})
			continue
		}
		settings = append(settings, Setting{Origin: "--set " + arg, Key: key, Value: value})
	}
	return settings, configError(mistakes)
}

// apply writes the setting into dst, a pointer to a struct.
func (s Setting) apply(dst any, places map[string]place) []error {
	origin, path, text := s.Origin, s.Key, s.Value
	target, store, err := lookup(reflect.ValueOf(dst).Elem(), path)
	if err != nil {
		err.Place = origin
		return []error{err}
	}
	file, problem := yamltext.Parse([]byte(text))
	if problem != "" {
		return []error{&FieldError{Place: origin, Key: path, Problem: "the value: " + problem}}
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return []error{&FieldError{Place: origin, Key: path, Problem: "there is no value after ="}}
	}
	if target.Kind() == reflect.Struct && file.Docs[0].Body.Type() == ast.NullType {
		return []error{&FieldError{Place: origin, Key: path, Problem: "has no value, but keys are expected here: " +
			strings.Join(fieldNames(target.Type()), ", ")}}
	}
	d := &decoder{origin: origin, places: places}
	d.decode(path, file.Docs[0].Body, target)
	if len(d.errs) == 0 {
		store()
	}
	return d.errs
}

// lookup walks a dotted path to the value it names. A nil pointer on the way is
// filled with a new value. A map's value cannot be set in place: store puts what
// was set into the map, and does nothing elsewhere.
func lookup(v reflect.Value, path string) (target reflect.Value, store func(), _ *FieldError) {
	walked, store := "", func() {}
	for _, name := range strings.Split(path, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		switch v.Kind() {
		case reflect.Struct:
			field, ok := fieldByName(v, name)
			if !ok {
				return v, nil, &FieldError{Key: join(walked, name), Problem: "unknown key; " + keySuggestion(walked, name, fieldNames(v.Type()))}
			}
			v = field
		case reflect.Slice:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= v.Len() {
				return v, nil, &FieldError{Key: join(walked, name), Problem: fmt.Sprintf(
					"no such element; %s is a list of %d, counted from 0", walked, v.Len())}
			}
			v = v.Index(i)
		case reflect.Map:
			m, value := v, reflect.New(v.Type().Elem()).Elem()
			store = func() { storeInMap(m, name, value) }
			v = value
		default:
			return v, nil, &FieldError{Key: join(walked, name), Problem: fmt.Sprintf("unknown key; %s is a single value", walked)}
		}
		walked = join(walked, name)
	}
	return v, store, nil
}

// storeInMap replaces the map by one that has the value, too: another
// configuration may share the old one.
func storeInMap(m reflect.Value, name string, value reflect.Value) {
	changed := reflect.MakeMapWithSize(m.Type(), m.Len()+1)
	for at := m.MapRange(); at.Next(); {
		changed.SetMapIndex(at.Key(), at.Value())
	}
	changed.SetMapIndex(reflect.ValueOf(name), value)
	m.Set(changed)
}
