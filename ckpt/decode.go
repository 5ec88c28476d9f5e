package ckpt

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The keys of a member file.
const (
	keyVersion     = "format_version"
	keyStep        = "step"
	keyPerformance = "performance"
	keyOptimizer   = "has_optimizer_state"
	keyEnv         = "env"
	keyConfig      = "config"
	keyData        = "data"
	keyChecksums   = "checksums"
)

// requiredV2 are the keys every v2 file has; checksums may be missing from a
// file that another program wrote.
var requiredV2 = []string{keyStep, keyPerformance, keyOptimizer, keyEnv, keyConfig, keyData}

// Decode reads a member file of format [V2] or [V1] and verifies its checksums.
// The checkpoint refers to data, which must not be changed afterwards.
func Decode(data []byte) (*Checkpoint, error) {
	c, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("ckpt: %w", err)
	}
	return c, nil
}

func decode(data []byte) (*Checkpoint, error) {
	r := newReader(data)
	c, sums, err := r.member()
	if err == nil && sums != nil {
		c.Verified = true
		err = c.verify(sums)
	}
	if errors.Is(err, ErrDamaged) {
		err = located(err, memberDeviation(data))
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// member reads all of a file but the checksums, for which it returns a reader; nil:
// there are none.
func (r *reader) member() (*Checkpoint, *reader, error) {
	list, err := r.fields()
	if err != nil {
		return nil, nil, err
	}
	fields := make(map[string]field, len(list))
	for _, f := range list {
		fields[r.key(f)] = f
	}
	version, err := r.version(fields)
	if err != nil {
		return nil, nil, err
	}
	c := &Checkpoint{FormatVersion: version, Meta: Meta{Performance: math.NaN()}}
	if version == V2 {
		// First, as what follows the end can be what a damaged length left out.
		if err := r.keysOfV2(list, fields); err != nil {
			return nil, nil, err
		}
	}
	if err := r.finished(); err != nil {
		return nil, nil, err
	}
	if version == V1 {
		return c, nil, c.decodeV1(r, fields)
	}
	if err := c.decodeV2(r, list); err != nil {
		return nil, nil, err
	}
	if f, ok := fields[keyChecksums]; ok {
		sums := r.inside(f)
		return c, &sums, nil
	}
	return c, nil, nil
}

// version takes a file without a version for v1, as the first writers of that
// format left it out, unless it has what v1 never had.
func (r *reader) version(fields map[string]field) (string, error) {
	f, ok := fields[keyVersion]
	if !ok {
		for _, later := range []string{keyChecksums, keyEnv} {
			if _, ok := fields[later]; ok {
				return "", fmt.Errorf("%w: it has %s but no %s", ErrDamaged, later, keyVersion)
			}
		}
		if _, ok := fields[keyData]; !ok {
			return "", fmt.Errorf("%w: the file has neither %s nor %s; it is not a member's checkpoint", ErrVersion, keyVersion, keyData)
		}
		return V1, nil
	}
	value := r.inside(f)
	version, err := value.str()
	if err != nil {
		return "", err
	}
	if version != V1 && version != V2 {
		return "", fmt.Errorf("%w: %s is %.80q; known are %q and %q", ErrVersion, keyVersion, version, V2, V1)
	}
	return version, nil
}

// keysOfV2 fails where a v2 file lacks a key or has one too many.
func (r *reader) keysOfV2(list []field, fields map[string]field) error {
	for _, key := range requiredV2 {
		if _, ok := fields[key]; !ok {
			return fmt.Errorf("%w: a %s file must have the key %q", ErrDamaged, V2, key)
		}
	}
	for i, f := range list {
		if key := r.key(f); key != keyVersion && key != keyChecksums && !slices.Contains(requiredV2, key) {
			return r.before(list, i).errorf("a %s file has no key %.80q", V2, key)
		}
	}
	if last := list[len(list)-1]; fields[keyChecksums].end > 0 && r.key(last) != keyChecksums {
		return fmt.Errorf("%w: the key %q must be the last; %.80q follows it", ErrDamaged, keyChecksums, r.key(last))
	}
	return nil
}

func (c *Checkpoint) decodeV2(r *reader, list []field) error {
	for _, f := range list {
		var err error
		value := r.inside(f)
		switch key := r.key(f); key {
		case keyVersion, keyChecksums:
		case keyData:
			err = c.readSections(&value)
		default:
			err = c.readMeta(key, &value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeV1 reads the policy, which is all of data or its key policy, and what
// there is of the metadata. Other keys are not ours to judge.
func (c *Checkpoint) decodeV1(r *reader, fields map[string]field) error {
	f, ok := fields[keyData]
	if !ok {
		return fmt.Errorf("%w: a %s file must have the key %q", ErrDamaged, V1, keyData)
	}
	policy := r.inside(f)
	look := policy
	inner, err := look.fields()
	if err != nil {
		return err
	}
	for _, f := range inner {
		if look.key(f) == policyKey {
			policy = look.inside(f)
		}
	}
	s, err := policy.section(policyKey)
	if err != nil {
		return err
	}
	c.sections = []section{s}
	for _, key := range []string{keyStep, keyPerformance, keyConfig} {
		if f, ok := fields[key]; ok {
			value := r.inside(f)
			if err := c.readMeta(key, &value); err != nil {
				return err
			}
		}
	}
	return nil
}

// readMeta reads one entry beside data.
func (c *Checkpoint) readMeta(key string, r *reader) (err error) {
	switch key {
	case keyStep:
		c.Step, err = r.int(0)
	case keyPerformance:
		if code, e := r.peek(); e != nil || code != msgpcode.Nil {
			c.Performance, err = r.float()
		}
	case keyOptimizer:
		c.HasOptimizerState, err = r.bool()
	case keyConfig:
		c.Config, err = r.str()
	case keyEnv:
		c.Env, err = r.env()
	}
	return err
}

func (r *reader) env() (EnvInfo, error) {
	var e EnvInfo
	err := r.keys(map[string]func(*reader) error{
		"id":      func(r *reader) (err error) { e.ID, err = r.str(); return },
		"obs_dim": func(r *reader) (err error) { e.ObsDim, err = r.count(); return },
		"action": func(r *reader) error {
			return r.keys(map[string]func(*reader) error{
				"type": func(r *reader) (err error) { e.Action.Type, err = r.str(); return },
				"n":    func(r *reader) (err error) { e.Action.N, err = r.count(); return },
				"low":  func(r *reader) (err error) { e.Action.Low, err = r.floats(); return },
				"high": func(r *reader) (err error) { e.Action.High, err = r.floats(); return },
				"nvec": func(r *reader) (err error) { e.Action.NVec, err = r.counts(); return },
			}, "nvec")
		},
	})
	return e, err
}

// keys reads a map that has the given keys and no other; those named optional may be
// missing.
func (r *reader) keys(want map[string]func(*reader) error, optional ...string) error {
	list, err := r.fields()
	if err != nil {
		return err
	}
	for i, f := range list {
		key := r.key(f)
		read, ok := want[key]
		if !ok {
			return r.before(list, i).errorf("there is no key %.80q here; missing: %s", key, strings.Join(slices.Sorted(maps.Keys(want)), ", "))
		}
		value := r.inside(f)
		if err := read(&value); err != nil {
			return err
		}
		delete(want, key)
	}
	for _, key := range optional {
		delete(want, key)
	}
	if len(want) > 0 {
		return r.errorf("the key %q is missing", slices.Min(slices.Collect(maps.Keys(want))))
	}
	return nil
}

// before is the reader at the i-th entry of a map, for an error about its key.
func (r *reader) before(list []field, i int) *reader {
	at := *r
	at.pos = list[i].name.from
	if i > 0 {
		at.after = list[i-1].name
	}
	return &at
}

// count reads a size that fits an int on every machine.
func (r *reader) count() (int, error) {
	n, err := r.int(0)
	if err == nil && n > math.MaxInt32 {
		err = r.errorf("%d is too large", n)
	}
	return int(n), err
}

// counts reads a list of counts.
func (r *reader) counts() ([]int, error) {
	n, err := r.arrayLen()
	if err != nil || n == 0 {
		return nil, err
	}
	// Each number takes at least a byte, so this is within eight times the file.
	list := make([]int, n)
	for i := range list {
		if list[i], err = r.count(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r *reader) floats() ([]float32, error) {
	n, err := r.arrayLen()
	if err != nil || n == 0 {
		return nil, err
	}
	// Each number takes at least a byte, so this is within four times the file.
	list := make([]float32, n)
	for i := range list {
		f, err := r.float()
		if err != nil {
			return nil, err
		}
		list[i] = float32(f)
	}
	return list, nil
}

func (c *Checkpoint) readSections(r *reader) error {
	list, err := r.fields()
	if err != nil {
		return err
	}
	c.sections = make([]section, len(list))
	for i, f := range list {
		value := r.inside(f)
		if c.sections[i], err = value.section(r.key(f)); err != nil {
			return err
		}
	}
	return nil
}
