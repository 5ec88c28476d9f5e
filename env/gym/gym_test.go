package gym_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/env/gym"
	"brood/internal/pyenv"
	"brood/rng"
)

const (
	trouble = gym.Prefix + "brood_test_envs:brood/Trouble-v0"
	shapes  = gym.Prefix + "brood_test_envs:brood/Spaces-v0"
)

// options are of an environment in the Python of the tests, which finds testdata.
func options(t testing.TB, id string, kwargs map[string]any) gym.Options {
	t.Helper()
	return gym.Options{ID: id, Kwargs: kwargs, Python: pyenv.Interpreter(t), Workers: 2}
}

// open is a session with one region of n environments, all of which were reset with
// the seeds 100, 101, and so on.
func open(t testing.TB, o gym.Options, n int, warn func(string)) (env.Session, env.Spec) {
	t.Helper()
	e, err := gym.New(o)
	require.NoError(t, err)
	s, err := e.Open([]int{n}, warn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	reset(t, s, 0, n)
	return s, e.Spec()
}

func reset(t testing.TB, s env.Session, first, end int) {
	t.Helper()
	l := s.Lanes()
	for i := first; i < end; i++ {
		l.Command[i], l.Seed[i] = env.LaneReset, uint32(100+i)
	}
	do(t, s)
}

func do(t testing.TB, s env.Session) {
	t.Helper()
	require.NoError(t, s.Begin(0))
	require.NoError(t, s.Wait(0))
}

// step steps all environments with the action.
func step(t testing.TB, s env.Session, action ...float32) {
	t.Helper()
	l := s.Lanes()
	for i := range l.Command {
		l.Command[i] = env.LaneStep
		copy(l.Action[i*len(action):], action)
	}
	do(t, s)
}

// reference plays n environments one after the other in plain Python, by the actions
// given, and prints what the bridge should give.
const reference = `
import json, sys
import gymnasium as gym
import numpy as np
q = json.load(sys.stdin)
out = []
for lane in range(q["n"]):
    env = gym.make(q["id"], **q["kwargs"])
    obs, _ = env.reset(seed=100 + lane)
    rows = [{"obs": np.float32(obs).tolist()}]
    for actions in q["actions"]:
        a = actions[lane]
        action = int(a[0]) if q["discrete"] else np.array(a, env.action_space.dtype)
        obs, reward, terminated, truncated, _ = env.step(action)
        row = {"reward": float(np.float32(reward)), "terminated": bool(terminated), "truncated": bool(truncated and not terminated)}
        if terminated or truncated:
            row["final"] = np.float32(obs).tolist()
            obs, _ = env.reset()
        row["obs"] = np.float32(obs).tolist()
        rows.append(row)
    out.append(rows)
json.dump(out, sys.stdout)
`

type row struct {
	Obs, Final            []float32
	Reward                float32
	Terminated, Truncated bool
}

// The bridge gives what a plain loop in Python does, number for number.
func TestBridgeEqualsALoopInPython(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id     string
		kwargs map[string]any
		steps  int
	}{
		{"CartPole-v1", map[string]any{"max_episode_steps": 25}, 120},
		{"Pendulum-v1", map[string]any{"g": 9.5, "max_episode_steps": 30}, 70},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			const n = 5
			s, spec := open(t, options(t, gym.Prefix+c.id, c.kwargs), n, nil)
			r := rng.NewKey(1).Stream(0, rng.Address{Purpose: rng.User})
			w := spec.Action.Width()
			actions := make([][][]float32, c.steps)
			for i := range actions {
				for range n {
					var a []float32
					for k := range w {
						if spec.Action.Discrete {
							a = append(a, float32(r.IntN(spec.Action.N)))
						} else {
							a = append(a, r.Between(spec.Action.Low[k], spec.Action.High[k]))
						}
					}
					actions[i] = append(actions[i], a)
				}
			}
			question, err := json.Marshal(map[string]any{"id": c.id, "kwargs": c.kwargs, "n": n, "actions": actions, "discrete": spec.Action.Discrete})
			require.NoError(t, err)
			var want [][]row
			require.NoError(t, json.Unmarshal(pyenv.Run(t, reference, question), &want))
			terminated, truncated := compare(t, s, spec, actions, want)
			require.Positive(t, truncated, "the time limit never cut an episode off")
			if spec.Action.Discrete {
				require.Positive(t, terminated, "the pole never fell")
			}
		})
	}
}

