package ckpt

import "errors"

// The kinds of failure a caller may want to tell apart; every error that is
// returned says what, where and what would be valid, and wraps one of these
// where it applies.
var (
	// ErrDamaged: the bytes are not what a writer of this format wrote.
	ErrDamaged = errors.New("damaged checkpoint")
	// ErrVersion: the format version is one this program does not read.
	ErrVersion = errors.New("unknown checkpoint format")
	// ErrIncompatible: the checkpoint is sound but belongs to another network,
	// environment or configuration.
	ErrIncompatible = errors.New("incompatible checkpoint")
	// ErrNoCheckpoint: a folder holds no complete set of checkpoints.
	ErrNoCheckpoint = errors.New("no complete checkpoint")
	// ErrLocked: another process writes to the folder; see [HeldError].
	ErrLocked = errors.New("the folder is in use")
	// ErrExists: another set of the same update is already there.
	ErrExists = errors.New("checkpoint exists")
)
