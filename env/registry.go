package env

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"brood/internal/nearest"
)

// ErrUnknown is wrapped by the error of [Make] for an ID nobody registered.
var ErrUnknown = errors.New("unknown environment")

var registry = struct {
	sync.RWMutex
	make map[string]func() (Vector, error)
}{make: map[string]func() (Vector, error){}}

// Register makes a user's environment available by its ID, to configs and to
// [Make], which calls makeEnv. Like database/sql's Register it is meant for init
// functions and panics if the ID is empty or taken, or makeEnv is nil: that is a
// mistake in the program, not in its input.
func Register(id string, makeEnv func() Env) {
	if makeEnv == nil {
		panic(fmt.Sprintf("env: Register %q: the function is nil", id))
	}
	register(id, func() (Vector, error) {
		e := makeEnv()
		if e == nil {
			return nil, errors.New("its function returned nil")
		}
		return vectorize(e)
	})
}

// RegisterVector is [Register] for an environment that steps whole batches.
func RegisterVector(id string, makeVector func() Vector) {
	if makeVector == nil {
		panic(fmt.Sprintf("env: RegisterVector %q: the function is nil", id))
	}
	register(id, func() (Vector, error) {
		v := makeVector()
		if v == nil {
			return nil, errors.New("its function returned nil")
		}
		return v, ValidateSpec(v.Spec())
	})
}

func register(id string, makeVector func() (Vector, error)) {
	if id == "" || strings.TrimSpace(id) != id {
		panic(fmt.Sprintf("env: cannot register %q: an ID must not be empty or start or end with space", id))
	}
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.make[id]; taken {
		panic(fmt.Sprintf("env: %q is already registered", id))
	}
	registry.make[id] = makeVector
}

// Make returns the environment registered under an ID. The error for an ID that
// is not registered wraps [ErrUnknown], names the nearest ID and lists all; an
// environment whose Spec is wrong, or has another ID, is an error too.
func Make(id string) (Vector, error) {
	registry.RLock()
	makeVector, ok := registry.make[id]
	registry.RUnlock()
	if !ok {
		ids := IDs()
		return nil, fmt.Errorf("%w %q%s; registered are: %s", ErrUnknown, id, suggestion(id, ids), strings.Join(ids, ", "))
	}
	v, err := makeVector()
	if err != nil {
		return nil, fmt.Errorf("environment %q: %w", id, err)
	}
	if got := v.Spec().ID; got != id {
		return nil, fmt.Errorf("environment %q: Spec.ID is %q, want the ID it is registered under", id, got)
	}
	return v, nil
}

// IDs returns the IDs of all registered environments, sorted.
func IDs() []string {
	registry.RLock()
	defer registry.RUnlock()
	ids := make([]string, 0, len(registry.make))
	for id := range registry.make {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// suggestion names the ID nearest to a mistyped one, or nothing where none is
// near: more than half of it would have to change.
func suggestion(id string, ids []string) string {
	near := nearest.Word(id, ids)
	if near == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", near)
}
