package train

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"brood/internal/yamltext"
)

// place is where a value was written.
type place struct {
	// origin is a file's name or a whole --set argument.
	origin string
	// line and column count from 1; 0 where the origin has no lines.
	line, column int
}

func (p place) String() string {
	if p.line == 0 {
		return p.origin
	}
	return fmt.Sprintf("%s:%d:%d", p.origin, p.line, p.column)
}

// decoder writes YAML into a value that already holds the defaults. It is
// strict: every key must be a field's yaml tag and every value of the field's
// type. It goes on after a mistake, so that one run shows all of them.
type decoder struct {
	origin string
	// lines is false for --set, whose lines mean nothing to the user.
	lines  bool
	places map[string]place
	errs   []error
}

// decodeDocument decodes the YAML text into dst, a pointer to a struct. places
// receives where each key was set.
func decodeDocument(origin string, text []byte, dst any, places map[string]place) []error {
	d := &decoder{origin: origin, lines: true, places: places}
	file, problem := yamltext.Parse(text)
	if problem != "" {
		return []error{&FieldError{Place: origin, Problem: problem}}
	}
	switch n := len(file.Docs); {
	case n > 1:
		return []error{&FieldError{Place: origin, Problem: fmt.Sprintf("%d YAML documents; a configuration is one", n)}}
	case n == 0 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.NullType:
		return nil // an empty file is all defaults
	}
	d.decode("", file.Docs[0].Body, reflect.ValueOf(dst).Elem())
	return d.errs
}

func (d *decoder) at(n ast.Node) place {
	if !d.lines {
		return place{origin: d.origin}
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	t := n.GetToken()
	return place{d.origin, t.Position.Line, t.Position.Column}
}

func (d *decoder) fail(n ast.Node, key, format string, args ...any) {
	d.errs = append(d.errs, &FieldError{Place: d.at(n).String(), Key: key, Problem: fmt.Sprintf(format, args...)})
}

func (d *decoder) decode(key string, n ast.Node, v reflect.Value) {
	if key != "" {
		d.places[key] = d.at(n)
	}
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType:
		d.fail(n, key, "YAML anchors, aliases and tags are not supported in a configuration; write the value out")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(key, n, v)
	case reflect.Slice:
		d.decodeSlice(key, n, v)
	case reflect.Map:
		d.decodeMap(key, n, v)
	case reflect.Interface:
		if value, ok := d.decodeAny(key, n); ok {
			v.Set(value)
		}
	case reflect.Pointer:
		if n.Type() == ast.NullType {
			v.SetZero()
			return
		}
		p := reflect.New(v.Type().Elem())
		d.decode(key, n, p.Elem())
		v.Set(p)
	default:
		d.decodeScalar(key, n, v)
	}
}

// pairsOf returns the keys and values of a mapping; false for anything else.
func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode: // "ppo:" with nothing under it: the defaults
		return nil, true
	}
	return nil, false
}

func (d *decoder) decodeStruct(key string, n ast.Node, v reflect.Value) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.fail(n, key, "%s, but keys are expected here: %s", describe(n), strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		field, ok := fieldByName(v, name)
		if !ok {
			d.fail(pair.Key, join(key, name), "unknown key; %s", keySuggestion(key, name, fieldNames(v.Type())))
			continue
		}
		d.decode(join(key, name), pair.Value, field)
	}
}

