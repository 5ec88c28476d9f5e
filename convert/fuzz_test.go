package convert

import (
	"testing"

	"brood/ckpt"

	"github.com/stretchr/testify/require"
)

// whole says that what came of a file is an error or a checkpoint, not half of one.
func whole(t *testing.T, data []byte) {
	t.Helper()
	file, report, err := Bytes("x", data, Options{Env: "CartPole-v1"})
	if err != nil {
		require.Nil(t, file)
		require.Nil(t, report)
		return
	}
	c, err := ckpt.Decode(file)
	require.NoError(t, err)
	require.Equal(t, c.HasOptimizerState, report.HasOptimizerState)
}

func FuzzSafetensors(f *testing.F) {
	f.Add(testdata(f, "cleanrl-cartpole.safetensors"))
	f.Add(safetensorsFile(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4)))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _, err := safetensors(data)
		total := 0
		for _, n := range list {
			require.NoError(t, err)
			total += len(n.data)
		}
		require.LessOrEqual(t, total, len(data), "tensors do not overlap")
		whole(t, data)
	})
}

func FuzzTorch(f *testing.F) {
	f.Add(testdata(f, "cleanrl-cartpole.cleanrl_model"))
	f.Add(testdata(f, "sb3-cartpole.zip"))
	f.Add(torchFile(f, tensorPickle(2, 0, "K\x02\x85", "K\x01\x85"), "\x00\x00\x80\x3f\x00\x00\x80\x3f"))
	f.Fuzz(whole)
}

func FuzzPickle(f *testing.F) {
	for _, p := range running {
		f.Add([]byte(p[0]))
	}
	f.Add([]byte(tensorPickle(6, 0, "K\x02K\x03\x86", "K\x03K\x01\x86")))
	f.Add([]byte(tensorPickle(6, 1, "K\x02K\x02\x86", "K\x01K\x02\x86")))
	content := torchFile(f, "", string(make([]byte, 24)))
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := openArchive(content)
		require.NoError(t, err)
		const left = 1 << 10
		r := &torchReader{zip: z, folder: "archive/", loaded: map[string]storage{}, left: left}
		u := &unpickler{data: data, known: knownGlobal, call: r.call, persistent: r.storage}
		v, err := u.load()
		d, isMap := v.(*dict)
		if err != nil || !isMap {
			return
		}
		list, err := tensors(d)
		if err != nil {
			return
		}
		for _, n := range list {
			count, err := product(n.shape, left)
			require.NoError(t, err)
			require.Len(t, n.data, count*elementSizes[n.code])
		}
	})
}
