package ckpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

const (
	keyTensorSums = "crc32c"
	keyFileSum    = "sha256"
)

// verify checks the CRC of each tensor first, to name the one that is damaged,
// then the SHA-256 of everything.
func (c *Checkpoint) verify(r *reader) error {
	var sums, whole reader
	err := r.keys(map[string]func(*reader) error{
		keyTensorSums: func(r *reader) error { sums = *r; return nil },
		keyFileSum:    func(r *reader) error { whole = *r; return nil },
	})
	if err != nil {
		return err
	}
	if err := c.verifyTensors(&sums); err != nil {
		return err
	}
	defect, err := whole.checkSum()
	if err != nil || defect == "" {
		return err
	}
	if t := c.retyped(r.file); t != "" {
		return fmt.Errorf("%w: %s: its elements are sound, but their type is not the one that was written%s", ErrDamaged, t, editHint)
	}
	return fmt.Errorf("%w: every tensor fits its CRC-32C, so the damage is in what describes them: in %s, %s, %s, %s or %s, or in the type of a tensor (%s)%s",
		ErrDamaged, keyStep, keyPerformance, keyOptimizer, keyEnv, keyConfig, defect, editHint)
}

func (c *Checkpoint) verifyTensors(r *reader) error {
	return r.each("section", len(c.sections), func(i int) tensorName { return tensorName{name: c.sections[i].key} },
		func(i int, r *reader) error { return c.sections[i].verify(r) })
}

func (s *section) verify(r *reader) error {
	return r.each("tensor", len(s.tensors), func(i int) tensorName { return s.tensors[i].tensorName },
		func(i int, r *reader) error { return s.tensors[i].verify(s.key, r) })
}

// each reads a map whose keys are the names of n things, in any order.
func (r *reader) each(what string, n int, name func(i int) tensorName, read func(i int, r *reader) error) error {
	list, err := r.fields()
	if err != nil {
		return err
	}
	key := func(i int) []byte { return r.file[list[i].name.from:list[i].name.to] }
	// Both are gone through in the order of their names: that takes less memory than
	// a map of them would, of which a file could have many.
	fields := sorted(len(list), func(a, b int) int { return bytes.Compare(key(a), key(b)) })
	things := sorted(n, func(a, b int) int { return name(a).compare(name(b)) })
	of := make([]int32, len(list)) // the thing of a field
	stranger, missing := -1, -1
	for len(fields) > 0 || len(things) > 0 {
		order := 0
		switch {
		case len(fields) == 0:
			order = -1
		case len(things) == 0:
			order = 1
		default:
			order = name(int(things[0])).compareKey(key(int(fields[0])))
		}
		switch {
		case order == 0:
			of[fields[0]] = things[0]
			fields, things = fields[1:], things[1:]
		case order < 0:
			if missing < 0 || int(things[0]) < missing {
				missing = int(things[0])
			}
			things = things[1:]
		default:
			if stranger < 0 || int(fields[0]) < stranger {
				stranger = int(fields[0])
			}
			fields = fields[1:]
		}
	}
	switch {
	case stranger >= 0 && missing >= 0:
		return r.before(list, stranger).errorf("there is a sum of the %s %.80q, which the data has not, and none of its %.80q", what, key(stranger), name(missing).flat())
	case stranger >= 0:
		return r.before(list, stranger).errorf("there is a sum of the %s %.80q, which the data has not", what, key(stranger))
	case missing >= 0:
		return r.errorf("there is no sum of the %s %.80q", what, name(missing).flat())
	}
	for i, f := range list {
		value := r.inside(f)
		if err := read(int(of[i]), &value); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns 0 to n-1 in the order that compare says.
func sorted(n int, compare func(a, b int) int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return compare(int(a), int(b)) })
	return order
}

func (n *named) verify(section string, r *reader) error {
	stored := span{from: r.pos}
	sum, err := r.int(0)
	if err != nil {
		return err
	}
	stored.to = r.pos
	have := crc32.Checksum(n.data, castagnoli)
	if int64(have) == sum {
		return nil
	}
	name := n.flat()
	if s := (splice{stored, binary.BigEndian.AppendUint32([]byte{msgpcode.Uint32}, have)}); s.fits() && s.mends(r.file) {
		return fmt.Errorf("%w: section %s, tensor %s: the tensor is sound, the CRC-32C that the file has of it is not: it is %08x, the file says %08x%s",
			ErrDamaged, section, name, have, sum, editHint)
	}
	return fmt.Errorf("%w: section %s, tensor %s: CRC-32C is %08x, the file says %08x%s", ErrDamaged, section, name, have, sum, editHint)
}

const editHint = " (if another program changed the file on purpose, it must drop the key " + keyChecksums + ")"

// checkSum reads the SHA-256 that ends a file and compares it. defect says what
// does not fit, where it is not the sum itself that is damaged; that is an error.
func (r *reader) checkSum() (defect string, err error) {
	sum, err := r.bin()
	if err != nil {
		return "", err
	}
	if len(sum) != sha256.Size || r.pos != len(r.file) {
		return "", r.errorf("want the last %d bytes of the file", sha256.Size)
	}
	have := sha256.Sum256(r.file[:len(r.file)-sumSize])
	differ := 0
	for i := range have {
		differ += bits.OnesCount8(have[i] ^ sum[i])
	}
	switch {
	case differ == 0:
		return "", nil
	case differ <= 32: // of two unrelated sums about 128 do: chance would not
		return "", fmt.Errorf("%w: %s: the sum itself is damaged, everything before it is sound: it differs from the SHA-256 of the file, %x, in %d of its 256 bits",
			ErrDamaged, r.where(), have, differ)
	}
	return fmt.Sprintf("SHA-256 of the file is %x, it says %x", have, sum), nil
}

// splice is a file with other bytes in one place.
type splice struct {
	at  span
	new []byte
}

// fits says whether the new bytes are as many as the old ones.
func (s splice) fits() bool { return len(s.new) == s.at.to-s.at.from }

// mends says whether the SHA-256 at a file's end is that of the spliced file:
// then the damage is where the new bytes are, and they are what was written.
func (s splice) mends(file []byte) bool {
	end := len(file) - sumSize
	if end < s.at.to {
		return false
	}
	h := sha256.New()
	h.Write(file[:s.at.from])
	h.Write(s.new)
	h.Write(file[s.at.to:end])
	return string(h.Sum(nil)) == string(file[end+2:])
}

// maxMending bounds the bytes that are summed in the search of a damaged type.
const maxMending = 1 << 27

// retyped names the tensor whose type was another one when the file was written;
// empty: there is none. A CRC does not tell a float64 from an integer of the same
// bytes, so each is tried.
func (c *Checkpoint) retyped(file []byte) string {
	tries := 0
	for i := range c.sections {
		for j := range c.sections[i].tensors {
			n := &c.sections[i].tensors[j]
			for k := range dtypes {
				d := &dtypes[k]
				if d == n.dtype || d.size != n.dtype.size {
					continue
				}
				if tries++; tries*len(file) > maxMending {
					return ""
				}
				code := []byte(d.code)
				if n.code.to-n.code.from == 1 {
					code = d.number
				}
				if s := (splice{n.code, code}); s.fits() && s.mends(file) {
					return fmt.Sprintf("section %s, tensor %s", c.sections[i].key, n.flat())
				}
			}
		}
	}
	return ""
}
