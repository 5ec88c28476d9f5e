package ckpt

import (
	"testing"

	"github.com/stretchr/testify/require"

	"brood/tensor"
)

// Every tensor can be read alone, bit for bit as the whole is restored.
func TestTensorReadsEveryTensor(t *testing.T) {
	m := smallMember(t)
	c := decoded(t, encoded(t, m, true))
	for _, b := range m.Layout().Sections() {
		for _, spec := range b.Tensors {
			data, err := c.Tensor(b.Key, spec.Spec)
			require.NoError(t, err)
			require.Equal(t, m.Raw(b.Name, spec.Name), data)
			data[0]++ // it is a copy
			again, err := c.Tensor(b.Key, spec.Spec)
			require.NoError(t, err)
			require.Equal(t, m.Raw(b.Name, spec.Name), again)
		}
	}
	data, err := c.Tensor("counters", tensor.Spec{Name: "env_steps", DType: tensor.Float32})
	require.NoError(t, err, "an integer that a float32 holds")
	require.Len(t, data, 4)
}

func TestTensorMistakes(t *testing.T) {
	c := decoded(t, encoded(t, smallMember(t), true))
	for want, spec := range map[string]struct {
		section string
		tensor.Spec
	}{
		"it lacks the section nothing":                                                {"nothing", tensor.Spec{Name: "x"}},
		"section policy lacks the tensor actor.2.bias of shape [3]":                   {"policy", tensor.Spec{Name: "actor.2.bias", Shape: []int{3}}},
		"tensor actor.0.bias: the checkpoint has shape [3], wanted is [1099511627776": {"policy", tensor.Spec{Name: "actor.0.bias", Shape: []int{1 << 40}}},
		"tensor learning_rate: element 0: ":                                           {"hyperparameters", tensor.Spec{Name: "learning_rate", DType: tensor.Int64}},
	} {
		_, err := c.Tensor(spec.section, spec.Spec)
		require.ErrorIs(t, err, ErrIncompatible)
		require.ErrorContains(t, err, want)
	}
}
