package ckpt

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/tensor"
)

// The files of testdata/versions stand for those that people keep for years, as
// brood and other programs wrote them at their time. Never make one of them again,
// not even where a test here fails: then what reads them has to change. Only add.
// make.py, beside them, says how each was made; versions.json is what Python reads
// in them.
var versions = filepath.Join("testdata", "versions")

// stateOfThen is a member's state at the time of the first files: CartPole, one
// hidden layer of 4, two environments. It is written out here as the layout of
// today can differ.
func stateOfThen() []tensor.Section {
	vector := func(name string, shape ...int) tensor.Spec { return tensor.Spec{Name: name, Shape: shape} }
	double := func(name string) tensor.Spec { return tensor.Spec{Name: name, DType: tensor.Float64} }
	whole := func(name string) tensor.Spec { return tensor.Spec{Name: name, DType: tensor.Int64} }
	policy := []tensor.Spec{
		vector("actor.0.weight", 4, 4), vector("actor.0.bias", 4), vector("actor.2.weight", 2, 4), vector("actor.2.bias", 2),
		vector("critic.0.weight", 4, 4), vector("critic.0.bias", 4), vector("critic.2.weight", 1, 4), vector("critic.2.bias", 1)}
	var optimizer, hyperparameters []tensor.Spec
	for _, moment := range []string{"exp_avg/", "exp_avg_sq/"} {
		for _, p := range policy {
			optimizer = append(optimizer, tensor.Spec{Name: moment + p.Name, Shape: p.Shape})
		}
	}
	for _, name := range []string{"learning_rate", "gamma", "gae_lambda", "clip_range", "value_clip", "entropy_coef", "value_coef",
		"max_grad_norm", "adam_beta1", "adam_beta2", "adam_eps", "weight_decay", "vgs_alpha", "kl_target"} {
		hyperparameters = append(hyperparameters, vector(name))
	}
	return []tensor.Section{
		{Name: "policy", Exploit: tensor.Copy, Tensors: policy},
		{Name: "observation_norm", Exploit: tensor.Copy, Tensors: []tensor.Spec{vector("mean", 4), vector("var", 4), double("count")}},
		{Name: "reward_norm", Exploit: tensor.Copy, Tensors: []tensor.Spec{vector("mean"), vector("var"), double("count")}},
		{Name: "vgs", Key: "vgs_state", Exploit: tensor.Copy, Tensors: []tensor.Spec{vector("mean_abs", 8), vector("var", 8), whole("step")}},
		{Name: "kl_penalty", Key: "kl_penalty_state", Exploit: tensor.Copy, Tensors: []tensor.Spec{vector("beta")}},
		{Name: "optimizer", Key: "optimizer_state", Exploit: tensor.ByStrategy, Tensors: append(optimizer, whole("step"))},
		{Name: "hyperparameters", Exploit: tensor.Copy, Tensors: hyperparameters},
		{Name: "environment", Exploit: tensor.Keep, Tensors: []tensor.Spec{vector("state", 4, 2), vector("episode_return", 2), vector("episode_length", 2), vector("discounted_return", 2)}},
		{Name: "episodes", Exploit: tensor.Clear, Tensors: []tensor.Spec{vector("returns", 100), whole("count"), double("interval_sum"), whole("interval_count")}},
		{Name: "counters", Exploit: tensor.Keep, Tensors: []tensor.Spec{whole("env_steps"), whole("updates"), whole("episodes")}},
		{Name: "rng", Exploit: tensor.Keep, Tensors: []tensor.Spec{{Name: "seed", DType: tensor.Uint64}}},
	}
}

// contents is versions.json: by file, section and name.
func contents(t *testing.T) map[string]map[string]any {
	text, err := os.ReadFile(filepath.Join(versions, "versions.json"))
	require.NoError(t, err)
	var all map[string]map[string]any
	require.NoError(t, json.Unmarshal(text, &all))
	return all
}

// bytesOf is what a tensor's bytes must be by its description in versions.json.
func bytesOf(t *testing.T, described any, x *tensor.Tensor) []byte {
	list := described.([]any)
	shape := make([]int, 0, 2)
	for _, d := range list[1].([]any) {
		shape = append(shape, int(d.(float64)))
	}
	require.Equal(t, append([]int{}, x.Shape...), shape)
	data, err := hex.DecodeString(list[2].(string))
	require.NoError(t, err)
	from := list[0].(string)
	if from == "float" || from == "<f8" {
		if x.DType == tensor.Float64 {
			return data
		}
		require.Equal(t, tensor.Float32, x.DType)
		var narrow []byte
		for ; len(data) > 0; data = data[8:] {
			narrow = binary.LittleEndian.AppendUint32(narrow, math.Float32bits(float32(math.Float64frombits(binary.LittleEndian.Uint64(data)))))
		}
		return narrow
	}
	if from == "int" {
		require.Contains(t, []tensor.DType{tensor.Int64, tensor.Uint64}, x.DType)
	} else {
		require.Equal(t, stored(x.DType).code, from)
	}
	return data
}

