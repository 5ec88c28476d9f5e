//go:build amd64 && !purego

package simd

import "golang.org/x/sys/cpu"

// vectorPaths are the assembly paths this processor runs, the fastest first.
func vectorPaths() []*Path {
	var paths []*Path
	avx2 := cpu.X86.HasAVX2 && cpu.X86.HasFMA
	if avx2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasBMI2 {
		paths = append(paths, pathAVX512())
	}
	if avx2 {
		paths = append(paths, pathAVX2())
	}
	return paths
}
