package export

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/ckpt"
	"brood/convert"
	"brood/internal/pyenv"
	"brood/kernels"
	"brood/ppo"
	"brood/rng"
	"brood/tensor"
	"brood/train"
)

// agentOf is an agent of random weights for any environment.
func agentOf(e ckpt.EnvInfo, hidden []int, values int) *ppo.Agent {
	a := &ppo.Agent{Env: e, Step: 12, Hidden: hidden, Activation: kernels.Tanh, Critic: kernels.ScalarCritic, Values: values}
	if values > 1 {
		a.Critic = kernels.QuantileCritic
	}
	stream := rng.NewKey(5).Stream(0, rng.Address{Purpose: rng.User})
	add := func(name string, shape ...int) {
		t := ppo.AgentTensor{Name: name, Shape: shape, Data: make([]float32, 1)}
		for _, d := range shape {
			t.Data = make([]float32, len(t.Data)*d)
		}
		for i := range t.Data {
			t.Data[i] = stream.Normal()
		}
		a.Tensors = append(a.Tensors, t)
	}
	for _, network := range []string{"actor", "critic"} {
		in := e.ObsDim
		for i, out := range append(append([]int{}, hidden...), map[string]int{"actor": e.Action.N, "critic": values}[network]) {
			layer := network + "." + strconv.Itoa(2*i)
			add(layer+".weight", out, in)
			add(layer+".bias", out)
			in = out
		}
	}
	if e.Action.Type != "discrete" {
		add("log_std", e.Action.N)
	}
	return a
}

var (
	inf     = float32(math.Inf(1))
	arm     = ckpt.EnvInfo{ID: "Arm-v7", ObsDim: 5, Action: ckpt.ActionInfo{Type: "continuous", N: 3, Low: []float32{-0.5, -2, -inf}, High: []float32{0.25, inf, 1}}}
	buttons = ckpt.EnvInfo{ID: "Buttons-v0", ObsDim: 2, Action: ckpt.ActionInfo{Type: "discrete", N: 4}}
)

func TestReport(t *testing.T) {
	a := agentOf(arm, []int{4}, 6)
	a.Normalization = &ppo.Normalization{Mean: make([]float32, 5), Var: make([]float32, 5), Count: 3}
	data, r, err := Bytes(a, ONNX)
	require.NoError(t, err)
	assert.Equal(t, &Report{Format: ONNX, Bytes: len(data), Env: "Arm-v7", Step: 12, Parameters: 5*4 + 4 + 4*3 + 3 + 5*4 + 4 + 4*6 + 6 + 3, NormalizesObservations: true,
		Inputs:  []Entry{{"observation", "float32", []int{-1, 5}}},
		Outputs: []Entry{{"action", "float32", []int{-1, 3}}, {"value", "float32", []int{-1}}, {"quantiles", "float32", []int{-1, 6}}}}, r)
	_, r, err = Bytes(a, NPZ)
	require.NoError(t, err)
	last := len(r.Tensors) - 1
	assert.Equal(t, Entry{"actor.0.weight", "float32", []int{4, 5}}, r.Tensors[0])
	assert.Equal(t, Entry{"observation_norm.count", "float64", []int{}}, r.Tensors[last-1])
	assert.Equal(t, Entry{"metadata", "str", []int{}}, r.Tensors[last])
	assert.Len(t, r.Tensors, 8+1+3+1)
}

func TestTheSameAgentGivesTheSameBytes(t *testing.T) {
	for _, format := range Formats() {
		first, _, err := Bytes(agentOf(arm, []int{4, 3}, 6), format)
		require.NoError(t, err)
		second, _, err := Bytes(agentOf(arm, []int{4, 3}, 6), format)
		require.NoError(t, err)
		require.True(t, bytes.Equal(first, second), format)
	}
}

