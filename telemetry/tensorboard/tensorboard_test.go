package tensorboard

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// file is an event file with a version, a mark and three points.
func file() (b []byte, ends []int64) {
	loss, entropy := NewTag("loss/value_loss"), NewTag("entropy")
	add := func(next []byte) { b, ends = next, append(ends, int64(len(next))) }
	add(AppendVersion(nil, 1.5))
	add(AppendStart(b, 2, 100))
	for i := range 3 {
		values := AppendScalar(nil, loss, float32(i)+0.25)
		add(AppendSummary(b, float64(10+i), int64(100*(i+1)), AppendScalar(values, entropy, float32(math.Inf(1)))))
	}
	return b, ends
}

func events(t *testing.T, data []byte) (list []Event, good int64, err error) {
	t.Helper()
	var ends []int64
	good, err = Read(bytes.NewReader(data), func(e *Event, end int64) error {
		list, ends = append(list, *e), append(ends, end)
		return nil
	})
	if len(ends) > 0 {
		require.Equal(t, ends[len(ends)-1], good)
	}
	return list, good, err
}

func TestReadWhatWasWritten(t *testing.T) {
	data, ends := file()
	list, good, err := events(t, data)
	require.NoError(t, err)
	assert.EqualValues(t, len(data), good)
	require.Len(t, list, len(ends))
	assert.Equal(t, Event{Wall: 1.5}, list[0])
	assert.Equal(t, Event{Wall: 2, Step: 100, Start: true}, list[1])
	assert.Equal(t, Event{Wall: 12, Step: 300, Scalars: map[string]float32{"loss/value_loss": 2.25, "entropy": float32(math.Inf(1))}}, list[4])
}

// The check value of CRC-32C, and the mask as the format describes it.
func TestChecksumIsMasked(t *testing.T) {
	text := []byte("123456789")
	require.EqualValues(t, 0xe3069283, crc32.Checksum(text, castagnoli))
	rotated := uint32(0xe3069283>>15) | uint32(0xe3069283<<17&0xffffffff)
	assert.Equal(t, rotated+0xa282ead8, masked(text))
}

// Wherever a writer was killed, what was whole before it is read.
func TestReadEndsBeforeARecordThatIsNotWhole(t *testing.T) {
	data, ends := file()
	for size := range len(data) {
		want := int64(0)
		for _, end := range ends {
			if end <= int64(size) {
				want = end
			}
		}
		_, good, err := events(t, data[:size])
		require.NoError(t, err, "%d bytes", size)
		require.Equal(t, want, good, "%d bytes", size)
	}
}

func TestReadFindsEveryFlippedBit(t *testing.T) {
	data, _ := file()
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 0x10
		_, _, err := events(t, damaged)
		require.ErrorIs(t, err, ErrDamaged, "byte %d", i)
	}
}

// A record can be of any content with a checksum that holds.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0x05, 0x2a, 0x00})
	f.Add([]byte{0x2a, 0x04, 0x0a, 0x02, 0x0a, 0x7f})
	f.Fuzz(func(t *testing.T, content []byte) {
		b, start := openRecord(nil)
		data := closeRecord(append(b, content...), start)
		require.EqualValues(t, len(content), binary.LittleEndian.Uint64(data))
		_, good, err := events(t, data)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			require.Zero(t, good)
			return
		}
		require.EqualValues(t, len(data), good)
	})
}
