package train

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"brood/internal/nearest"
	"brood/internal/yamltext"
)

// Errors of this package, for errors.Is.
var (
	// ErrConfig is a configuration, override or option that cannot be run.
	ErrConfig = errors.New("invalid configuration")
	// ErrRunExists is a run folder that already holds something.
	ErrRunExists = errors.New("the run folder is not empty")
	// ErrImports is a checkpoint that wants code to be imported that nobody allowed.
	ErrImports = errors.New("refused to import code that a file names")
	// ErrNoCheckpoint is a run folder without a complete checkpoint.
	ErrNoCheckpoint = errors.New("no complete checkpoint")
)

const (
	// maxMistakes is how many are told of a configuration.
	maxMistakes = 100
	// maxShown bounds what a message shows of what was written, and maxProblem what
	// it says, in bytes.
	maxShown   = 200
	maxProblem = 4000
)

// FieldError is one mistake in a configuration.
type FieldError struct {
	// Place is where it was written: "file:line:column", a --set argument, or
	// empty for a default.
	Place string
	// Key is the dotted path of the key; empty where the mistake is not in one.
	Key string
	// Problem says what is wrong, the value, and what would be valid.
	Problem string
}

// Error returns "place: key: problem".
func (e *FieldError) Error() string {
	var parts []string
	for _, p := range []string{yamltext.Shortened(e.Place, maxShown), yamltext.Shortened(e.Key, maxShown), yamltext.Shortened(e.Problem, maxProblem)} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// ConfigError is all the mistakes found in a configuration, one per line.
type ConfigError struct{ Mistakes []error }

// Error returns the mistakes, one per line.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, err := range e.Mistakes {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes.
func (e *ConfigError) Unwrap() []error { return e.Mistakes }

// Is makes every ConfigError an [ErrConfig].
func (e *ConfigError) Is(target error) bool { return target == ErrConfig }

func configError(mistakes []error) error {
	if len(mistakes) == 0 {
		return nil
	}
	if more := len(mistakes) - maxMistakes; more > 0 {
		mistakes = append(mistakes[:maxMistakes:maxMistakes], &FieldError{Problem: fmt.Sprintf("and %d more mistakes", more)})
	}
	return &ConfigError{Mistakes: mistakes}
}

// suggestion names the nearest valid word, and all of them where none is near.
func suggestion(got string, valid []string) string {
	if best := nearest.Word(got, valid); best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	sorted := slices.Sorted(slices.Values(valid))
	return "valid here: " + strings.Join(sorted, ", ")
}

// keySuggestion is suggestion for a key under another. One at the top that is a key of
// a section is named with its section.
func keySuggestion(under, name string, valid []string) string {
	if under == "" {
		for _, key := range Keys() {
			if strings.HasSuffix(key, "."+name) && !strings.Contains(key, "*") {
				return fmt.Sprintf("did you mean %s?", key)
			}
		}
	}
	return suggestion(name, valid)
}
