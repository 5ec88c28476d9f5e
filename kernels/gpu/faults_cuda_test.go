//go:build cuda

package gpu

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/cuda"
	"brood/env"
	"brood/kernels"
	"brood/kernels/cu"
	"brood/softcuda/control"
	"brood/tensor"
)

func needFake(t *testing.T) {
	t.Helper()
	control.NeedGPUs(t, 1)
	if !control.Present() {
		t.Skip("needs the fake driver: faults are injected")
	}
}

// small is a population whose whole life takes few driver calls.
func small(t *testing.T, id string) *kernels.Config {
	t.Helper()
	v, err := env.Make(id)
	require.NoError(t, err)
	return &kernels.Config{
		Population: 3, Seed: 1, Env: v, Environments: 3, Steps: 4, Hidden: []int{5, 6}, Activation: kernels.Tanh,
		Critic: kernels.Critic{Type: kernels.ScalarCritic}, Epochs: 1, Minibatches: 2,
		NormalizeAdvantage: true, NormalizeObservations: true, NormalizeRewards: true, LearningRateSchedule: kernels.Constant,
		VGS: kernels.VGS{Enabled: true, Beta: 0.9, Warmup: 1, Eps: 1e-8, Percentile: 0.9},
		Hyperparameters: kernels.Hyperparameters{
			kernels.LearningRate: 1e-3, kernels.Gamma: 0.99, kernels.GAELambda: 0.95, kernels.ClipRange: 0.2,
			kernels.ValueCoef: 0.5, kernels.MaxGradNorm: 0.5, kernels.AdamBeta1: 0.9, kernels.AdamBeta2: 0.999, kernels.AdamEps: 1e-5,
			kernels.VGSAlpha: 0.1, kernels.KLTarget: 0.01,
		},
	}
}

// life makes an engine and does everything a run does with one.
func life(c *kernels.Config, devices ...int) (err error) {
	e, err := New(c, devices...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	stats := make([]kernels.Stats, c.Population)
	if err := e.Iterate(stats); err != nil {
		return err
	}
	x := []kernels.Exploit{{Member: 0, Source: 2, Strategy: kernels.StrategyCopy, Hyperparameters: c.Hyperparameters},
		{Member: 2, Source: 1, Strategy: kernels.StrategyReset, Hyperparameters: c.Hyperparameters}}
	if err := e.Exploit(x); err != nil {
		return err
	}
	states, err := e.BeginSnapshot()
	if err != nil {
		return err
	}
	if err := e.Iterate(stats); err != nil {
		return err
	}
	if _, err := states(); err != nil {
		return err
	}
	returns, lengths := [][]float64{{0}}, [][]int{{0}}
	if err := e.Evaluate(kernels.Evaluation{Members: []int{1}, Episodes: 1, MaxSteps: 3}, returns, lengths); err != nil {
		return err
	}
	m := tensor.NewMember(e.Layout())
	return errors.Join(e.Snapshot(1, m), e.Restore(0, m))
}

// Every driver call of a short life fails once: each time there is an error that
// says where, nothing hangs or panics, and nothing stays allocated.
func TestFaultAtEveryCall(t *testing.T) {
	needFake(t)
	for _, fault := range []struct {
		name string
		code int
		step uint64 // every call takes half a minute: one fault for all, one in nine for the others
	}{{"illegal address", 700, 1}, {"out of memory", 2, 9}, {"launch failed", 719, 9}} {
		t.Run(fault.name, func(t *testing.T) {
			c := small(t, "CartPole-v1")
			require.NoError(t, life(c))
			before := control.LiveBytes()
			calls := control.Calls()
			require.NoError(t, life(c))
			calls = control.Calls() - calls
			require.Greater(t, calls, uint64(50))
			step := fault.step
			if testing.Short() {
				step = 53
			}
			left := 0
			for k := uint64(1); k <= calls; k += step {
				control.FailCall(k, fault.code)
				err := life(c)
				control.FailCall(0, 0)
				require.Error(t, err, "call %d of %d failed and nobody says so", k, calls)
				var e *cuda.Error
				require.ErrorAs(t, err, &e, "call %d: %v", k, err)
				require.NotEmpty(t, e.Op, "call %d", k)
				if control.LiveBytes() != before {
					left++
				}
				control.Reset(0)
				require.Equal(t, before, control.LiveBytes())
			}
			// The call that gives the context back can fail, too.
			require.LessOrEqual(t, left, 1, "memory stays after %d of %d failed calls", left, calls)
			require.NoError(t, life(c), "all is well after the faults")
		})
	}
}

// What a fault is called, wherever it strikes.
func TestFaultsAreNamed(t *testing.T) {
	needFake(t)
	c := small(t, "CartPole-v1")
	e, err := New(c)
	require.NoError(t, err)
	defer e.Close()
	stats := make([]kernels.Stats, c.Population)
	require.NoError(t, e.Iterate(stats))
	control.FailCall(3, 700)
	defer control.FailCall(0, 0)
	err = e.Iterate(stats)
	require.ErrorIs(t, err, cuda.ErrIllegalAddress)
	require.Contains(t, err.Error(), "members 0 to 2")
	require.Contains(t, err.Error(), "resume")
	require.Error(t, e.Iterate(stats), "the device stays lost")
	require.NoError(t, e.Close())
	control.Reset(0)
	require.NoError(t, life(c), "a new process goes on")
}

func TestOutOfMemoryNamesBuffers(t *testing.T) {
	needFake(t)
	c := small(t, "CartPole-v1")
	c.Environments, c.Steps, c.Population = 4096, 1024, 64
	before := control.LiveBytes()
	_, err := New(c)
	require.ErrorIs(t, err, cuda.ErrOutOfMemory)
	var m *cu.MemoryError
	require.ErrorAs(t, err, &m)
	for _, want := range []string{"Obs", "env.count", "GiB", "members 0 to 63"} {
		require.Contains(t, err.Error(), want)
	}
	require.False(t, strings.Contains(err.Error(), "\n"), "one line: %v", err)
	require.Equal(t, before, control.LiveBytes())
}

// Within a GPU an exploit moves nothing over the bus but the list of pairs and
// the hyperparameters, however large the networks are.
func TestExploitCrossesNothing(t *testing.T) {
	control.NeedGPUs(t, 1)
	c := small(t, "CartPole-v1")
	c.Population, c.Hidden = 8, []int{64, 64}
	e, err := New(c)
	require.NoError(t, err)
	defer e.Close()
	g := e.(*Engine)
	var exploits []kernels.Exploit
	for m := range 4 {
		exploits = append(exploits, kernels.Exploit{Member: m, Source: m + 4, Strategy: kernels.StrategyCopy, Hyperparameters: c.Hyperparameters})
	}
	before := g.shards[0].ctx.Transfers()
	require.NoError(t, e.Exploit(exploits))
	require.NoError(t, g.Synchronize())
	after := g.shards[0].ctx.Transfers()
	require.Equal(t, int64(4*(16+4*kernels.MaxHyperparameters)), after.ToDevice-before.ToDevice)
	require.Equal(t, before.ToHost, after.ToHost)
	if control.Present() {
		fake := control.Copied(control.HostToDevice)
		require.NoError(t, e.Exploit(exploits))
		require.NoError(t, g.Synchronize())
		require.Equal(t, uint64(4*(16+4*kernels.MaxHyperparameters)), control.Copied(control.HostToDevice)-fake)
	}
}