// decodeMap replaces the whole map of names to values, as decodeSlice does a list.
// Which names there may be is for Validate to say.
func (d *decoder) decodeMap(key string, n ast.Node, v reflect.Value) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.fail(n, key, "%s, but names with their values are expected, such as {name: 1}", describe(n))
		return
	}
	if len(pairs) == 0 {
		v.SetZero()
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, pair := range pairs {
		name, isText := pair.Key.(*ast.StringNode)
		if !isText {
			d.fail(pair.Key, key, "%s, but a name is expected", describe(pair.Key))
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(join(key, name.Value), pair.Value, value)
		m.SetMapIndex(reflect.ValueOf(name.Value), value)
	}
	v.Set(m)
}

// decodeAny returns a value of any type that JSON has, for keys whose types are those
// of another program.
func (d *decoder) decodeAny(key string, n ast.Node) (reflect.Value, bool) {
	target := reflect.Value{}
	switch n := n.(type) {
	case *ast.NullNode:
		return reflect.Zero(reflect.TypeFor[any]()), true
	case *ast.MappingNode, *ast.MappingValueNode:
		target = reflect.New(reflect.TypeFor[map[string]any]()).Elem()
	case *ast.SequenceNode:
		target = reflect.New(reflect.TypeFor[[]any]()).Elem()
	case *ast.BoolNode:
		target = reflect.New(reflect.TypeFor[bool]()).Elem()
	case *ast.IntegerNode:
		target = reflect.New(reflect.TypeFor[int64]()).Elem()
	case *ast.StringNode:
		target = reflect.New(reflect.TypeFor[string]()).Elem()
		if _, ok := number(n); ok { // 1e-3
			target = reflect.New(reflect.TypeFor[float64]()).Elem()
		}
	case *ast.FloatNode:
		target = reflect.New(reflect.TypeFor[float64]()).Elem()
	default:
		d.fail(n, key, "%s, but a value that JSON has is expected: a number, text, true or false, null, a list or names with values", describe(n))
		return target, false
	}
	before := len(d.errs)
	d.decode(key, n, target)
	return target, len(d.errs) == before
}

// decodeSlice replaces the whole list: a configuration's list is never merged
// with the default one.
func (d *decoder) decodeSlice(key string, n ast.Node, v reflect.Value) {
	if n.Type() == ast.NullType {
		v.SetZero()
		return
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, key, "%s, but a list is expected, such as [...]", describe(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.decode(join(key, fmt.Sprint(i)), item, list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) decodeScalar(key string, n ast.Node, v reflect.Value) {
	wrong := func(want string) { d.fail(n, key, "%s, but %s is expected", describe(n), want) }
	wrongInteger := func(want string) {
		if f, ok := magnitude(n); ok && f == math.Trunc(f) && (f >= 0 || v.CanInt()) {
			d.fail(n, key, "is %s, which is beyond %d bits", yamltext.Shortened(n.GetToken().Value, maxShown), v.Type().Bits())
			return
		}
		wrong(want)
	}
	switch kind := v.Kind(); {
	case kind == reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			wrong("true or false")
			return
		}
		v.SetBool(b.Value)
	case kind == reflect.String:
		s, ok := n.(*ast.StringNode)
		if !ok {
			wrong("text")
			return
		}
		v.SetString(s.Value)
	case v.CanFloat():
		f, ok := number(n)
		if !ok {
			wrong("a number")
			return
		}
		if v.OverflowFloat(f) {
			wrong("a number within single precision")
			return
		}
		v.SetFloat(f)
	case v.CanInt():
		i, ok := integer(n)
		if !ok || i < math.MinInt64 || i > math.MaxInt64 || v.OverflowInt(int64(i)) {
			wrongInteger("a whole number")
			return
		}
		v.SetInt(exactInt(n, i))
	case v.CanUint():
		i, ok := integer(n)
		if !ok || i < 0 || i > math.MaxUint64 || v.OverflowUint(uint64(i)) {
			wrongInteger("a whole number, 0 or above")
			return
		}
		v.SetUint(exactUint(n, i))
	default:
		panic(fmt.Sprintf("train: configuration field %s has the unsupported type %s", key, v.Type()))
	}
}

// number is the value of a numeric node. YAML's .inf and .nan pass: which
// fields may hold them is for Validate to say.
func number(n ast.Node) (float64, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case int64:
			return float64(i), true
		case uint64:
			return float64(i), true
		}
	case *ast.FloatNode:
		return n.Value, true
	case *ast.InfinityNode:
		return n.Value, true
	case *ast.NanNode:
		return math.NaN(), true
	case *ast.StringNode:
		// YAML 1.2 reads 1e-3 as a number; the parser, by YAML 1.1, as text.
		if n.Token.Type == token.StringType && exponent.MatchString(n.Value) {
			f, err := strconv.ParseFloat(n.Value, 64)
			return f, err == nil
		}
	}
	return 0, false
}

// magnitude is number, and also reads digits that are too many for the parser,
// which takes them for text.
func magnitude(n ast.Node) (float64, bool) {
	if f, ok := number(n); ok {
		return f, true
	}
	s, ok := n.(*ast.StringNode)
	if !ok || s.Token.Type != token.StringType || !digits.MatchString(s.Value) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s.Value, 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

var digits = regexp.MustCompile(`^[-+]?[0-9]+([eE][-+]?[0-9]+)?$`)

var exponent = regexp.MustCompile(`^[-+]?[0-9]+[eE][-+]?[0-9]+$`)

// integer accepts 1000000 and 1e6 alike.
func integer(n ast.Node) (float64, bool) {
	f, ok := number(n)
	return f, ok && f == math.Trunc(f) && !math.IsInf(f, 0)
}

// exactInt keeps the digits a float64 would round off.
func exactInt(n ast.Node, rounded float64) int64 {
	if node, ok := n.(*ast.IntegerNode); ok {
		switch i := node.Value.(type) {
		case int64:
			return i
		case uint64:
			return int64(i)
		}
	}
	return int64(rounded)
}

func exactUint(n ast.Node, rounded float64) uint64 {
	if node, ok := n.(*ast.IntegerNode); ok {
		switch i := node.Value.(type) {
		case int64:
			return uint64(i)
		case uint64:
			return i
		}
	}
	return uint64(rounded)
}

// describe says what the user wrote, for an error about its type.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "has keys of its own"
	case *ast.SequenceNode:
		return "is a list"
	case *ast.NullNode:
		return "has no value"
	case *ast.StringNode:
		return fmt.Sprintf("is the text %q", n.Value)
	default:
		return "is " + n.GetToken().Value
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// fieldByName finds the field of a struct by its yaml tag.
func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if tag := yamlName(v.Type().Field(i)); tag != "" && tag == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := yamlName(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}
