//go:build !unix

package ckpt

import "os"

func flock(*os.File) (bool, error) { return false, errNoLocks }

// alive cannot be known here, and a process is taken for alive.
func alive(int) bool { return true }
