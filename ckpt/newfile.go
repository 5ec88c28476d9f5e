package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrFileExists is wrapped by the error of [WriteNew] for a name that is taken.
var ErrFileExists = errors.New("is there already")

// CheckNew says, before any work is done, what [WriteNew] would of a name that is
// taken.
func CheckNew(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s %w; choose another name", path, ErrFileExists)
	}
	return nil
}

// WriteNew writes a file of the operating system that must not be there: nothing is
// ever overwritten. It takes the name by creating an empty file, which fails where
// there is one already, and then replaces that file, its own, by the whole content;
// see [WriteFile].
func WriteNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w; choose another name", path, ErrFileExists)
	}
	if err != nil {
		return err
	}
	err = f.Close()
	if err == nil {
		err = WriteFile(OS, path, data)
	}
	if err != nil {
		_ = os.Remove(path) // the error that counts is the first
	}
	return err
}
