package ckpt

import (
	"bytes"
	"fmt"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a reader may allocate for a file, whatever the file claims: so many bytes
// for each of its own, and so many besides. docs/checkpoint-format.md states it.
const (
	memoryFactor   = 64
	memoryConstant = 1 << 20
)

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// requireBounded reads a file as a member and as run.ckpt and returns the most
// bytes that were allocated for each of its own.
func requireBounded(t require.TestingT, data []byte) (factor float64) {
	for _, read := range []func(){func() { _, _ = Decode(data) }, func() { _, _, _ = decodeRun(data) }} {
		before := allocated()
		read()
		used := allocated() - before
		require.LessOrEqual(t, used, uint64(memoryFactor*len(data)+memoryConstant), "bytes allocated for a file of %d", len(data))
		factor = max(factor, float64(used)/float64(max(len(data), 1)))
	}
	return factor
}

// v2 writes a file of format V2 without sums, whose data is what body writes.
func v2(body func(w *writer), more ...func(w *writer)) []byte {
	w := newWriter(0)
	w.mapLen(7 + len(more))
	w.str("format_version")
	w.str(V2)
	w.meta(sampleMeta(), true)
	w.str("data")
	body(w)
	for _, write := range more {
		write(w)
	}
	return w.buf.Bytes()
}

// numbered writes a map of n entries with keys as short as they can be.
func numbered(n int, value func(w *writer)) func(w *writer) {
	return func(w *writer) {
		w.mapLen(n)
		for i := range n {
			w.str(short(i))
			value(w)
		}
	}
}

// short is the i-th of the shortest names without a slash.
func short(i int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-*()[]{}<>!?;:,.@#$%&_=~"
	name := []byte{letters[i%len(letters)]}
	for i /= len(letters); i > 0; i /= len(letters) {
		i--
		name = append(name, letters[i%len(letters)])
	}
	return string(name)
}

func zero(w *writer) { w.int(0) }

// withSums adds sums of n tensors of one section, and a SHA-256 that fits.
func withSums(section string, sums func(w *writer)) func(w *writer) {
	return func(w *writer) {
		w.str("checksums")
		w.mapLen(2)
		w.str("crc32c")
		if section == "" {
			sums(w)
		} else {
			w.mapLen(1)
			w.str(section)
			sums(w)
		}
		_, err := w.finish()
		w.keep(err)
	}
}

// greedy are files of many small things, and of large claims.
func greedy(t require.TestingT) map[string][]byte {
	const many = 60_000
	key := string(bytes.Repeat([]byte("k"), maxKey))
	empty := func(w *writer) { w.mapLen(0) }
	sectionOf := func(name string, body func(w *writer)) func(w *writer) {
		return func(w *writer) { w.mapLen(1); w.str(name); body(w) }
	}
	list := func(item func(w *writer)) func(w *writer) {
		return func(w *writer) {
			w.arrayLen(many)
			for range many {
				item(w)
			}
		}
	}
	run := func(body func(w *writer)) []byte {
		w := newWriter(0)
		body(w)
		return w.buf.Bytes()
	}
	envOf := func(bound func(w *writer)) []byte {
		data := v2(empty)
		at := bytes.Index(data, []byte("\xa3low")) + 4
		return append(append(bytes.Clone(data[:at]), run(bound)...), data[at+6:]...)
	}
	return map[string][]byte{
		"keys of the file":         run(numbered(many, zero)),
		"empty sections":           v2(numbered(many, empty)),
		"scalars of a section":     v2(sectionOf("policy", numbered(many, zero))),
		"scalars of a group":       v2(sectionOf("policy", sectionOf("g", numbered(many, zero)))),
		"scalars, a long section":  v2(sectionOf(key, sectionOf(key, numbered(many, zero)))),
		"groups of one":            v2(sectionOf("policy", numbered(many, sectionOf("g", zero)))),
		"sections of one":          v2(numbered(many, sectionOf("g", zero))),
		"sections of empty groups": v2(numbered(many, sectionOf("g", empty))),
		"scalars with sums":        v2(sectionOf("policy", numbered(many, zero)), withSums("policy", numbered(many, func(w *writer) { w.uint(0) }))),
		"empty sections with sums": v2(numbered(many, empty), withSums("", numbered(many, empty))),
		"sums of other tensors":    v2(sectionOf("policy", numbered(many, zero)), withSums("policy", numbered(many/2, zero))),
		"v1":                       one(numbered(many, zero)),
		"v1 of small arrays":       run(func(w *writer) { w.mapLen(1); w.str("data"); numbered(many/8, arrayMap("|u1", "", nil, []byte{1}))(w) }),
		"arrays of many dimensions": run(func(w *writer) {
			w.mapLen(1)
			w.str("data")
			numbered(many/8, arrayMap("|u1", "", make([]int64, 32), nil))(w)
		}),
		"bounds":                       envOf(list(func(w *writer) { w.int(0) })),
		"sums of members":              run(func(w *writer) { w.mapLen(1); w.str("members"); list(func(w *writer) { w.bin(make([]byte, 32)) })(w) }),
		"sums of members, none":        run(func(w *writer) { w.mapLen(1); w.str("members"); list(func(w *writer) { w.nil() })(w) }),
		"long text":                    v2(empty, func(w *writer) { w.str("config2"); w.str(string(make([]byte, 1<<20))) }),
		"a long key":                   v2(sectionOf(string(bytes.Repeat([]byte("k"), 1<<20)), zero)),
		"maps in maps":                 v2(sectionOf("policy", numbered(many, sectionOf("a", sectionOf("b", sectionOf("c", zero)))))),
		"a lie about the file's keys":  append(bytes.Clone([]byte{0xdf, 0, 0x10, 0, 0}), make([]byte, 1<<20)...),
		"a lie about a section's keys": v2(func(w *writer) { w.mapLen(1); w.str("policy"); w.mapLen(1 << 18); w.buf.Write(make([]byte, 1<<20)) }),
		"a sound file":                 encoded(t, filled(layoutOf(t, cartpoleSections()...), 1), true),
	}
}

func TestMemoryIsBoundedByTheSizeOfTheFile(t *testing.T) {
	worst := 0.0
	for name, data := range greedy(t) {
		factor := requireBounded(t, data)
		worst = max(worst, factor)
		t.Log(fmt.Sprintf("%5.1f bytes per byte, %7d bytes: %s", factor, len(data), name))
	}
	t.Logf("worst: %.1f", worst)
}
