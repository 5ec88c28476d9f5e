package env_test

import (
	_ "embed"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"brood/env"
	"brood/internal/golden"
	"brood/internal/pyenv"
	"brood/rng"
)

//go:embed testdata/gymnasium.py
var gymnasiumScript string

const (
	gymnasiumEpisodes = 8
	gymnasiumProbes   = 200 // per region
	gymnasiumResets   = 2000
)

// regions are ranges of states around the places where an environment's rules
// change, which episodes seldom visit: two numbers for each component.
var regions = map[string][][]float32{
	"Acrobot-v1": {
		{-math.Pi, math.Pi, -math.Pi, math.Pi, -4, 4, -9, 9},
		{3, math.Pi, -math.Pi, -3, -13, 13, -29, 29},
	},
	"CartPole-v1": {
		{2.38, 2.42, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1},
		{-2.42, -2.38, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1},
		{-1, 1, -0.1, 0.1, 0.207, 0.212, -0.1, 0.1},
		{-1, 1, -0.1, 0.1, -0.212, -0.207, -0.1, 0.1},
	},
	"MountainCar-v0": {
		{0.46, 0.54, -0.01, 0.02}, {-1.2, -1.15, -0.07, 0.01}, {0.55, 0.6, 0.03, 0.07}, {-1, 0.3, 0.065, 0.07}, {-1, 0.3, -0.07, -0.065},
	},
	"MountainCarContinuous-v0": {
		{0.41, 0.49, -0.01, 0.02}, {-1.2, -1.15, -0.07, 0.01}, {0.55, 0.6, 0.03, 0.07}, {-1, 0.3, 0.065, 0.07}, {-1, 0.3, -0.07, -0.065},
	},
	"Pendulum-v1": {
		{-30, 30, -8, 8}, {1, 2, 7, 8}, {-2, -1, -8, -7},
	},
}

// TestGymnasium plays the same actions from the same states in Gymnasium, over
// whole episodes with their time limits and from states around every threshold,
// and compares the distribution of the initial states.
func TestGymnasium(t *testing.T) {
	pyenv.Interpreter(t)
	for _, id := range natives {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			v, err := env.Make(id)
			require.NoError(t, err)
			starts := resets(v, gymnasiumResets)
			request, err := msgpack.Marshal(map[string]any{
				"id": id, "seed": 1, "resets": gymnasiumResets,
				"episodes": starts[:gymnasiumEpisodes], "probes": probes(regions[id]),
			})
			require.NoError(t, err)
			played, err := golden.Decode(pyenv.Run(t, gymnasiumScript, request))
			require.NoError(t, err)

			compareSpec(t, v.Spec(), played)
			compareStarts(t, starts, golden.At[golden.Array](t, played, "starts"))
			compareEpisodes(t, v, starts, readSteps(t, v.Spec(), played, "steps"))
			around := readSteps(t, v.Spec(), played, "probes")
			for row := range around.n {
				around.compare(t, v, row)
			}
		})
	}
}

// resets returns n initial states [n][S].
func resets(v env.Vector, n int) [][]float32 {
	size := v.Spec().StateSize
	b := env.Batch{N: 1, Stride: 1, State: make([]float32, size)}
	states := make([][]float32, n)
	for i := range states {
		r := rng.NewKey(7).Stream(uint32(i), rng.Address{Purpose: rng.Reset})
		v.Reset(&b, 0, &r)
		states[i] = slices.Clone(b.State)
	}
	return states
}

// probes draws states [n][S] from the regions.
func probes(regions [][]float32) [][]float32 {
	var states [][]float32
	for i, region := range regions {
		r := rng.NewKey(8).Stream(uint32(i), rng.Address{Purpose: rng.User})
		for range gymnasiumProbes {
			var state []float32
			for c := 0; c < len(region); c += 2 {
				state = append(state, r.Between(region[c], region[c+1]))
			}
			states = append(states, state)
		}
	}
	return states
}

func compareSpec(t *testing.T, spec env.Spec, played map[string]any) {
	require.Equal(t, golden.At[int](t, played, "spec", "max_episode_steps"), spec.MaxEpisodeSteps)
	require.Equal(t, golden.At[float64](t, played, "spec", "reward_threshold"), spec.RewardThreshold)
	require.Equal(t, golden.At[int](t, played, "spec", "obs_dim"), spec.ObsDim)
	require.Equal(t, golden.At[bool](t, played, "spec", "discrete"), spec.Action.Discrete)
	require.Equal(t, golden.At[int](t, played, "spec", "n"), spec.Action.N)
	if !spec.Action.Discrete {
		require.Equal(t, golden.At[golden.Array](t, played, "spec", "low").Float32s(), spec.Action.Low)
		require.Equal(t, golden.At[golden.Array](t, played, "spec", "high").Float32s(), spec.Action.High)
	}
}

