package convert

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/kernels"
)

// withStatistics is a file of weights for Pendulum-v1, whose observations have 3
// features, with the statistics of observations behind them.
func withStatistics(t *testing.T, statistics map[string][]float64, metadata map[string]any) []byte {
	data := testdata(t, "cleanrl-pendulum.safetensors")
	end := len(data) - 8 - int(binary.LittleEndian.Uint64(data))
	entries := map[string]any{}
	for _, name := range []string{"mean", "var", "count", "std"} {
		values, there := statistics[name]
		if !there {
			continue
		}
		begin := end
		for _, v := range values {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
			end += 8
		}
		shape := []int{len(values)}
		if name == "count" {
			shape = []int{}
		}
		entries["observation_norm."+name] = map[string]any{"dtype": "F64", "shape": shape, "data_offsets": []int{begin, end}}
	}
	return withHeader(t, data, func(header map[string]any) {
		for name, entry := range entries {
			header[name] = entry
		}
		if metadata != nil {
			header["__metadata__"] = metadata
		}
	})
}

func TestStatisticsOfObservations(t *testing.T) {
	sound := map[string][]float64{"mean": {1, 2, 3}, "var": {4, 5, 6}, "count": {1000}}
	c := convertFixture(t, "m", withStatistics(t, sound, nil), Options{Env: "Pendulum-v1"})
	assert.True(t, c.config.NormalizeObservations)
	assert.Equal(t, []float32{1, 2, 3}, c.member.Float32(kernels.SectionObservationNorm, "mean"))
	assert.Equal(t, []float32{4, 5, 6}, c.member.Float32(kernels.SectionObservationNorm, "var"))
	assert.Equal(t, []float64{1000}, c.member.Float64(kernels.SectionObservationNorm, "count"))
	require.Len(t, c.report.Notes, 2)
	assert.Contains(t, c.report.Notes[0], "the file holds weights alone")
	assert.Contains(t, c.report.Notes[1], "which activation")
	require.Len(t, c.report.Taken, 1)
	assert.Equal(t, "ppo.normalize_observations", c.report.Taken[0].Key)

	for want, change := range map[string]map[string][]float64{
		"2 of observation_norm.mean, var and count are there; want all of them or none": {"var": nil},
		"observation_norm.std":                                           {"std": {1, 2, 3}},
		"mean has shape [2]":                                             {"mean": {1, 2}},
		"var or count has -1; want at least 0":                           {"var": {4, -1, 6}},
		"var or count has -2; want at least 0":                           {"count": {-2}},
		"mean has +Inf at element 1; every value must be finite":         {"mean": {1, math.Inf(1), 3}},
		"count has NaN at element 0; every value must be finite":         {"count": {math.NaN()}},
		"var: ckpt: convert: element 0: 1e+60 is beyond float32":         {"var": {1e60, 1, 1}},
		"mean has shape [4], which the configuration does not need":      {"mean": {1, 2, 3, 4}},
		"var has shape [1], which the configuration does not need":       {"var": {1}},
		"1 of observation_norm.mean, var and count are there; want all ": {"var": nil, "count": nil},
	} {
		statistics := map[string][]float64{}
		for name, values := range sound {
			statistics[name] = values
		}
		for name, values := range change {
			statistics[name] = values
			if values == nil {
				delete(statistics, name)
			}
		}
		_, _, err := Bytes("m", withStatistics(t, statistics, nil), Options{Env: "Pendulum-v1"})
		assert.ErrorContains(t, err, want)
	}
}

// The keys of the metadata are brood's where it says so, and nobody's otherwise.
func TestMetadataOfOtherPrograms(t *testing.T) {
	metadata := map[string]any{"activation": "ReLU", "critic_type": "quantile", "normalize_observations": "false"}
	c := convertFixture(t, "m", withStatistics(t, nil, metadata), Options{Env: "Pendulum-v1"})
	assert.Equal(t, kernels.Tanh, c.report.Activation)
	assert.Equal(t, kernels.ScalarCritic, c.config.Critic.Type)
	require.Len(t, c.report.Notes, 3)

	metadata = map[string]any{"activation": "relu", "brood_version": "v1", "normalize_observations": "false"}
	c = convertFixture(t, "m", withStatistics(t, nil, metadata), Options{Env: "Pendulum-v1"})
	assert.Equal(t, kernels.ReLU, c.report.Activation)
	require.Len(t, c.report.Notes, 1)
	_, _, err := Bytes("m", withStatistics(t, nil, map[string]any{"activation": "gelu", "brood_version": "v1"}), Options{Env: "Pendulum-v1"})
	require.ErrorIs(t, err, ErrMismatch)
	require.ErrorContains(t, err, `the activation "gelu"; must be tanh or relu`)
}
