package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxName leaves room for a prefix below the 1024 bytes of a bucket's keys.
	maxName = 800
	// maxPart is what file systems allow.
	maxPart = 255
	// tmpPrefix marks what is not complete, as in a run's folder.
	tmpPrefix = ".tmp-"
)

// checkName refuses names that would be something else, or somewhere else, in one
// of the stores.
func checkName(name string) error {
	if err := checkText(name); err != nil {
		return err
	}
	for part := range strings.SplitSeq(name, "/") {
		var reason string
		switch {
		case part == "":
			reason = "it is empty, or has an empty part or a slash at an end"
		case part == "." || part == "..":
			reason = "it has the part " + part
		case len(part) > maxPart:
			reason = fmt.Sprintf("a part of it has %d bytes; at most %d are valid", len(part), maxPart)
		case strings.HasPrefix(part, tmpPrefix):
			reason = "a part of it begins with " + tmpPrefix + ", which marks what is not complete"
		}
		if reason != "" {
			return fmt.Errorf("%w: %q: %s", ErrName, name, reason)
		}
	}
	return nil
}

// checkPrefix is checkName for what a name may begin with: empty, or ending anywhere.
func checkPrefix(prefix string) error {
	if err := checkText(prefix); err != nil {
		return err
	}
	dir, _ := splitName(prefix)
	if dir == "" && !strings.HasPrefix(prefix, "/") {
		return nil
	}
	return checkName(dir)
}

func checkText(name string) error {
	var reason string
	switch {
	case len(name) > maxName:
		// Not repeated: it can be of any length.
		return fmt.Errorf("%w: it has %d bytes; at most %d are valid", ErrName, len(name), maxName)
	case !utf8.ValidString(name):
		reason = "it is not UTF-8"
	case strings.ContainsRune(name, '\\'):
		reason = "it has a backslash; slashes separate the parts"
	case strings.IndexFunc(name, unicode.IsControl) >= 0:
		reason = "it has a control character"
	}
	if reason != "" {
		return fmt.Errorf("%w: %q: %s", ErrName, name, reason)
	}
	return nil
}

// splitName gives what is before the last slash, and after it.
func splitName(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}
