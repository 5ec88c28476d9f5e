package ckpt

import (
	"fmt"
	"maps"
	"math"
	"slices"

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
	r := newReader(data, 0, "the file")
	list, err := r.fields("")
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	fields := make(map[string]field, len(list))
	for _, f := range list {
		fields[f.key] = f
	}
	version, err := versionOf(fields)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{FormatVersion: version, Meta: Meta{Performance: math.NaN()}}
	if version == V1 {
		return c, c.decodeV1(fields)
	}
	return c, c.decodeV2(data, list, fields)
}

// versionOf takes a file without a version for v1, as the first writers of that
// format left it out, unless it has what v1 never had.
func versionOf(fields map[string]field) (string, error) {
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
	version, err := f.reader.str()
	if err != nil {
		return "", err
	}
	if version != V1 && version != V2 {
		return "", fmt.Errorf("%w: %s is %.80q; known are %q and %q", ErrVersion, keyVersion, version, V2, V1)
	}
	return version, nil
}

func (c *Checkpoint) decodeV2(data []byte, list []field, fields map[string]field) error {
	for _, key := range requiredV2 {
		if _, ok := fields[key]; !ok {
			return fmt.Errorf("%w: a %s file must have the key %q", ErrDamaged, V2, key)
		}
	}
	for _, f := range list {
		var err error
		switch f.key {
		case keyVersion, keyChecksums:
		case keyData:
			err = c.readSections(f.reader)
		default:
			var known bool
			if known, err = c.readMeta(f); err == nil && !known {
				err = fmt.Errorf("%w: a %s file has no key %.80q", ErrDamaged, V2, f.key)
			}
		}
		if err != nil {
			return err
		}
	}
	sums, ok := fields[keyChecksums]
	if !ok {
		return nil
	}
	if last := list[len(list)-1].key; last != keyChecksums {
		return fmt.Errorf("%w: the key %q must be the last; %.80q follows it", ErrDamaged, keyChecksums, last)
	}
	c.Verified = true
	return c.verify(data, sums.reader)
}

// decodeV1 reads the policy, which is all of data or its key policy, and what
// there is of the metadata. Other keys are not ours to judge.
func (c *Checkpoint) decodeV1(fields map[string]field) error {
	f, ok := fields[keyData]
	if !ok {
		return fmt.Errorf("%w: a %s file must have the key %q", ErrDamaged, V1, keyData)
	}
	policy := newReader(f.reader.data, f.reader.base, policyKey)
	inner, err := f.reader.fields(keyData + "/")
	if err != nil {
		return err
	}
	for i := range inner {
		if inner[i].key == policyKey {
			policy = inner[i].reader
		}
	}
	s, err := policy.section(policyKey)
	if err != nil {
		return err
	}
	c.sections = []section{s}
	for _, key := range []string{keyStep, keyPerformance, keyConfig} {
		if f, ok := fields[key]; ok {
			if _, err := c.readMeta(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// readMeta reads one entry beside data; false: there is no such entry.
func (c *Checkpoint) readMeta(f field) (known bool, err error) {
	r := f.reader
	switch f.key {
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
	default:
		return false, nil
	}
	return true, err
}

func (r *reader) env() (EnvInfo, error) {
	var e EnvInfo
	err := r.exactly(map[string]func(*reader) error{
		"id":      func(r *reader) (err error) { e.ID, err = r.str(); return },
		"obs_dim": func(r *reader) (err error) { e.ObsDim, err = r.count(); return },
		"action": func(r *reader) error {
			return r.exactly(map[string]func(*reader) error{
				"type": func(r *reader) (err error) { e.Action.Type, err = r.str(); return },
				"n":    func(r *reader) (err error) { e.Action.N, err = r.count(); return },
				"low":  func(r *reader) (err error) { e.Action.Low, err = r.floats(); return },
				"high": func(r *reader) (err error) { e.Action.High, err = r.floats(); return },
			})
		},
	})
	return e, err
}

// exactly reads a map that has the given keys and no other.
func (r *reader) exactly(want map[string]func(*reader) error) error {
	list, err := r.fields(r.where + "/")
	if err != nil {
		return err
	}
	for _, f := range list {
		read, ok := want[f.key]
		if !ok {
			return r.errorf("there is no key %.80q here", f.key)
		}
		if err := read(f.reader); err != nil {
			return err
		}
		delete(want, f.key)
	}
	if len(want) > 0 {
		return r.errorf("the key %q is missing", slices.Min(slices.Collect(maps.Keys(want))))
	}
	return nil
}

// count reads a size that fits an int on every machine.
func (r *reader) count() (int, error) {
	n, err := r.int(0)
	if err == nil && n > math.MaxInt32 {
		err = r.errorf("%d is too large", n)
	}
	return int(n), err
}

func (r *reader) floats() ([]float32, error) {
	n, err := r.arrayLen()
	if err != nil {
		return nil, err
	}
	var list []float32
	for range n {
		f, err := r.float()
		if err != nil {
			return nil, err
		}
		list = append(list, float32(f))
	}
	return list, nil
}

func (c *Checkpoint) readSections(r *reader) error {
	list, err := r.fields("")
	if err != nil {
		return err
	}
	c.sections = make([]section, len(list))
	for i, f := range list {
		if c.sections[i], err = f.reader.section(f.key); err != nil {
			return err
		}
	}
	return nil
}
