package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/tensor"
)

// part is a run of bytes of a file with the words that an error about damage to it
// must have.
type part struct {
	from, to int
	words    []string
	key      int    // where the key ends
	top      string // the key of the file's map under which it is
}

// parts finds the places of a file by looking for its keys in the order in which
// the encoder writes them, so that the test does not depend on the reader.
type parts struct {
	t    require.TestingT
	data []byte
	list []part
	top  string
}

func (p *parts) begin(key string, words ...string) {
	w := newWriter(0)
	w.str(key)
	at, needle := 0, w.buf.Bytes()
	if len(p.list) > 0 {
		at = p.list[len(p.list)-1].key
	}
	found := bytes.Index(p.data[at:], needle)
	require.GreaterOrEqual(p.t, found, 0, "key %s", key)
	at += found
	if n := len(p.list); n > 0 {
		p.list[n-1].to = at
	}
	p.list = append(p.list, part{from: at, to: len(p.data), words: words, key: at + len(needle), top: p.top})
}

func memberParts(t require.TestingT, data []byte, l *tensor.Layout) []part {
	p := parts{t: t, data: data, list: []part{{words: []string{"the file"}, key: 1}}}
	for _, key := range []string{"format_version", "step", "performance", "has_optimizer_state", "env", "config", "data"} {
		p.top = key
		p.begin(key, key)
	}
	for _, b := range l.Sections() {
		p.begin(b.Key, "data", b.Key)
		group := ""
		for _, x := range b.Tensors {
			first, rest, grouped := strings.Cut(x.Name, "/")
			if grouped && first != group {
				p.begin(first, b.Key, first)
			}
			if group = ""; grouped {
				group = first
				p.begin(rest, b.Key, first, rest)
			} else {
				p.begin(first, b.Key, first)
			}
		}
	}
	p.top = "checksums"
	p.begin("checksums", "checksums")
	p.begin("crc32c", "checksums", "crc32c")
	for _, b := range l.Sections() {
		p.begin(b.Key, "sum", b.Key)
		for _, x := range b.Tensors {
			p.begin(x.Name, b.Key, x.Name)
		}
	}
	p.begin("sha256", "sha256")
	return p.list
}

// reading returns what a reader of the file at path says when it holds data.
type reading func(data []byte) error

// memFS gives every file the same content.
type memFS struct {
	FS
	data []byte
}

func (m *memFS) ReadFile(string) ([]byte, error) { return m.data, nil }

const somewhere = "runs/a/checkpoints/00000150/member-003.ckpt"

func asMember(data []byte) error {
	_, err := ReadFile(&memFS{data: data}, somewhere)
	return err
}

// missing lists the words that an error lacks.
func missing(err error, words []string) (list []string) {
	if err == nil {
		return []string{"an error"}
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			list = append(list, w)
		}
	}
	return list
}

// flips are all single bits of a byte, and all of them.
var flips = []byte{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}

// requireFlipsNamed flips every byte of a file and returns how often it did.
func requireFlipsNamed(t *testing.T, data []byte, list []part, flips []byte, file string, read reading) (count int) {
	var wrong []string
	for _, p := range list {
		for i := p.from; i < p.to; i++ {
			for _, flip := range flips {
				data[i] ^= flip
				err := read(data)
				data[i] ^= flip
				count++
				if lacks := missing(err, append([]string{file}, p.words...)); lacks != nil {
					wrong = append(wrong, fmt.Sprintf("byte %d ^ %#02x, part %v: the error lacks %q: %v", i, flip, p.words, lacks, err))
				} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
					wrong = append(wrong, fmt.Sprintf("byte %d ^ %#02x: neither damaged nor of another version: %v", i, flip, err))
				}
			}
		}
	}
	require.Empty(t, strings.Join(wrong, "\n"), "%d of %d", len(wrong), count)
	return count
}

func TestEveryFlippedByteIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		sections []tensor.Section
		flips    []byte
	}{"all types": {smallSections(), flips}, "long names and arrays": {longSections(), []byte{0x01, 0x10, 0xff}}} {
		t.Run(name, func(t *testing.T) {
			m := filled(layoutOf(t, test.sections...), 1)
			data := encoded(t, m, true)
			list := memberParts(t, data, m.Layout())
			t.Logf("%d flips in %d bytes of %d parts", requireFlipsNamed(t, data, list, test.flips, somewhere, asMember), len(data), len(list))
		})
	}
}

// longSections need heads of 2 bytes for maps, names and arrays.
func longSections() []tensor.Section {
	s := tensor.Section{Name: "policy"}
	for i := range 17 {
		s.Tensors = append(s.Tensors, tensor.Spec{Name: fmt.Sprintf("actor.%d.a_name_of_more_than_31_bytes.weight", i), Shape: []int{1}})
	}
	return []tensor.Section{s, {Name: "counters", Tensors: []tensor.Spec{
		{Name: "env_steps", DType: tensor.Int64}, {Name: "seed", DType: tensor.Uint64}, {Name: "sum", DType: tensor.Float64}, {Name: "table", Shape: []int{3, 11}, DType: tensor.Float64}}}}
}

// runParts are those of run.ckpt.
func runParts(t require.TestingT, data []byte) []part {
	p := parts{t: t, data: data, list: []part{{words: []string{"the file"}, key: 1}}}
	for _, key := range []string{"format_version", "update", "env_steps", "seconds", "exploits", "config", "scheduler", "digest", "members", "sha256"} {
		p.top = key
		p.begin(key, key)
	}
	return p.list
}

