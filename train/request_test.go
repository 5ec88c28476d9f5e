package train

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"brood/ckpt"
	"brood/env"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A run that stands still does no update, writes the checkpoint that is asked for
// meanwhile, goes on when told to, and comes to the same as one that never stood.
func TestPauseAndCheckpointOnRequest(t *testing.T) {
	standsStill(t, smallConfig(t), 0)
}

// standsStill asks a run to pause after update 7; it has begun that many updates ahead at
// most, which it finishes first.
func standsStill(t *testing.T, cfg Config, ahead int64) {
	t.Helper()
	plain := filepath.Join(t.TempDir(), "plain")
	trainNew(t, cfg, Options{Dir: plain})

	dir := filepath.Join(t.TempDir(), "asked")
	var run *Run
	last := int64(0)
	run, err := New(cfg, Options{Dir: dir, Progress: func(p *Progress) {
		last = p.Update
		if p.Update == 7 {
			run.Pause()
		}
	}})
	require.NoError(t, err)
	defer run.Close()
	ended := make(chan error, 1)
	var summary *Summary
	go func() {
		var err error
		summary, err = run.Train(context.Background())
		ended <- err
	}()
	require.Eventually(t, func() bool { _, still := run.Paused(); return still }, 10*time.Second, time.Millisecond)
	assert.GreaterOrEqual(t, last, int64(7))
	assert.LessOrEqual(t, last, 7+ahead, "what was going on is finished, and nothing else begun")
	run.RequestCheckpoint()
	require.Eventually(t, func() bool {
		sets, err := ckpt.List(ckpt.OS, filepath.Join(dir, checkpointsDir))
		return err == nil && len(sets) > 0 && sets[len(sets)-1] == last
	}, 10*time.Second, time.Millisecond, "the checkpoint is written while the run stands")
	asked, still := run.Paused()
	assert.True(t, asked && still, "a checkpoint does not end the pause")
	run.Continue()
	require.NoError(t, <-ended)
	require.NoError(t, run.Close())
	assert.Nil(t, summary.Stopped)
	assert.Equal(t, digest(t, plain), digest(t, dir))
	assert.Equal(t, read(t, plain, "metrics.jsonl"), read(t, dir, "metrics.jsonl"))
	asked, still = run.Paused()
	assert.False(t, asked || still)
}

// The end of the context ends a pause, too, and the run is stopped as ever.
func TestStopWhilePaused(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run, err := New(smallConfig(t), Options{Dir: filepath.Join(t.TempDir(), "run")})
	require.NoError(t, err)
	defer run.Close()
	run.Pause()
	ended := make(chan *Summary, 1)
	go func() {
		summary, err := run.Train(ctx)
		assert.NoError(t, err)
		ended <- summary
	}()
	require.Eventually(t, func() bool { _, still := run.Paused(); return still }, 10*time.Second, time.Millisecond)
	cancel()
	summary := <-ended
	require.NotNil(t, summary)
	require.NotNil(t, summary.Stopped)
	assert.EqualValues(t, 1, summary.Updates)
}

// The time of a pause is none of training.
func TestPauseDoesNotCountAsTraining(t *testing.T) {
	run, err := New(smallConfig(t), Options{Dir: filepath.Join(t.TempDir(), "run")})
	require.NoError(t, err)
	defer run.Close()
	run.Pause()
	ended := make(chan *Summary, 1)
	began := time.Now()
	go func() {
		summary, err := run.Train(context.Background())
		assert.NoError(t, err)
		ended <- summary
	}()
	require.Eventually(t, func() bool { _, still := run.Paused(); return still }, 10*time.Second, time.Millisecond)
	const stands = 300 * time.Millisecond // what is measured, not a wait for something
	time.AfterFunc(stands, run.Continue)
	summary := <-ended
	require.NotNil(t, summary)
	assert.Less(t, summary.Seconds, (time.Since(began) - stands + 10*time.Millisecond).Seconds())
}

// A recording holds the very states: stepping its actions from its first state gives
// each of them again, and its rewards are what an evaluation scores.
func TestRecordingIsTheEpisode(t *testing.T) {
	for id, width := range map[string]int{"CartPole-v1": 4, "Pendulum-v1": 2} {
		t.Run(id, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			trainNew(t, smallConfig(t, "env.id="+id), Options{Dir: dir})
			stored, update, err := NewestMember(dir, 2)
			require.NoError(t, err)
			assert.EqualValues(t, 12, update)
			r, err := stored.Record(5, 3)
			require.NoError(t, err)
			require.Len(t, r.States, len(r.Actions)+1)
			require.Len(t, r.Rewards, len(r.Actions))
			require.NotEmpty(t, r.Actions)

			vector, err := env.Make(id)
			require.NoError(t, err)
			b := &env.Batch{N: 1, Stride: 1, State: append([]float32(nil), r.States[0]...), Action: make([]float32, 1),
				Reward: make([]float32, 1), Terminated: make([]float32, 1)}
			sum := 0.0
			for i, action := range r.Actions {
				require.Len(t, r.States[i], width)
				copy(b.Action, action)
				vector.Step(b)
				require.Equal(t, b.State, r.States[i+1], "step %d", i)
				sum += float64(b.Reward[0])
			}
			assert.InDelta(t, r.Return, sum, 1e-9)
			again, err := stored.Record(5, 3)
			require.NoError(t, err)
			assert.Equal(t, r, again)
			other, err := stored.Record(5, 4)
			require.NoError(t, err)
			assert.NotEqual(t, r.States[0], other.States[0])
		})
	}
}

// What is recorded is what `brood eval` plays: its first episode has the same return.
func TestRecordingPlaysThePolicy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	trainNew(t, smallConfig(t), Options{Dir: dir})
	stored, _, err := NewestMember(dir, 1)
	require.NoError(t, err)
	recorded, err := stored.Record(9, 0)
	require.NoError(t, err)
	played, _, err := stored.Evaluate(DeviceCPU, 1, 9)
	require.NoError(t, err)
	assert.Equal(t, played.MeanReturn, recorded.Return)
}

func TestNewestMemberOfNoCheckpoint(t *testing.T) {
	_, _, err := NewestMember(t.TempDir(), 0)
	assert.ErrorIs(t, err, ErrNoCheckpoint)
}
