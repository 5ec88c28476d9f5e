package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"brood/ckpt"
	"brood/convert"
	"brood/dash"
	"brood/export"
	"brood/internal/nearest"
	"brood/presets"
	"brood/train"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// errUsage marks a mistake in the arguments.
var errUsage = errors.New("bad usage")

// usageError is a mistake in the arguments; it says so by its text alone.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func (e *usageError) Is(target error) bool { return target == errUsage }

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// isUsage tells a mistake of the user's from a failure of the machine or damage
// on disk, which a missing file can be a part of.
func isUsage(err error) bool {
	if errors.Is(err, ckpt.ErrDamaged) {
		return false
	}
	for _, mistake := range []error{errUsage, train.ErrConfig, train.ErrRunExists, ckpt.ErrLocked, train.ErrNoCheckpoint, train.ErrImports, convert.ErrMismatch,
		convert.ErrExists, export.ErrFormat, dash.ErrAddress, fs.ErrNotExist, syscall.ENOTDIR, syscall.ENAMETOOLONG} {
		if errors.Is(err, mistake) {
			return true
		}
	}
	return false
}

// maxWord bounds what an error repeats of an argument, so that its own words stay
// on the screen.
const maxWord = 200

func printError(err error) {
	text := strings.TrimSpace(err.Error()) + pathHint(err)
	for i, line := range strings.Split(text, "\n") {
		prefix := "brood: "
		if i > 0 {
			prefix = "       "
		}
		words := strings.Split(line, " ")
		for j, word := range words {
			words[j] = cut(word)
		}
		fmt.Fprintln(os.Stderr, prefix+strings.Join(words, " "))
	}
}

// cut shortens a word; a colon behind it is the sentence's and stays.
func cut(word string) string {
	bare := strings.TrimSuffix(word, ":")
	if len(bare) <= maxWord {
		return word
	}
	return strings.ToValidUTF8(bare[:maxWord], "") + fmt.Sprintf("... (%d bytes)", len(bare)) + word[len(bare):]
}

// pathHint names the file or folder that a missing one may have been meant to be.
func pathHint(err error) string {
	var missing *fs.PathError
	if !errors.As(err, &missing) || !errors.Is(missing, fs.ErrNotExist) || errors.Is(err, ckpt.ErrDamaged) {
		return ""
	}
	path := missing.Path
	for dir := filepath.Dir(path); dir != path; dir = filepath.Dir(path) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		path = dir // the first part that is not there is the one to look at
	}
	if near := nearPath(path); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// nearPath is the path in the same folder whose name is nearest to that of one that
// does not exist; more are given in the same form. Empty: none is near.
func nearPath(path string, more ...string) string {
	candidates := more
	entries, _ := os.ReadDir(filepath.Dir(path)) // where it cannot be read nothing is near
	for _, e := range entries {
		if filepath.Dir(path) == "." {
			candidates = append(candidates, e.Name())
		} else {
			candidates = append(candidates, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	dir, base := filepath.Split(path)
	if dir == "" || dir == "./" {
		return nearest.Word(base, candidates)
	}
	// The folder is right: only the last name may differ.
	names := make([]string, len(candidates))
	for i, c := range candidates {
		names[i] = filepath.Base(c)
	}
	if near := nearest.Word(base, names); near != "" {
		return filepath.Join(dir, near)
	}
	return ""
}

// oneArgument is cobra.ExactArgs(1) with a message that says what is missing.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s takes one argument, %s; got %d", cmd.CommandPath(), what, len(args))
		}
		if args[0] == "" {
			return usage("%s takes one argument, %s; it is empty", cmd.CommandPath(), what)
		}
		return nil
	}
}

// noArgument is cobra.NoArgs with a message that speaks of arguments.
func noArgument(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument; got %s", cmd.CommandPath(), strings.Join(args, " "))
	}
	return nil
}

// unknownCommand is the Args of the root, which has none but names of commands.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage("unknown command %q%s; `brood --help` lists the commands", args[0], commandHint(root, args[0]))
}

func commandHint(root *cobra.Command, name string) string {
	if _, ok := presets.Find(name); ok || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		return "; did you mean `brood train " + name + "`?"
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if near := nearest.Word(name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// flagMistake says what is wrong with a flag in the user's words and not in those of
// the functions that read it.
func flagMistake(cmd *cobra.Command, err error) error {
	see := fmt.Sprintf("; see `%s --help`", cmd.CommandPath())
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest.Word(unknown.GetSpecifiedName(), names); near != "" {
			return usage("%v; did you mean --%s?%s", err, near, see)
		}
	case errors.As(err, &invalid):
		want := invalid.Unwrap().Error()
		switch invalid.GetFlag().Value.Type() {
		case "uint64":
			want = "want a whole number from 0 to 18446744073709551615"
		case "int", "int64":
			want = "want a whole number within 64 bits"
		case "duration":
			want = "want a time with its unit, such as 90s, 5m or 12h"
		case "bool":
			want = "want true or false, or nothing"
		}
		return usage("--%s %s: %s%s", invalid.GetFlag().Name, invalid.GetValue(), want, see)
	}
	return usage("%v%s", err, see)
}

// checkEmpty refuses a flag without a name in it, which is a script's variable that
// was not set.
func checkEmpty(cmd *cobra.Command) error {
	for _, name := range []string{"out", "device"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return usage("--%s is empty; give it a value, or leave it away", name)
		}
	}
	return nil
}