// oneSet reads a set whose run.ckpt holds the bytes.
func asRun(data []byte) error {
	_, err := ReadSet(&memFS{data: data}, "runs/a/checkpoints/latest")
	return err
}

func TestEveryFlippedByteOfRunIsNamed(t *testing.T) {
	s := sampleSet(t, 50)
	data := encodedRun(t, s)
	_, _, err := decodeRun(data)
	require.NoError(t, err)
	list := runParts(t, data)
	t.Logf("%d flips in %d bytes", requireFlipsNamed(t, data, list, flips, "runs/a/checkpoints/latest: run.ckpt", asRun), len(data))
}

// requireCutsNamed cuts a file at every length. An error must name the part that is
// cut; where not even its key is whole, what is before it.
func requireCutsNamed(t *testing.T, data []byte, list []part, file string, read reading) {
	var wrong []string
	for i, p := range list {
		for n := p.from; n < p.to; n++ {
			words := p.words
			if n < p.key && i > 0 {
				words = []string{list[i-1].top}
			}
			err := read(data[:n:n])
			if lacks := missing(err, append([]string{file}, words...)); lacks != nil || !errors.Is(err, ErrDamaged) {
				wrong = append(wrong, fmt.Sprintf("%d bytes, in %v: the error lacks %q: %v", n, p.words, lacks, err))
			}
		}
	}
	require.Empty(t, strings.Join(wrong, "\n"), "%d of %d", len(wrong), len(data))
}

func TestEveryCutIsNamed(t *testing.T) {
	for _, sections := range [][]tensor.Section{smallSections(), longSections()} {
		m := filled(layoutOf(t, sections...), 1)
		data := encoded(t, m, true)
		requireCutsNamed(t, data, memberParts(t, data, m.Layout()), somewhere, asMember)
		t.Logf("%d cuts", len(data))
	}
	s := sampleSet(t, 50)
	data := encodedRun(t, s)
	requireCutsNamed(t, data, runParts(t, data), "runs/a/checkpoints/latest: run.ckpt", asRun)
	t.Logf("%d cuts of run.ckpt", len(data))
}

// Files that are sound each, and not those of the set.
func TestMembersOfAnotherSetAreNamed(t *testing.T) {
	const folder = "00000050"
	for name, test := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  []string
	}{
		"of another run": {func(t *testing.T, path string) {
			other := sampleSet(t, 51)
			require.NoError(t, os.WriteFile(filepath.Join(path, MemberFile(1)), other.Members[1], 0o644))
		}, []string{"member-001.ckpt", "sound but not the one of this set", "SHA-256"}},
		"swapped": {func(t *testing.T, path string) {
			s := sampleSet(t, 50)
			for i := range s.Members {
				require.NoError(t, os.WriteFile(filepath.Join(path, MemberFile(i)), s.Members[1-i], 0o644))
			}
		}, []string{"member-000.ckpt", "sound but not the one of this set"}},
		"missing": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Join(path, MemberFile(0))))
		}, []string{"member-000.ckpt: damaged checkpoint: the file of a member of 2 is missing"}},
		"emptied": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(filepath.Join(path, MemberFile(1)), 0))
		}, []string{"member-001.ckpt", "the file, byte 0: cut short"}},
		"run.ckpt of another run": {func(t *testing.T, path string) {
			other := sampleSet(t, 51)
			other.Update = 50
			data := encodedRun(t, other)
			require.NoError(t, os.WriteFile(filepath.Join(path, RunFile), data, 0o644))
		}, []string{"member-000.ckpt", "sound but not the one of this set", RunFile}},
		"a member as run.ckpt": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(filepath.Join(path, RunFile), sampleSet(t, 50).Members[0], 0o644))
		}, []string{RunFile, "format_version", V2}},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := WriteSet(unsynced(), t.TempDir(), draft(sampleSet(t, 50)))
			require.NoError(t, err)
			require.Equal(t, folder, filepath.Base(path))
			test.spoil(t, path)
			_, err = ReadSet(OS, path)
			require.Error(t, err)
			require.Empty(t, missing(err, append(test.want, path)), "%v", err)
		})
	}
}

// What a check of the data cannot see, the type of a number, is found by the sum of
// the whole file.
func TestWhatExactlyIsDamaged(t *testing.T) {
	m := smallMember(t)
	data := encoded(t, m, true)
	gamma := bytes.Index(data, []byte("gamma"))
	sums := bytes.LastIndex(data, []byte("gamma"))
	require.Less(t, gamma, sums)
	for want, edit := range map[string]func(data []byte){
		"section hyperparameters, tensor gamma: its elements are sound, but their type is not":                         func(d []byte) { d[gamma+5] ^= 0x04 },
		"section hyperparameters, tensor gamma: the tensor is sound, the CRC-32C that the file has of it is not":       func(d []byte) { d[sums+7] ^= 0x10 },
		"section hyperparameters, tensor gamma: CRC-32C is ":                                                           func(d []byte) { d[gamma+8] ^= 0x10 },
		"checksums/sha256: the sum itself is damaged, everything before it is sound":                                   func(d []byte) { d[len(d)-1] ^= 0x10 },
		"every tensor fits its CRC-32C, so the damage is in what describes them: in step, performance, has_optimizer_": func(d []byte) { d[bytes.Index(d, []byte("env: {id"))] = 'E' },
	} {
		d := bytes.Clone(data)
		edit(d)
		require.ErrorContains(t, asMember(d), want)
	}
}
