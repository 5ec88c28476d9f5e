//go:build cuda

package train

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"brood/ckpt"
	"brood/cuda"
	"brood/softcuda/control"
	"brood/tensor"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onGPU is the small run on a GPU, with networks of two layers.
func onGPU(t *testing.T, set ...string) Config {
	t.Helper()
	return smallConfig(t, append([]string{"run.device=cuda", "policy.hidden=[8, 6]"}, set...)...)
}

// cancelAt are options that interrupt a run after an update.
func cancelAt(update int64) (context.Context, Options) {
	ctx, cancel := context.WithCancel(context.Background())
	return ctx, Options{Progress: func(p *Progress) {
		if p.Update == update {
			cancel()
		}
	}}
}

func TestGPURunResumesToTheBit(t *testing.T) {
	control.NeedGPUs(t, 1)
	cfg := onGPU(t)
	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	s := trainNew(t, cfg, Options{Dir: whole})
	assert.True(t, strings.HasPrefix(s.Device, "cuda/"), s.Device)
	assert.Positive(t, s.Exploits)

	ctx, o := cancelAt(4)
	o.Dir = parts
	run, err := New(cfg, o)
	require.NoError(t, err)
	stopped, err := run.Train(ctx)
	require.NoError(t, err)
	require.NoError(t, run.Close())
	require.NotNil(t, stopped.Stopped)
	assert.Less(t, stopped.Updates, int64(7), "an update that was begun is finished, no more")

	trainUntil(t, func(o Options) (*Run, error) { return Resume(parts, nil, o) }, -1)
	assert.Equal(t, digest(t, whole), digest(t, parts))
	assert.Equal(t, read(t, whole, "metrics.jsonl"), read(t, parts, "metrics.jsonl"))
	assert.Equal(t, read(t, whole, "decisions.jsonl"), read(t, parts, "decisions.jsonl"))
}

// Where an update is begun before the figures of the one before are read, a pause and a
// checkpoint that is asked for wait for it.
func TestGPUPauseAndCheckpointOnRequest(t *testing.T) {
	control.NeedGPUs(t, 1)
	standsStill(t, onGPU(t), 1)
}

func TestGPUScoreIsOfTheInterval(t *testing.T) {
	control.NeedGPUs(t, 1)
	scoreIsOfTheInterval(t, "run.device=cuda", "pbt.enabled=false")
}

// A run goes on from a checkpoint on another device, from the same bits.
func TestGPURunsGoAcrossDevices(t *testing.T) {
	control.NeedGPUs(t, 2)
	for _, devices := range [][2]string{{"cuda", "cpu"}, {"cpu", "cuda"}, {"cuda", "cuda:0,1"}, {"cuda:1,0", "cuda"}} {
		t.Run(devices[0]+" to "+devices[1], func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			ctx, o := cancelAt(5)
			o.Dir = dir
			run, err := New(onGPU(t, "run.device="+devices[0]), o)
			require.NoError(t, err)
			_, err = run.Train(ctx)
			require.NoError(t, err)
			require.NoError(t, run.Close())
			before := digest(t, dir)

			settings, err := ParseSettings([]string{"run.device=" + devices[1]})
			require.NoError(t, err)
			resumed, err := Resume(dir, settings, Options{})
			require.NoError(t, err)
			sum := tensor.Digest(statesOf(t, resumed)...)
			assert.Equal(t, before, hex.EncodeToString(sum[:]))
			_, err = resumed.Train(context.Background())
			require.NoError(t, err)
			require.NoError(t, resumed.Close())
		})
	}
}

// A checkpoint of a run on a GPU plays the same on the processor.
func TestGPUCheckpointPlaysOnTheProcessor(t *testing.T) {
	control.NeedGPUs(t, 1)
	dir := filepath.Join(t.TempDir(), "run")
	trainNew(t, onGPU(t, "env.id=Pendulum-v1"), Options{Dir: dir})
	stored, err := Find(dir)
	require.NoError(t, err)
	onGPU, _, err := stored.Evaluate("cuda", 10, 1)
	require.NoError(t, err)
	onCPU, _, err := stored.Evaluate("cpu", 10, 1)
	require.NoError(t, err)
	assert.InEpsilon(t, onCPU.MeanReturn, onGPU.MeanReturn, 1e-3)
	assert.Equal(t, onCPU.MeanLength, onGPU.MeanLength)
}

// The device is lost in the middle of a run: the error says where and what is
// left, the last checkpoint is whole, and the run goes on from it.
func TestGPULost(t *testing.T) {
	control.NeedGPUs(t, 1)
	if !control.Present() {
		t.Skip("needs the fake driver: the device is lost on purpose")
	}
	dir := filepath.Join(t.TempDir(), "run")
	cfg := onGPU(t)
	run, err := New(cfg, Options{Dir: dir, Progress: func(p *Progress) {
		if p.Update == 7 {
			control.FailCall(3, 700)
		}
	}})
	require.NoError(t, err)
	_, err = run.Train(context.Background())
	control.FailCall(0, 0)
	defer control.Reset(0)
	require.ErrorIs(t, err, cuda.ErrIllegalAddress)
	for _, want := range []string{"update 8", "members 0 to 3", "the checkpoint of update 5 is whole", "brood resume " + dir, "run.device=cpu"} {
		assert.ErrorContains(t, err, want)
	}
	require.NoError(t, run.Close())

	set, _, err := ckpt.Newest(ckpt.OS, filepath.Join(dir, checkpointsDir), nil)
	require.NoError(t, err)
	assert.EqualValues(t, 5, set.Update)
	settings, err := ParseSettings([]string{"run.device=cpu"})
	require.NoError(t, err)
	s := trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, settings, o) }, -1)
	assert.Nil(t, s.Stopped)
	assert.True(t, strings.HasPrefix(s.Device, "cpu/"), s.Device)
}

// childFolder names the environment variable that makes TestGPUChild train.
const childFolder = "BROOD_TEST_CHILD_FOLDER"

func TestGPUChild(t *testing.T) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		t.Skip("TestGPUProcesses starts it")
	}
	trainNew(t, onGPU(t), Options{Dir: dir})
}

// Two processes train on one GPU at the same time and do not disturb each other.
func TestGPUProcesses(t *testing.T) {
	control.NeedGPUs(t, 1)
	var children []*exec.Cmd
	var dirs []string
	for i := range 2 {
		dirs = append(dirs, filepath.Join(t.TempDir(), fmt.Sprint(i)))
		c := exec.Command(os.Args[0], "-test.run=^TestGPUChild$")
		c.Env = append(os.Environ(), childFolder+"="+dirs[i])
		var output bytes.Buffer
		c.Stdout, c.Stderr = &output, &output
		require.NoError(t, c.Start())
		children = append(children, c)
	}
	for _, c := range children {
		require.NoError(t, c.Wait(), "%s", c.Stdout)
	}
	assert.Equal(t, digest(t, dirs[0]), digest(t, dirs[1]))
}
