//go:build !amd64 || purego

package simd

func vectorPaths() []*Path { return nil }
