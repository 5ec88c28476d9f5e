// Package convert brings trained agents of other programs into member files of
// package ckpt: models of Stable-Baselines3's PPO with the state of their
// optimizer, and the weights of agents named as CleanRL, Stable-Baselines3 or brood
// itself names them, as a file of safetensors or of torch.save.
//
// Files are read without running anything in them. The reader of pickles is our
// own, because github.com/nlpodyssey/gopickle v0.2.0 sets memory aside for any
// length a file announces and lets through globals that it does not know.
//
// Every length is held against the bytes there are before it is used, so that what
// a file can make this package allocate is bounded by its size.
package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"brood/ckpt"
	"brood/kernels"
	"brood/train"
)

// The kinds of failure. Every error says what, where and what would be valid.
var (
	// ErrDamaged: the file is not what the program that it looks like writes.
	ErrDamaged = errors.New("damaged file")
	// ErrRefused: the file is well formed and holds what brood has not, or what
	// would have to be run to be read.
	ErrRefused = errors.New("refused")
	// ErrMismatch: the file does not fit the environment or the settings given.
	ErrMismatch = errors.New("does not fit")
	// ErrExists: there is something where the checkpoint would be written.
	ErrExists = ckpt.ErrFileExists
)

// maxFile bounds what is read into memory, in bytes: the networks of this kind
// are a thousandth of it.
const maxFile = 1 << 30

// Options say what the file does not.
type Options struct {
	// Env is the id of the environment that the agent plays; it may be empty where
	// the file names it.
	Env string
	// Activation between hidden layers; empty: what the file says, else tanh.
	Activation kernels.Activation
	// Settings override the configuration that is made from the file. The keys that
	// describe the network and the environment cannot be set.
	Settings []train.Setting
}

// File converts the file at path and writes the member file out, which must not
// exist: nothing is ever overwritten. It is written whole or not at all.
func File(path, out string, o Options) (*Report, error) {
	if err := ckpt.CheckNew(out); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	member, report, err := Bytes(path, data, o)
	if err != nil {
		return nil, err
	}
	if err := ckpt.WriteNew(out, member); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	report.Checkpoint = out
	return report, nil
}

// Bytes converts the content of a file, called name in errors, to that of a member
// file of format [ckpt.V2].
func Bytes(name string, data []byte, o Options) ([]byte, *Report, error) {
	member, report, err := convert(name, data, o)
	if err != nil {
		return nil, nil, fmt.Errorf("convert: %s: %w", name, err)
	}
	return member, report, nil
}

func convert(name string, data []byte, o Options) ([]byte, *Report, error) {
	a, err := read(data)
	if err != nil {
		return nil, nil, err
	}
	a.report.File = name
	if err := a.choose(o); err != nil {
		return nil, nil, err
	}
	cfg, err := a.finalConfig(name, o.Settings)
	if err != nil {
		return nil, nil, err
	}
	member, err := a.member(cfg)
	if err != nil {
		return nil, nil, err
	}
	return member, &a.report, nil
}

// zipMagic begins a zip archive that has an entry.
var zipMagic = []byte("PK\x03\x04")

// read tells the kinds of files apart by their content.
func read(data []byte) (*agent, error) {
	if !bytes.HasPrefix(data, zipMagic) {
		return readSafetensors(data)
	}
	z, err := openArchive(data)
	switch {
	case err != nil:
		return nil, err
	case z.has("policy.pth"):
		return readSB3(z)
	case z.torchFolder() != "":
		return readWeights(data)
	}
	return nil, fmt.Errorf("%w: a zip archive without policy.pth (Stable-Baselines3) and without data.pkl (torch.save); it has %s", ErrRefused, listed(z.names))
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file; want a zip of Stable-Baselines3, a .safetensors or a file of torch.save", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes; the most that is read is %d", path, info.Size(), maxFile)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
