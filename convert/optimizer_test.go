package convert

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"brood/kernels"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withOptimizer is sb3-cartpole.zip with one entry of its optimizer's archive
// changed.
func withOptimizer(t *testing.T, entry string, change func([]byte) []byte) []byte {
	t.Helper()
	changed := false
	data := rezip(t, testdata(t, "sb3-cartpole.zip"), func(name string, content []byte) []byte {
		if name != "policy.optimizer.pth" {
			return content
		}
		return rezip(t, content, func(name string, content []byte) []byte {
			if name != "archive/"+entry {
				return content
			}
			result := change(bytes.Clone(content))
			changed = !bytes.Equal(result, content)
			return result
		})
	})
	require.True(t, changed)
	return data
}

// replace changes the first occurrence, which must be there.
func replace(from, to string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(from), []byte(to), 1) }
}

// flag sets the value after a key of the pickle, which is a put into the memo and
// one byte.
func flag(key string, from, to byte) func([]byte) []byte {
	return func(b []byte) []byte {
		at := bytes.Index(b, []byte(text(key))) + len(text(key))
		for at += 2; b[at] != from; at++ {
		}
		b[at] = to
		return b
	}
}

func float(v float32) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.LittleEndian.PutUint32(b, math.Float32bits(v))
		return b
	}
}

func TestOptimizersThatBroodHasNot(t *testing.T) {
	for name, test := range map[string]struct {
		entry  string
		change func([]byte) []byte
		want   string
	}{
		"steps that differ":       {"data/3", float(575), "parameter 1 has done 575 steps and those before it 576"},
		"half a step":             {"data/0", float(0.5), "the step of parameter 0: ckpt: convert: element 0: 0.5 is not a whole number"},
		"steps below 0":           {"data/0", float(-1), "the step of parameter 0"},
		"a square below 0":        {"data/2", float(-1), "exp_avg_sq/actor.0.weight has -1 at element 0; a mean of squares is not below 0"},
		"a mean that is infinite": {"data/1", float(float32(math.Inf(1))), "exp_avg/actor.0.weight has +Inf at element 0"},
		"RMSprop":                 {"data.pkl", replace("exp_avg_sq", "square_avg"), "only Adam's exp_avg, exp_avg_sq and step are read"},
		"no betas":                {"data.pkl", replace("betas", "alpha"), "the optimizer has no betas: it is not Adam"},
		"AMSGrad":                 {"data.pkl", flag("amsgrad", 0x89, 0x88), "Adam with amsgrad, which brood has not"},
		"no groups":               {"data.pkl", replace("param_groups", "param_graups"), "want the maps of an optimizer"},
		"another order":           {"data.pkl", replace("(K\x00K\x01K\x02", "(K\x01K\x00K\x02"), "parameter 0 is not numbered so"},
		"a stranger's state":      {"data.pkl", replace("K\x0b}", "K\x0c}"), "the state of parameter 11 is a None"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Bytes("m.zip", withOptimizer(t, test.entry, test.change), Options{Env: "CartPole-v1"})
			require.Error(t, err)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

// Adam of PyTorch adds the weights to the gradient, which brood has not; AdamW and
// brood do not.
func TestWeightDecay(t *testing.T) {
	data := withOptimizer(t, "data.pkl", flag("weight_decay", 'K', 'N'))
	_, _, err := Bytes("m.zip", data, Options{Env: "CartPole-v1"})
	require.Error(t, err, "the byte after it is no opcode any more")

	decay := func(b []byte) []byte {
		at := bytes.Index(b, []byte(text("weight_decay"))) + len(text("weight_decay"))
		b[bytes.IndexByte(b[at+2:], 'K')+at+3] = 1
		return b
	}
	c := convertFixture(t, "m.zip", withOptimizer(t, "data.pkl", decay), Options{Env: "CartPole-v1"})
	require.Len(t, c.report.Notes, 1)
	assert.Contains(t, c.report.Notes[0], "weight_decay 1 is part of the gradient")
	assert.Zero(t, c.config.Hyperparameters[kernels.WeightDecay])

	decoupled := func(b []byte) []byte { return flag("decoupled_weight_decay", 0x89, 0x88)(decay(b)) }
	c = convertFixture(t, "m.zip", withOptimizer(t, "data.pkl", decoupled), Options{Env: "CartPole-v1"})
	assert.Empty(t, c.report.Notes)
	assert.Equal(t, float32(1), c.config.Hyperparameters[kernels.WeightDecay])
}
