package ckpt

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
)

// verify checks the CRC of each tensor first, to name the one that is damaged,
// then the SHA-256 of everything.
func (c *Checkpoint) verify(data []byte, r *reader) error {
	return r.exactly(map[string]func(*reader) error{
		"crc32c": c.verifyTensors,
		"sha256": func(r *reader) error { return checkSum(r, data) },
	})
}

func (c *Checkpoint) verifyTensors(r *reader) error {
	want := make(map[string]func(*reader) error, len(c.sections))
	for i := range c.sections {
		s := &c.sections[i]
		want[s.key] = s.verify
	}
	return r.exactly(want)
}

func (s *section) verify(r *reader) error {
	want := make(map[string]func(*reader) error, len(s.tensors))
	for i := range s.tensors {
		t := &s.tensors[i]
		want[t.name] = func(r *reader) error {
			sum, err := r.int(0)
			if err != nil {
				return err
			}
			if have := crc32.Checksum(t.data, castagnoli); int64(have) != sum {
				return fmt.Errorf("%w: section %s, tensor %s: CRC-32C is %08x, the file says %08x%s", ErrDamaged, s.key, t.name, have, sum, editHint)
			}
			return nil
		}
	}
	return r.exactly(want)
}

const editHint = " (if another program changed the file on purpose, it must drop the key " + keyChecksums + ")"

// checkSum reads the SHA-256 that ends a file and compares it.
func checkSum(r *reader, data []byte) error {
	sum, err := r.bin()
	if err != nil {
		return err
	}
	if len(sum) != sha256.Size || r.base+r.offset() != len(data) {
		return r.errorf("want the last %d bytes of the file", sha256.Size)
	}
	have := sha256.Sum256(data[:len(data)-sumSize])
	if string(have[:]) != string(sum) {
		return fmt.Errorf("%w: SHA-256 of the file is %x, it says %x%s", ErrDamaged, have, sum, editHint)
	}
	return nil
}
