package ckpt

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// A damaged length or key makes a reader lose its place, and what it then stumbles
// over can be far behind. A file of brood's own has its parts in one order, and its
// checksums repeat the names of the tensors: against these the walk below finds the
// first thing that is not as it was written. It serves messages alone; whether a
// file is accepted is never decided by it.

// maxNames bounds the names of tensors that are collected for a message; a layout
// has some hundred. A file of more is not ours, or not worth the memory.
const maxNames = 2048

// located adds to an error where the file first deviates; empty: it is not known.
func located(err error, where string) error {
	if where == "" || strings.Contains(err.Error(), ": "+where+", byte ") {
		return err
	}
	return fmt.Errorf("%w; the first that is not as brood writes it: %s", err, where)
}

// walk goes through a file that should be one of brood's own.
type walk struct {
	reader
	// sums are the names of a member file's sections and tensors; nil: those that
	// data is found to have.
	sums []sectionNames
	// key is the one that is not where it belongs; empty: it is a value that is not.
	key string
	// last is the reader after the last value that is as it should be and has no
	// entries of its own.
	last reader
}

type sectionNames struct {
	key     string
	flat    []string // names of tensors
	entries []entry  // the same, nested
}

// memberDeviation names what of a member file is first not as [Encode] writes it;
// empty: nothing, or the file is not one of ours.
func memberDeviation(file []byte) string {
	begins := newWriter(32)
	begins.str(keyVersion)
	sums := sumsOf(file)
	if sums == nil && !bytes.HasPrefix(file[min(1, len(file)):], begins.buf.Bytes()) {
		return ""
	}
	// The names are in the file twice, and either may be damaged. Where those of the
	// data lead on into the checksums, the data is sound and they are right.
	w := walk{reader: newReader(file)}
	whole := w.member()
	if whole && (w.sums != nil || sums == nil) {
		return ""
	}
	if sums != nil && (whole || !w.within(keyChecksums)) {
		w = walk{reader: newReader(file), sums: sums}
		if w.member() {
			return ""
		}
	}
	return w.deviation()
}

func (w *walk) member() bool {
	return w.token(func(to *writer) { to.mapLen(8) }) &&
		w.entry(keyVersion, func() bool { return w.token(func(to *writer) { to.str(V2) }) }) &&
		w.entry(keyStep, w.is(isNumber)) &&
		w.entry(keyPerformance, w.is(func(c byte) bool { return c == msgpcode.Double || c == msgpcode.Nil })) &&
		w.entry(keyOptimizer, w.is(isBool)) &&
		w.entry(keyEnv, w.env) &&
		w.entry(keyConfig, w.is(msgpcode.IsString)) &&
		w.entry(keyData, w.data) &&
		w.entry(keyChecksums, func() bool {
			return w.token(func(to *writer) { to.mapLen(2) }) && w.entry(keyTensorSums, w.tensorSums) && w.sum()
		})
}

// within says whether the walk ended in the value of a key of the file.
func (w *walk) within(key string) bool {
	return w.depth > 0 && string(w.file[w.path[0].from:w.path[0].to]) == key
}

// runDeviation does the same for run.ckpt.
func runDeviation(file []byte) string {
	w := walk{reader: newReader(file)}
	kinds := map[string]func() bool{
		keyVersion: func() bool { return w.token(func(to *writer) { to.str(runVersion) }) },
		"update":   w.is(isNumber), "env_steps": w.is(isNumber), "exploits": w.is(isNumber),
		"seconds": w.is(func(c byte) bool { return c == msgpcode.Double }),
		keyConfig: w.is(msgpcode.IsString), "scheduler": w.is(msgpcode.IsBin),
		"digest": w.digest, "members": w.list(w.digest),
	}
	if !w.token(func(to *writer) { to.mapLen(len(runKeys)) }) {
		return w.deviation()
	}
	for _, key := range runKeys[:len(runKeys)-1] {
		if !w.entry(key, kinds[key]) {
			return w.deviation()
		}
	}
	if !w.sum() {
		return w.deviation()
	}
	return ""
}

// token passes over what write writes; false: something else is there.
func (w *walk) token(write func(to *writer)) bool {
	to := newWriter(16)
	write(to)
	if !bytes.HasPrefix(w.file[w.pos:w.end], to.buf.Bytes()) {
		return false
	}
	w.pos += to.buf.Len()
	return true
}

// is passes over a value whose code is of a kind.
func (w *walk) is(kind func(byte) bool) func() bool {
	return func() bool {
		c, err := w.peek()
		return err == nil && kind(c) && w.skip() == nil
	}
}

// digest passes over a SHA-256.
func (w *walk) digest() bool {
	return bytes.HasPrefix(w.file[w.pos:w.end], []byte{msgpcode.Bin8, sha256.Size}) && w.skip() == nil
}

func (w *walk) list(item func() bool) func() bool {
	return func() bool {
		n, err := w.arrayLen()
		for ; err == nil && n > 0; n-- {
			if !item() {
				return false
			}
		}
		return err == nil
	}
}

// entry passes over a key and its value.
func (w *walk) entry(key string, value func() bool) bool {
	return w.keyed(key, func(to *writer) { to.str(key) }, value)
}