// compareStarts compares each component's distribution with Gymnasium's: by the
// two-sample Kolmogorov-Smirnov statistic, whose limit equal distributions exceed
// in one choice of the (fixed) seeds out of a thousand, and by the range, because
// the extremes of n uniform numbers lie within a few n-ths of the range from its
// ends.
func compareStarts(t *testing.T, ours [][]float32, theirs golden.Array) {
	size := len(ours[0])
	require.Equal(t, []int{len(ours), size}, theirs.Shape)
	all := theirs.Float64s()
	for c := range size {
		a, b := make([]float64, len(ours)), make([]float64, len(ours))
		for i := range ours {
			a[i], b[i] = float64(ours[i][c]), all[i*size+c]
		}
		limit := 1.95 * math.Sqrt(2/float64(len(a)))
		require.Less(t, kolmogorovSmirnov(a, b), limit, "component %d of the initial state: ours in [%g, %g], Gymnasium's in [%g, %g]",
			c, slices.Min(a), slices.Max(a), slices.Min(b), slices.Max(b))
		apart := 10 * (slices.Max(b) - slices.Min(b)) / float64(len(b))
		require.InDelta(t, slices.Min(b), slices.Min(a), apart, "least value of component %d", c)
		require.InDelta(t, slices.Max(b), slices.Max(a), apart, "greatest value of component %d", c)
	}
}

// kolmogorovSmirnov is the largest difference between two empirical distribution
// functions.
func kolmogorovSmirnov(a, b []float64) float64 {
	slices.Sort(a)
	slices.Sort(b)
	var most float64
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x := min(a[i], b[j])
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		most = max(most, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return most
}

// steps is a table of environment steps that Gymnasium took.
type steps struct {
	spec                env.Spec
	n                   int
	state, action, next []float64 // [n][S], [n][Action.Width()], [n][S]
	obs, reward         []float64 // [n][D], [n]
	terminated          []float64 // [n]
	truncated           []float64 // [n]
}

func readSteps(t *testing.T, spec env.Spec, played map[string]any, table string) steps {
	column := func(key string) []float64 { return golden.At[golden.Array](t, played, table, key).Float64s() }
	s := steps{
		spec: spec, state: column("state"), action: column("action"), next: column("next_state"), obs: column("obs"),
		reward: column("reward"), terminated: column("terminated"), truncated: column("truncated"),
	}
	s.n = len(s.reward)
	require.NotZero(t, s.n)
	require.Len(t, s.state, s.n*spec.StateSize)
	require.Len(t, s.action, s.n*spec.Action.Width())
	require.Len(t, s.obs, s.n*spec.ObsDim)
	return s
}

// compare repeats one step from Gymnasium's state before it: errors would
// otherwise grow along an episode of a chaotic system.
func (s *steps) compare(t *testing.T, v env.Vector, row int) {
	size, width, features := s.spec.StateSize, s.spec.Action.Width(), s.spec.ObsDim
	b := env.Batch{
		N: 1, Stride: 1, State: make([]float32, size), Action: make([]float32, width),
		Reward: make([]float32, 1), Terminated: make([]float32, 1),
	}
	for c := range size {
		b.State[c] = float32(s.state[row*size+c])
	}
	for c := range width {
		b.Action[c] = float32(s.action[row*width+c])
	}
	before := slices.Clone(b.State)
	obs := make([]float32, features)
	v.Step(&b)
	v.Observe(&b, obs, features)

	near := func(what string, want float64, got float32) {
		require.InDelta(t, want, got, golden.Tolerance+golden.Tolerance*math.Abs(want),
			"step %d from %v with action %v: %s", row, before, b.Action, what)
	}
	next := s.next[row*size : (row+1)*size]
	for c := range size {
		near("state", next[c], b.State[c])
	}
	for c := range features {
		near("observation", s.obs[row*features+c], obs[c])
	}
	if !golden.NearThreshold(s.spec.ID, next) {
		require.EqualValues(t, s.terminated[row], b.Terminated[0], "step %d from %v with action %v: terminated", row, before, b.Action)
		near("reward", s.reward[row], b.Reward[0])
	}
}

// compareEpisodes compares every step of whole episodes, and when Gymnasium
// truncates them.
func compareEpisodes(t *testing.T, v env.Vector, starts [][]float32, played steps) {
	length, episode, ends := 0, 0, map[string]int{}
	for row := range played.n {
		if length == 0 {
			for c, x := range starts[episode] {
				require.EqualValues(t, x, played.state[row*len(starts[0])+c], "the state episode %d starts from", episode)
			}
		}
		length++
		played.compare(t, v, row)
		require.Equal(t, played.truncated[row] == 1, length == played.spec.MaxEpisodeSteps, "step %d of an episode: truncated", length)
		if played.terminated[row] == 1 {
			ends["terminated"]++
		}
		if played.truncated[row] == 1 {
			ends["truncated"]++
		}
		if played.terminated[row] == 1 || played.truncated[row] == 1 {
			length = 0
			episode++
		}
	}
	require.Equal(t, gymnasiumEpisodes, episode)
	t.Logf("%d steps, ends: %v", played.n, ends)
	require.NotZero(t, ends["truncated"], "no episode reached its time limit")
	if played.spec.ID != "Pendulum-v1" {
		require.NotZero(t, ends["terminated"], "no episode ended by itself")
	}
}