// A model beyond what a message can have is refused before it is made, and so is one
// that only what surrounds its weights makes too large.
func TestTooLargeForONNX(t *testing.T) {
	a := agentOf(buttons, []int{8}, 1)
	data, r, err := Bytes(a, ONNX)
	require.NoError(t, err)
	for _, limit := range []int64{4 * int64(r.Parameters), int64(len(data))} {
		_, err = encodeONNX(a, &Report{Parameters: r.Parameters}, limit)
		require.ErrorIs(t, err, ErrTooLarge)
		require.ErrorContains(t, err, "an ONNX file has less than "+strconv.FormatInt(limit, 10))
	}
	_, err = encodeONNX(a, &Report{Parameters: r.Parameters}, int64(len(data))+1)
	require.NoError(t, err)
}

// Every dimension has bounds of its own, which can be infinite; what is normalised is
// clipped; of equal choices the first is taken.
func TestONNXBoundsClippingAndTies(t *testing.T) {
	pyenv.Interpreter(t)
	stream := rng.NewKey(1).Stream(0, rng.Address{Purpose: rng.User})
	observations := make([][]float32, 200)
	for i := range observations {
		for range 5 {
			observations[i] = append(observations[i], 8*stream.Normal())
		}
	}
	a := agentOf(arm, nil, 1)
	a.Normalization = &ppo.Normalization{Mean: []float32{1, 2, 3, 4, 5}, Var: []float32{1, 0.25, 4, 100, 0}}
	path := filepath.Join(t.TempDir(), "a.onnx")
	data, _, err := Bytes(a, ONNX)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o644))
	var m model
	script(t, "testdata/model.py", map[string]any{"model": path, "observations": observations}, &m)
	assert.Equal(t, "[-0.5, -2, -Infinity]", m.Metadata["action_low"])
	assert.Equal(t, "[0.25, Infinity, 1]", m.Metadata["action_high"])
	var clipped [3][3]int
	beyond := 0
	weight, bias := a.Tensors[0].Data, a.Tensors[1].Data
	for i, x := range observations {
		for c := range 3 {
			mean := float64(bias[c])
			for j, v := range x {
				normal := (float64(v) - float64(a.Normalization.Mean[j])) / math.Sqrt(float64(a.Normalization.Var[j])+1e-8)
				if math.Abs(normal) > 10 {
					beyond++
				}
				mean += float64(weight[c*5+j]) * max(-10, min(10, normal))
			}
			low, high := float64(arm.Action.Low[c]), float64(arm.Action.High[c])
			require.InDelta(t, max(low, min(high, mean)), m.Actions[3*i+c], 1e-4)
			switch {
			case mean < low:
				clipped[c][0]++
			case mean > high:
				clipped[c][1]++
			default:
				clipped[c][2]++
			}
		}
	}
	for c, want := range [3][2]bool{{true, true}, {true, false}, {false, true}} {
		assert.Equal(t, want, [2]bool{clipped[c][0] > 0, clipped[c][1] > 0})
		assert.Positive(t, clipped[c][2])
	}

	assert.Greater(t, beyond, 100)

	a = agentOf(buttons, nil, 1)
	clear(a.Tensors[0].Data)
	copy(a.Tensors[1].Data, []float32{1, 2, 2, 0})
	data, _, err = Bytes(a, ONNX)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o644))
	script(t, "testdata/model.py", map[string]any{"model": path, "observations": [][]float32{{1, 2}}}, &m)
	assert.Equal(t, []float32{1}, m.Actions)
}