// requireSection compares a section with its description; named by group.
func requireSection(t *testing.T, m tensor.Member, b *tensor.Block, described map[string]any) {
	count := 0
	for i := range b.Tensors {
		x := &b.Tensors[i]
		at, name := described, x.Name
		if group, rest, grouped := strings.Cut(name, "/"); grouped {
			at, name = described[group].(map[string]any), rest
		}
		require.Contains(t, at, name)
		require.Equal(t, bytesOf(t, at[name], x), raw(m, x), "%s/%s", b.Key, x.Name)
		count++
	}
	leaves := 0
	for _, v := range described {
		if group, ok := v.(map[string]any); ok {
			leaves += len(group)
		} else {
			leaves++
		}
	}
	require.Equal(t, leaves, count, "tensors of %s", b.Key)
}

func TestFilesOfEveryVersionAreRead(t *testing.T) {
	const (
		onlyPolicy  = "the checkpoint is v1_policy_only: it holds only the policy; the optimizer starts reset and everything else freshly initialised"
		noOptimizer = "the checkpoint holds no optimizer_state: the optimizer starts reset"
		noSums      = "the checkpoint carries no checksums: damage to it would go unnoticed"
	)
	all := contents(t)
	l := layoutOf(t, stateOfThen()...)
	seen := 0
	for name, test := range map[string]struct {
		step        int64
		performance float64
		config      string
		warnings    []string
	}{
		"v1_at_the_top.ckpt":             {0, math.NaN(), "", []string{onlyPolicy}},
		"v1_at_the_top_versioned.ckpt":   {7, 12.25, "", []string{onlyPolicy}},
		"v1_under_policy.ckpt":           {0, math.NaN(), "", []string{onlyPolicy}},
		"v1_under_policy_versioned.ckpt": {9, math.NaN(), "lr: 1", []string{onlyPolicy}},
		"v2_without_optimizer.ckpt":      {20, 21.5, "env: {id: CartPole-v1, count: 2}", []string{noOptimizer, noSums}},
		"v2_with_optimizer.ckpt":         {20, 21.5, "env: {id: CartPole-v1, count: 2}", []string{noSums}},
	} {
		seen++
		t.Run(name, func(t *testing.T) {
			c, err := ReadFile(OS, filepath.Join(versions, name))
			require.NoError(t, err)
			require.Equal(t, test.step, c.Step)
			require.Contains(t, c.Config, test.config)
			require.Equal(t, math.Float64bits(test.performance), math.Float64bits(c.Performance))
			m := filled(l, 1)
			before := m.Clone()
			warnings, err := c.Restore(m)
			require.NoError(t, err)
			require.Equal(t, test.warnings, warnings)
			for _, b := range l.Sections() {
				described, there := all[name][b.Key].(map[string]any)
				if c.FormatVersion == V1 && b.Key == "policy" && !there {
					described, there = all[name], true
				}
				switch {
				case there && (c.FormatVersion == V2 || b.Key == "policy"):
					requireSection(t, m, &b, described)
				case b.Name == "optimizer":
					before.Reset("optimizer")
					require.Equal(t, before.Raw(b.Name, "exp_avg/actor.0.weight"), m.Raw(b.Name, "exp_avg/actor.0.weight"))
					require.Zero(t, m.Int64(b.Name, "step")[0])
				default:
					require.Equal(t, V1, c.FormatVersion, "only such a file lacks %s", b.Key)
					for _, x := range b.Tensors {
						require.Equal(t, before.Raw(b.Name, x.Name), m.Raw(b.Name, x.Name), "%s/%s", b.Key, x.Name)
					}
				}
			}
		})
	}
	files, err := filepath.Glob(filepath.Join(versions, "*.ckpt"))
	require.NoError(t, err)
	require.Len(t, files, seen, "a file is not tested")
}

// A whole run that brood trained when the format was new.
func TestSetsOfEveryVersionAreRead(t *testing.T) {
	all := contents(t)
	l := layoutOf(t, stateOfThen()...)
	dir := filepath.Join(versions, "run_v1", "checkpoints")
	sets, err := List(OS, dir)
	require.NoError(t, err)
	require.Equal(t, []int64{6, 12}, sets)
	for _, update := range sets {
		path := filepath.Join(dir, SetName(update))
		s, err := ReadSet(OS, path)
		require.NoError(t, err)
		require.Equal(t, update, s.Update)
		require.Equal(t, 64*update, s.Run.EnvSteps)
		require.Len(t, s.Members, 2)
		var members []tensor.Member
		for i, data := range s.Members {
			c := decoded(t, data)
			require.True(t, c.Verified)
			require.True(t, c.HasOptimizerState)
			m := tensor.NewMember(l)
			warnings, err := c.Restore(m)
			require.NoError(t, err)
			require.Empty(t, warnings)
			described := all[filepath.ToSlash(filepath.Join("run_v1", "checkpoints", SetName(update), MemberFile(i)))]
			require.Len(t, described, len(l.Sections()))
			for _, b := range l.Sections() {
				requireSection(t, m, &b, described[b.Key].(map[string]any))
			}
			members = append(members, m)
		}
		require.NoError(t, s.CheckDigest(members...))
		want := map[int64]string{
			6:  "d5c96997853e0dc051f06a38d8ecc85bdb045f9e5e475c5aa7c4a1a3a30bc803",
			12: "a79bc071a739ebf6578d515e547d1cc910aa11ad71bd21a5fafe08539dec1e47"}[update]
		require.Equal(t, want, hex.EncodeToString(s.Run.Digest[:]))
	}
}
