package cu

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// MemoryError says that a population does not fit the device's memory.
type MemoryError struct {
	Plan *Plan
	// Failed is the buffer whose allocation failed.
	Failed *Buffer
	Cause  error
}

// Error names what is needed in all, the largest buffers, and which setting
// makes each smaller.
func (e *MemoryError) Error() string {
	largest := slices.Clone(e.Plan.Buffers)
	slices.SortStableFunc(largest, func(a, b Buffer) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var b strings.Builder
	fmt.Fprintf(&b, "the population needs %s of device memory, which ran out at the buffer %s of %s; the largest are:",
		size(e.Plan.TotalBytes()), e.Failed.Name, size(e.Failed.Bytes))
	for i, l := range largest[:min(5, len(largest))] {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s %s (lower %s)", l.Name, size(l.Bytes), l.Scales)
	}
	fmt.Fprintf(&b, ": %v", e.Cause)
	return b.String()
}

// Unwrap returns the cause.
func (e *MemoryError) Unwrap() error { return e.Cause }

func size(bytes int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}

func sizeOf[E any]() int64 {
	var e E
	return int64(unsafe.Sizeof(e))
}