func compare(t *testing.T, s env.Session, spec env.Spec, actions [][][]float32, want [][]row) (terminated, truncated int) {
	l, d, w := s.Lanes(), spec.ObsDim, spec.Action.Width()
	for lane := range want {
		require.Equal(t, want[lane][0].Obs, l.Obs[lane*d:(lane+1)*d], "first observation of environment %d", lane)
	}
	for i := range actions {
		for lane := range want {
			l.Command[lane] = env.LaneStep
			copy(l.Action[lane*w:(lane+1)*w], actions[i][lane])
		}
		do(t, s)
		for lane := range want {
			at := fmt.Sprintf("step %d of environment %d", i, lane)
			x := want[lane][i+1]
			require.Equal(t, x.Obs, l.Obs[lane*d:(lane+1)*d], at)
			require.Equal(t, x.Reward, l.Reward[lane], at)
			require.Equal(t, x.Terminated, l.Outcome[lane]&env.LaneTerminated != 0, at)
			require.Equal(t, x.Truncated, l.Outcome[lane]&env.LaneTruncated != 0, at)
			if x.Truncated {
				truncated++
				require.Equal(t, x.Final, l.Final[lane*d:(lane+1)*d], at)
			}
			if x.Terminated {
				terminated++
			}
		}
	}
	return terminated, truncated
}

// An idle environment and its lane stay as they are.
func TestIdleEnvironmentsStay(t *testing.T) {
	t.Parallel()
	s, _ := open(t, options(t, trouble, nil), 4, nil)
	l := s.Lanes()
	for i := range l.Command {
		l.Command[i], l.Action[i] = env.LaneIdle, 1
	}
	l.Command[2] = env.LaneStep
	do(t, s)
	for i, count := range []float32{0, 0, 1, 0} {
		require.Equal(t, count, l.Obs[2*i], "environment %d", i)
	}
}

const flattened = `
import json, sys
sys.path.insert(0, sys.argv[1] if len(sys.argv) > 1 else json.loads(sys.stdin.readline()))
import numpy as np, gymnasium as gym, brood_test_envs
out = {}
for kind in json.loads(sys.stdin.readline()):
    env = gym.make("brood/Spaces-v0", observations=kind)
    rows = []
    for lane in range(3):
        env.reset(seed=100 + lane)
        env.observation_space.seed(100 + lane)
        rows.append(np.float32(gym.spaces.utils.flatten(env.observation_space, env.observation_space.sample())).tolist())
    out[kind] = rows
json.dump(out, sys.stdout)
`

// Every supported space is flattened as gymnasium.spaces.utils.flatten does it.
func TestObservationsAreFlattenedAsGymnasiumDoes(t *testing.T) {
	t.Parallel()
	kinds := []string{"matrix", "bytes", "scalar", "discrete", "multi", "dict", "tuple"}
	dir, err := filepath.Abs("testdata")
	require.NoError(t, err)
	path, _ := json.Marshal(dir)
	question, _ := json.Marshal(kinds)
	var want map[string][][]float32
	require.NoError(t, json.Unmarshal(pyenv.Run(t, flattened, append(append(path, '\n'), append(question, '\n')...)), &want))
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := options(t, shapes, map[string]any{"observations": kind})
			o.Workers = 1
			e, err := gym.New(o)
			require.NoError(t, err)
			s, err := e.Open([]int{1}, nil)
			require.NoError(t, err)
			defer s.Close()
			require.Equal(t, len(want[kind][0]), e.Spec().ObsDim)
			for i, row := range want[kind] {
				s.Lanes().Command[0], s.Lanes().Seed[0] = env.LaneReset, uint32(100+i)
				do(t, s)
				require.Equal(t, row, s.Lanes().Obs)
			}
		})
	}
}

