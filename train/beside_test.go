package train

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/ckpt"
)

// Whoever reads a run folder while the run trains finds checkpoints that are sound,
// although the run removes the older ones all the time.
func TestReadingBesideARunThatPrunes(t *testing.T) {
	cfg, err := load(t, `
env: {id: CartPole-v1, count: 8}
policy: {hidden: [8]}
ppo: {steps: 16}
pbt: {population_size: 4}
checkpoint: {every: 1, keep: 1}
run: {total_steps: 1.0e5, selection_episodes: 0, device: cpu}
`)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "run")
	run, err := New(cfg, Options{Dir: dir})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := run.Train(ctx)
		assert.NoError(t, err)
		assert.NoError(t, run.Close())
	}()
	defer func() {
		cancel()
		<-ended
	}()
	reads := 0
	for {
		select {
		case <-ended:
			require.Greater(t, reads, 20, "too few readings prove little")
			return
		default:
		}
		for what, read := range map[string]func() error{
			"Find":         func() error { _, err := Find(dir); return err },
			"Digest":       func() error { _, err := Digest(dir); return err },
			"NewestMember": func() error { _, _, err := NewestMember(dir, 1); return err },
			"Verify": func() error {
				verdicts, err := Verify(dir)
				for _, v := range verdicts {
					if filepath.Base(filepath.Dir(v.Path)) == checkpointsDir {
						assert.Empty(t, v.Problems, v.Path)
					}
				}
				return err
			},
		} {
			if err := read(); err != nil {
				require.ErrorIs(t, err, ErrNoCheckpoint, what)
				continue
			}
			reads++
		}
		require.False(t, t.Failed())
	}
}

// A set that goes while it is read is none, and not a damaged one.
func TestSetThatIsRemovedWhileItIsRead(t *testing.T) {
	cfg := smallConfig(t)
	dir := filepath.Join(t.TempDir(), "run")
	trainNew(t, cfg, Options{Dir: dir})
	sets, err := ckpt.List(ckpt.OS, filepath.Join(dir, checkpointsDir))
	require.NoError(t, err)
	tries := 0
	_, err = readNewest(dir, func(path string) (bool, error) {
		if tries++; tries == 1 {
			_, err := ckpt.SetAside(ckpt.OS, path)
			require.NoError(t, err)
			return false, ckpt.ErrDamaged
		}
		assert.Equal(t, ckpt.SetName(sets[len(sets)-2]), filepath.Base(path))
		return true, nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
}