// What safetensors of another program read is read by our own, too: `brood convert`
// gives the same agent, with the statistics of its observations.
func TestConvertReadsWhatExportWrote(t *testing.T) {
	for name, config := range map[string]string{
		"CartPole": `
env: {id: CartPole-v1, count: 4}
pbt: {population_size: 1}
run: {total_steps: 1, selection_episodes: 0, device: cpu}`,
		"everything": `
env: {id: Pendulum-v1, count: 4}
policy: {hidden: [3, 9], activation: relu}
critic: {type: quantile, quantiles: 5}
ppo: {normalize_observations: true}
pbt: {population_size: 1}
run: {total_steps: 1, selection_episodes: 0, device: cpu}`,
	} {
		t.Run(name, func(t *testing.T) {
			stored, _ := trained(t, config)
			dir := t.TempDir()
			_, err := File(stored.Checkpoint, Safetensors, filepath.Join(dir, "a.safetensors"))
			require.NoError(t, err)
			report, err := convert.File(filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "b.ckpt"), convert.Options{})
			require.NoError(t, err)
			require.Len(t, report.Notes, 1, "that the file holds weights alone")
			back, err := train.Find(filepath.Join(dir, "b.ckpt"))
			require.NoError(t, err)
			want, err := ppo.ReadAgent(stored.Checkpoint)
			require.NoError(t, err)
			have, err := ppo.ReadAgent(back.Checkpoint)
			require.NoError(t, err)
			want.Step = 0 // weights say nothing of how long they were trained
			require.Equal(t, want, have)
			first, _, err := stored.Evaluate(train.DeviceCPU, 5, 1)
			require.NoError(t, err)
			second, _, err := back.Evaluate(train.DeviceCPU, 5, 1)
			require.NoError(t, err)
			require.Equal(t, first, second)
		})
	}
}

// The layout of a file of safetensors, by its specification: a reader that maps the
// file finds every tensor aligned to its elements.
func TestSafetensorsAreAligned(t *testing.T) {
	a := agentOf(buttons, []int{2}, 1) // an odd number of float32
	a.Normalization = &ppo.Normalization{Mean: []float32{1, 2}, Var: []float32{3, 4}, Count: 5}
	data, _, err := Bytes(a, Safetensors)
	require.NoError(t, err)
	length := binary.LittleEndian.Uint64(data)
	require.Zero(t, length%8)
	var header map[string]struct {
		DType   string
		Offsets []uint64 `json:"data_offsets"`
	}
	require.NoError(t, json.Unmarshal(data[8:8+length], &header))
	sizes, total := map[string]uint64{"F32": 4, "F64": 8}, uint64(0)
	for name, entry := range header {
		if name == "__metadata__" {
			continue
		}
		require.Zero(t, (8+length+entry.Offsets[0])%sizes[entry.DType], name)
		total += entry.Offsets[1] - entry.Offsets[0]
	}
	require.Len(t, header, 1+8+3)
	require.EqualValues(t, len(data), 8+length+total, "side by side")
}

func TestFileMistakes(t *testing.T) {
	stored, c := trained(t, `
env: {id: CartPole-v1, count: 4}
pbt: {population_size: 1}
run: {total_steps: 1, selection_episodes: 0, device: cpu}`)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	_, err := File(stored.Checkpoint, "h5", out)
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, `unknown format "h5"; valid are onnx, safetensors, npz`)
	_, err = File(stored.Checkpoint, ONNX, filepath.Join(dir, "none", "out"))
	require.ErrorIs(t, err, os.ErrNotExist)

	layout, err := kernels.NewLayout(c)
	require.NoError(t, err)
	m := tensor.NewMember(layout)
	_, err = stored.Restore(m)
	require.NoError(t, err)
	m.Float32(kernels.SectionPolicy, "critic.2.bias")[1] = float32(math.NaN())
	data, err := ckpt.Encode(m, stored.Meta, true)
	require.NoError(t, err)
	sick, err := ckpt.Decode(data)
	require.NoError(t, err)
	for _, format := range Formats() {
		_, err = File(sick, format, out)
		require.ErrorContains(t, err, "critic.2.bias has NaN at element 1: every value must be finite")
	}
	require.NoFileExists(t, out, "nothing is left of what failed")

	require.NoError(t, os.WriteFile(out, []byte("mine"), 0o644))
	for _, format := range Formats() {
		_, err = File(stored.Checkpoint, format, out)
		require.ErrorIs(t, err, ErrExists)
		require.ErrorContains(t, err, out+" is there already; choose another name")
	}
	kept, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "mine", string(kept))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