// Actions arrive with the space's shape and dtype, which the environment asserts.
func TestActions(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct {
		action []float32
		low    float32
		sum    float32
	}{
		"discrete":  {[]float32{2}, 0, 2},
		"box":       {[]float32{0.5, -0.25}, -1, 0.25},
		"matrix":    {[]float32{0.5, -0.25, 1, 2}, -1, 3.25},
		"whole":     {[]float32{2.6, 7.2}, 0, 10},
		"unbounded": {[]float32{1e6}, float32(math.Inf(-1)), 1e6},
		// The sum tells the components apart by their starts.
		"multi":         {[]float32{1, 2}, 0, 3},
		"multi from":    {[]float32{1, 2, 3, 0}, 0, 1 + 12 + 103 + 1000},
		"binary":        {[]float32{1, 0, 1}, 0, 2},
		"binary matrix": {[]float32{1, 1, 0, 1}, 0, 3},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, spec := open(t, options(t, shapes, map[string]any{"actions": kind}), 1, nil)
			nvec, several := map[string][]int{"multi": {2, 3}, "multi from": {2, 3, 4, 1}, "binary": {2, 2, 2}, "binary matrix": {2, 2, 2, 2}}[kind]
			require.Equal(t, kind == "discrete" || several, spec.Action.Discrete)
			require.Equal(t, nvec, spec.Action.NVec)
			if !spec.Action.Discrete {
				require.Equal(t, c.low, spec.Action.Low[0])
			}
			step(t, s, c.action...)
			require.Equal(t, c.sum, s.Lanes().Reward[0])
		})
	}
}

func TestWrappersAreAppliedInOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wrappers []string
		count    float32
	}{
		{[]string{"brood_test_envs:Affine", "brood_test_envs:Plus"}, 3}, // 1*2 + 1
		{[]string{"brood_test_envs:Plus", "brood_test_envs:Affine"}, 4}, // (1+1)*2
	} {
		o := options(t, trouble, nil)
		o.Wrappers = c.wrappers
		s, _ := open(t, o, 1, nil)
		step(t, s, 0)
		require.Equal(t, c.count, s.Lanes().Obs[0], "%v", c.wrappers)
	}
	o := options(t, trouble, nil)
	o.Wrappers = []string{"brood_test_envs:cut_off"}
	s, _ := open(t, o, 1, nil)
	step(t, s, 0)
	step(t, s, 0)
	require.Equal(t, uint8(env.LaneTruncated), s.Lanes().Outcome[0])
}

// How environments are spread over workers changes no bit.
func TestTheNumberOfWorkersChangesNothing(t *testing.T) {
	t.Parallel()
	var want []float32
	for _, workers := range []int{1, 2, 3} {
		o := options(t, gym.Prefix+"CartPole-v1", nil)
		o.Workers = workers
		s, _ := open(t, o, 7, nil)
		var got []float32
		for i := range 60 {
			step(t, s, float32(i/3%2))
			got = append(append(got, s.Lanes().Obs...), s.Lanes().Reward...)
		}
		if want == nil {
			want = got
		}
		require.Equal(t, want, got, "%d workers", workers)
	}
}

func TestSpecOfAnEnvironment(t *testing.T) {
	t.Parallel()
	e, err := gym.New(options(t, gym.Prefix+"Pendulum-v1", nil))
	require.NoError(t, err)
	require.Equal(t, env.Spec{ID: "gymnasium:Pendulum-v1", ObsDim: 3, StateSize: env.ExternalState,
		Action: env.ActionSpace{N: 1, Low: []float32{-2}, High: []float32{2}}}, e.Spec())
	e, err = gym.New(options(t, gym.Prefix+"CartPole-v1", nil))
	require.NoError(t, err)
	require.Equal(t, 475.0, e.Spec().RewardThreshold)
	require.Equal(t, env.ActionSpace{Discrete: true, N: 2}, e.Spec().Action)
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == orphanArgument {
		orphan()
		return
	}
	dir, err := filepath.Abs("testdata")
	if err == nil {
		err = os.Setenv("PYTHONPATH", dir) // where Python finds brood_test_envs
	}
	if err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
