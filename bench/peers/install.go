package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// environment is the Python virtual environment of the other programs.
type environment struct {
	root   string // of the module
	python string // makes the environment
}

func (e environment) folder() string      { return filepath.Join(e.root, ".venv-peers") }
func (e environment) interpreter() string { return filepath.Join(e.folder(), "bin", "python") }

// install installs each program's package in the pinned versions, or sets the
// program's error. What is there already costs a few seconds and no network.
func (e environment) install(ctx context.Context, programs []*program) {
	venvErr := e.create(ctx)
	done := map[string]error{}
	for _, p := range programs {
		if p.pip == "" {
			continue
		}
		err, known := done[p.pip]
		if !known {
			if err = venvErr; err == nil {
				err = e.pip(ctx, p.pip)
			}
			done[p.pip] = err
		}
		if err != nil {
			p.err = fmt.Errorf("not installed: %w", err)
			fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, p.err)
		}
	}
}

func (e environment) create(ctx context.Context) error {
	if _, err := os.Stat(e.interpreter()); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	output, err := command(ctx, e.root, e.python, "-m", "venv", e.folder()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s -m venv %s: %w: %s", e.python, e.folder(), err, lastLine(string(output)))
	}
	return nil
}

// pip installs one package in the versions of requirements.txt.
func (e environment) pip(ctx context.Context, name string) error {
	fmt.Fprintf(os.Stderr, "installing %s into %s (gigabytes to download the first time)\n", name, e.folder())
	pins := filepath.Join(e.root, "bench", "peers", "requirements.txt")
	output, err := command(ctx, e.root, e.interpreter(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", pins, name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pip install %s: %w: %s", name, err, pipError(string(output)))
	}
	return nil
}

// pipError is the first line of pip's output that says ERROR, or its last line.
func pipError(output string) string {
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "ERROR:") {
			return strings.TrimSpace(line)
		}
	}
	return lastLine(output)
}
