package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"brood/internal/yamltext"
	"brood/presets"
)

// readYAML reads a configuration or an experiment, never more of it than there may
// be: it can be a device that has no end.
func readYAML(name string) ([]byte, error) {
	if name == "" {
		return nil, usage("the name of the configuration is empty")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		if _, err := os.Stat(filepath.Join(name, "config.yaml")); err == nil {
			return nil, usage("%s is a run folder, and a YAML file is wanted: `brood resume %[1]s` continues the run, %s is its configuration",
				name, filepath.Join(name, "config.yaml"))
		}
		return nil, usage("%s is a folder, and a YAML file is wanted", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, yamltext.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > yamltext.MaxBytes {
		return nil, usage("%s: more than %d bytes of YAML, which is the most that is read", name, yamltext.MaxBytes)
	}
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		return nil, usage("%s is not a text in UTF-8, and a YAML file is wanted", name)
	}
	return text, nil
}

// findPreset returns the configuration of a preset, or says which there are.
func findPreset(name string) ([]byte, error) {
	preset, ok := presets.Find(name)
	if !ok {
		hint := ""
		if near := nearPreset(name); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return nil, usage("there is no preset %q%s; there are %s", name, hint, strings.Join(presets.Names(), ", "))
	}
	return preset.YAML()
}

// readConfig returns the text of a preset or a file, and what errors call it.
func readConfig(name string) (origin string, text []byte, err error) {
	if _, ok := presets.Find(name); ok {
		text, err := findPreset(name)
		return "preset " + name, text, err
	}
	text, err = readYAML(name)
	if errors.Is(err, fs.ErrNotExist) {
		hint := ""
		if near := nearPath(name, presets.Names()...); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return "", nil, usage("%s is neither a preset (%s) nor a file%s", name, strings.Join(presets.Names(), ", "), hint)
	}
	if err != nil && !isUsage(err) {
		return "", nil, usage("the configuration: %v", err)
	}
	return name, text, err
}

// output is standard output, which remembers that something could not be written:
// a result that went nowhere must not look like success.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil {
		err = fmt.Errorf("standard output: %w", err)
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}
