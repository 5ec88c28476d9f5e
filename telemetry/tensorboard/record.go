package tensorboard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A record of an event file is the length of its data (8 bytes), the masked checksum
// of the length (4), the data, and the masked checksum of the data (4), all little
// endian.
const (
	headBytes = 12
	tailBytes = 4
	maskDelta = 0xa282ead8
	// maxRecord bounds what a damaged length can make a reader take.
	maxRecord = 1 << 24
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum as the format stores it: rotated and moved by a constant, so
// that data which holds checksums of its own can be checked as well.
func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + maskDelta
}

// openRecord makes room for the head of a record whose data follows.
func openRecord(dst []byte) (b []byte, start int) {
	return append(dst, make([]byte, headBytes)...), len(dst)
}

// closeRecord completes the record that begins at start: everything after the head is
// its data.
func closeRecord(b []byte, start int) []byte {
	data := b[start+headBytes:]
	binary.LittleEndian.PutUint64(b[start:], uint64(len(data)))
	binary.LittleEndian.PutUint32(b[start+8:], masked(b[start:start+8]))
	return binary.LittleEndian.AppendUint32(b, masked(data))
}

// ErrDamaged is a record whose checksum does not hold, or whose length cannot be.
var ErrDamaged = errors.New("damaged event file")

// Read calls each with every event of a file, and the offset of the end of its record.
// A file that ends within a record, as one does whose writer was killed, ends before
// it. good is the size of what was read.
func Read(r io.Reader, each func(e *Event, end int64) error) (good int64, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	var head [headBytes]byte
	var data []byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return good, endOf(err)
		}
		size := binary.LittleEndian.Uint64(head[:])
		if binary.LittleEndian.Uint32(head[8:]) != masked(head[:8]) || size > maxRecord {
			return good, fmt.Errorf("%w: the length of the record at byte %d", ErrDamaged, good)
		}
		if need := int(size) + tailBytes; cap(data) < need {
			data = make([]byte, need)
		}
		data = data[:int(size)+tailBytes]
		if _, err := io.ReadFull(in, data); err != nil {
			return good, endOf(err)
		}
		body := data[:size]
		if binary.LittleEndian.Uint32(data[size:]) != masked(body) {
			return good, fmt.Errorf("%w: the checksum of the record at byte %d", ErrDamaged, good)
		}
		e, err := decode(body)
		if err != nil {
			return good, fmt.Errorf("%w: the record at byte %d: %w", ErrDamaged, good, err)
		}
		end := good + headBytes + int64(len(data))
		if err := each(e, end); err != nil {
			return good, err
		}
		good = end
	}
}

// endOf tells the end of a file from a failure to read it.
func endOf(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
