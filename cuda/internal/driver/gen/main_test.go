package main

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

// TestGenerated checks that the committed files are what the generator makes of
// the committed list.
func TestGenerated(t *testing.T) {
	t.Chdir("..")
	symbols, err := readSymbols()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(symbols) || slices.Contains(symbols, "cuInit") {
		t.Errorf("%s is not sorted, or has cuInit, which is none of the trampolines", symbolsFile)
	}
	for name, want := range render(symbols) {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what go generate makes of %s", name, symbolsFile)
		}
	}
}