func (w *walk) keyed(name string, key func(to *writer), value func() bool) bool {
	if !w.token(key) {
		w.key = name
		return false
	}
	w.push(span{w.pos - len(name), w.pos})
	if !value() {
		return false
	}
	if w.pos > w.last.pos {
		w.last = w.reader
	}
	w.depth--
	return true
}

// deviation says where the walk ended.
func (w *walk) deviation() string {
	if w.key == "" {
		return w.where()
	}
	w.after = span{}
	at := fmt.Sprintf("%s, where the key %q belongs", w.where(), w.key)
	if w.last.depth > 0 {
		w.last.after = span{}
		at += ", after " + w.last.where()
	}
	return at
}

// sum passes over the SHA-256 that ends a file.
func (w *walk) sum() bool {
	return w.entry(keyFileSum, func() bool { return w.digest() && w.left() == 0 })
}

func (w *walk) env() bool {
	bounds := w.list(w.is(func(c byte) bool { return c == msgpcode.Float }))
	return w.token(func(to *writer) { to.mapLen(3) }) &&
		w.entry("id", w.is(msgpcode.IsString)) &&
		w.entry("obs_dim", w.is(isNumber)) &&
		w.entry("action", func() bool {
			return w.token(func(to *writer) { to.mapLen(4) }) &&
				w.entry("type", w.is(msgpcode.IsString)) &&
				w.entry("n", w.is(isNumber)) &&
				w.entry("low", bounds) && w.entry("high", bounds)
		})
}

// data passes over the sections that the checksums name, or over whatever is there.
func (w *walk) data() bool {
	if w.sums == nil {
		w.sums = w.sectionNames()
		return w.is(isMap)()
	}
	if !w.token(func(to *writer) { to.mapLen(len(w.sums)) }) {
		return false
	}
	for _, s := range w.sums {
		if !w.entry(s.key, func() bool { return w.entries(s.entries) }) {
			return false
		}
	}
	return true
}

// tensorSums passes over the sums of the tensors by their names.
func (w *walk) tensorSums() bool {
	if w.sums == nil {
		return w.is(isMap)()
	}
	if !w.token(func(to *writer) { to.mapLen(len(w.sums)) }) {
		return false
	}
	for _, s := range w.sums {
		sums := func() bool {
			if !w.token(func(to *writer) { to.mapLen(len(s.flat)) }) {
				return false
			}
			for _, name := range s.flat {
				if !w.entry(name, w.is(isNumber)) {
					return false
				}
			}
			return true
		}
		if !w.entry(s.key, sums) {
			return false
		}
	}
	return true
}

// sectionNames reads the names in data; nil: they cannot be read, or are too many.
func (w *walk) sectionNames() []sectionNames {
	look := w.reader
	list, err := look.fields()
	if err != nil || len(list) > maxNames {
		return nil
	}
	names, total := make([]sectionNames, 0, len(list)), 0
	for _, f := range list {
		value := look.inside(f)
		s, err := value.section(look.key(f))
		if total += len(s.tensors); err != nil || total > maxNames {
			return nil
		}
		n := sectionNames{key: s.key}
		for i := range s.tensors {
			n.flat = append(n.flat, s.tensors[i].flat())
		}
		names = append(names, n)
	}
	return names
}

func (w *walk) entries(list []entry) bool {
	if !w.token(func(to *writer) { to.mapLen(len(list)) }) {
		return false
	}
	for _, e := range list {
		value := w.tensor
		if e.group != nil {
			value = func() bool { return w.entries(e.group) }
		}
		if !w.entry(e.key, value) {
			return false
		}
	}
	return true
}

func (w *walk) tensor() bool {
	if c, err := w.peek(); err != nil || !isMap(c) {
		return w.is(isNumber)()
	}
	kinds := [...]func() bool{w.is(isBool), w.is(msgpcode.IsString), w.is(msgpcode.IsBin), w.list(w.is(isNumber)), w.is(msgpcode.IsBin)}
	if !w.token(func(to *writer) { to.mapLen(len(arrayKeys)) }) {
		return false
	}
	for i, key := range arrayKeys {
		if !w.keyed(key, func(to *writer) { to.bin([]byte(key)) }, kinds[i]) {
			return false
		}
	}
	return true
}

// sumsOf reads the names in a member file's checksums, which are its end; nil:
// there are none that can be read.
func sumsOf(file []byte) []sectionNames {
	head := newWriter(32)
	head.str(keyChecksums)
	head.mapLen(2)
	head.str(keyTensorSums)
	at := bytes.LastIndex(file, head.buf.Bytes())
	if at < 0 {
		return nil
	}
	r := newReader(file)
	r.pos = at + head.buf.Len()
	list, err := r.fields()
	if err != nil {
		return nil
	}
	if len(list) > maxNames {
		return nil
	}
	sums, total := make([]sectionNames, 0, len(list)), 0
	for _, f := range list {
		value := r.inside(f)
		tensors, err := value.fields()
		if total += len(tensors); err != nil || total > maxNames {
			return nil
		}
		names := make([]string, len(tensors))
		for i, t := range tensors {
			names[i] = value.key(t)
		}
		entries, err := nestNames(r.key(f), names)
		if err != nil {
			return nil
		}
		sums = append(sums, sectionNames{r.key(f), names, entries})
	}
	return sums
}
