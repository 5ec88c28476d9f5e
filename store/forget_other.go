//go:build !linux

package store

import "os"

// forget would drop what the page cache has of a file; only Linux can.
func forget(*os.File) {}
