package env_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/rng"
)

// single is a user's environment: one environment of a Vector.
type single struct {
	vector env.Vector
	spec   env.Spec
}

func newSingle(t testing.TB, id string) *single {
	v, err := env.Make(id)
	require.NoError(t, err)
	return &single{vector: v, spec: v.Spec()}
}

func (s *single) Spec() env.Spec { return s.spec }

func (s *single) Reset(state []float32, r *rng.Stream) {
	s.vector.Reset(&env.Batch{N: 1, Stride: 1, State: state}, 0, r)
}

func (s *single) Observe(state, obs []float32) {
	s.vector.Observe(&env.Batch{N: 1, Stride: 1, State: state}, obs, len(obs))
}

func (s *single) Step(state, action []float32) (float32, bool) {
	var reward, terminated [1]float32
	s.vector.Step(&env.Batch{N: 1, Stride: 1, State: state, Action: action, Reward: reward[:], Terminated: terminated[:]})
	return reward[0], terminated[0] == 1
}

func (s *single) StepShaped(state, action, hyperparameters []float32) (reward, shaping float32, terminated bool) {
	var r, extra, ended [1]float32
	s.vector.Step(&env.Batch{N: 1, Stride: 1, State: state, Action: action, Reward: r[:], Terminated: ended[:],
		Hyperparameters: hyperparameters, Shaping: extra[:]})
	return r[0], extra[0], ended[0] == 1
}

// unique returns an ID no other test or repetition of this one registers.
var unique = func() func(prefix string) string {
	var mu sync.Mutex
	count := 0
	return func(prefix string) string {
		mu.Lock()
		defer mu.Unlock()
		count++
		return fmt.Sprintf("%s-%d-v0", prefix, count)
	}
}()

func TestMakeReturnsNatives(t *testing.T) {
	for _, id := range natives {
		v, err := env.Make(id)
		require.NoError(t, err)
		require.Equal(t, id, v.Spec().ID)
		require.NoError(t, env.ValidateSpec(v.Spec()))
		require.Contains(t, env.IDs(), id)
	}
	require.IsIncreasing(t, env.IDs())
}

func TestMakeOfAnUnknownIDListsAllAndSuggestsTheNearest(t *testing.T) {
	for id, nearest := range map[string]string{
		"CartPole": "CartPole-v1", "cartpole-v1": "CartPole-v1", "Acrobat-v1": "Acrobot-v1",
		"MountainCarContinous-v0": "MountainCarContinuous-v0",
	} {
		_, err := env.Make(id)
		require.ErrorIs(t, err, env.ErrUnknown)
		require.ErrorContains(t, err, fmt.Sprintf("%q (did you mean %q?)", id, nearest))
		for _, id := range natives {
			require.ErrorContains(t, err, id)
		}
	}
	for _, id := range []string{"", "Humanoid-v5"} {
		_, err := env.Make(id)
		require.ErrorIs(t, err, env.ErrUnknown)
		require.NotContains(t, err.Error(), "did you mean")
	}
}

func TestRegister(t *testing.T) {
	id := unique("Registered")
	e := newSingle(t, "Pendulum-v1")
	e.spec.ID = id
	env.Register(id, func() env.Env { return e })
	v, err := env.Make(id)
	require.NoError(t, err)
	require.Equal(t, e.spec, v.Spec())
	require.Contains(t, env.IDs(), id)

	other := unique("RegisteredVector")
	env.RegisterVector(other, func() env.Vector { return v })
	_, err = env.Make(other)
	require.ErrorContains(t, err, fmt.Sprintf("Spec.ID is %q", id))
}

func TestRegisterPanicsOnMistakesOfTheProgram(t *testing.T) {
	makeEnv := func() env.Env { return newSingle(t, "Pendulum-v1") }
	require.PanicsWithValue(t, `env: "CartPole-v1" is already registered`, func() { env.Register("CartPole-v1", makeEnv) })
	require.Panics(t, func() { env.RegisterVector("Acrobot-v1", func() env.Vector { return env.Acrobot{} }) })
	require.Panics(t, func() { env.Register("", makeEnv) })
	require.Panics(t, func() { env.Register("Space-v0 ", makeEnv) })
	require.Panics(t, func() { env.Register(unique("Nil"), nil) })
	require.Panics(t, func() { env.RegisterVector(unique("Nil"), nil) })
}

func TestMakeReportsAWrongEnvironment(t *testing.T) {
	id := unique("Wrong")
	e := newSingle(t, "Pendulum-v1")
	e.spec.ID, e.spec.ObsDim, e.spec.StateSize = id, 0, -1
	env.Register(id, func() env.Env { return e })
	_, err := env.Make(id)
	require.ErrorContains(t, err, fmt.Sprintf("environment %q", id))
	require.ErrorContains(t, err, "Spec.ObsDim is 0, want at least 1")
	require.ErrorContains(t, err, "Spec.StateSize is -1, want at least 1")
	require.Panics(t, func() { env.Vectorize(e) })

	null := unique("Null")
	env.Register(null, func() env.Env { return nil })
	_, err = env.Make(null)
	require.ErrorContains(t, err, "returned nil")
	null = unique("Null")
	env.RegisterVector(null, func() env.Vector { return nil })
	_, err = env.Make(null)
	require.ErrorContains(t, err, "returned nil")
}

// weights are valid hyperparameters of those names.
func weights(names ...string) (list []env.Hyperparameter) {
	for _, name := range names {
		list = append(list, env.Hyperparameter{Name: name, Min: -1, Max: 1})
	}
	return list
}

func TestValidateSpecNamesEveryWrongField(t *testing.T) {
	nan := float32(math.NaN())
	discrete := env.CartPole{}.Spec()
	continuous := env.Pendulum{}.Spec()
	several := discrete
	several.Action = env.MultiDiscrete(3, 1, 1)
	for field, c := range map[string]struct {
		spec   env.Spec
		change func(s *env.Spec)
	}{
		"Spec.ID":                       {discrete, func(s *env.Spec) { s.ID = "" }},
		"Spec.ObsDim":                   {discrete, func(s *env.Spec) { s.ObsDim = 0 }},
		"Spec.StateSize":                {discrete, func(s *env.Spec) { s.StateSize = 0 }},
		"Spec.MaxEpisodeSteps":          {discrete, func(s *env.Spec) { s.MaxEpisodeSteps = -1 }},
		"Spec.RewardThreshold":          {discrete, func(s *env.Spec) { s.RewardThreshold = math.NaN() }},
		"Spec.Action.N is 1":            {discrete, func(s *env.Spec) { s.Action.N = 1 }},
		"Spec.Action.Low is [":          {discrete, func(s *env.Spec) { s.Action.Low = []float32{0} }},
		"Spec.Action.High is [":         {discrete, func(s *env.Spec) { s.Action.High = []float32{0} }},
		"Spec.Action.N is 0":            {continuous, func(s *env.Spec) { s.Action = env.ActionSpace{} }},
		"Spec.Action.Low is []":         {continuous, func(s *env.Spec) { s.Action.Low = nil }},
		"Spec.Action.High is []":        {continuous, func(s *env.Spec) { s.Action.High = nil }},
		"Spec.Action.Low[0] is 2":       {continuous, func(s *env.Spec) { s.Action.Low = []float32{2} }},
		"Spec.Action.Low[0] is NaN":     {continuous, func(s *env.Spec) { s.Action.Low = []float32{nan} }},
		"Spec.Action.N is 6, want 5":    {several, func(s *env.Spec) { s.Action.N = 6 }},
		"Spec.Action.NVec[1] is 0":      {several, func(s *env.Spec) { s.Action = env.MultiDiscrete(3, 0) }},
		"Spec.Action.NVec[0] is -1":     {several, func(s *env.Spec) { s.Action = env.MultiDiscrete(-1, 3) }},
		"NVec[0] is 1048577, want 1 to": {several, func(s *env.Spec) { s.Action = env.MultiDiscrete(1<<20 + 1) }},
		"Spec.Action.NVec is [1 1]":     {several, func(s *env.Spec) { s.Action = env.MultiDiscrete(1, 1) }},
		"Spec.Action.NVec is [2]":       {continuous, func(s *env.Spec) { s.Action.NVec = []int{2} }},
		"Spec.Hyperparameters is 5":     {discrete, func(s *env.Spec) { s.Hyperparameters = weights("a", "b", "c", "d", "e") }},
		`Spec.Hyperparameters[1].Name`:  {discrete, func(s *env.Spec) { s.Hyperparameters = weights("a", "a") }},
		`Hyperparameters[0].Name is ""`: {discrete, func(s *env.Spec) { s.Hyperparameters = weights("") }},
		`Name is "a.b"`:                 {discrete, func(s *env.Spec) { s.Hyperparameters = weights("a.b") }},
		`Name is "Weight"`:              {discrete, func(s *env.Spec) { s.Hyperparameters = weights("Weight") }},
		"Min and Max is 0.5 and 1":      {discrete, func(s *env.Spec) { s.Hyperparameters = []env.Hyperparameter{{Name: "a", Min: .5, Max: 1}} }},
		"Min and Max is 0 and 0":        {discrete, func(s *env.Spec) { s.Hyperparameters = []env.Hyperparameter{{Name: "a"}} }},
		"Min and Max is 0 and NaN":      {discrete, func(s *env.Spec) { s.Hyperparameters = []env.Hyperparameter{{Name: "a", Max: math.NaN()}} }},
		"Min and Max is -Inf and 1":     {discrete, func(s *env.Spec) { s.Hyperparameters = []env.Hyperparameter{{Name: "a", Min: math.Inf(-1), Max: 1}} }},
	} {
		require.NoError(t, env.ValidateSpec(c.spec))
		c.change(&c.spec)
		err := env.ValidateSpec(c.spec)
		require.ErrorContains(t, err, field)
		require.Equal(t, 0, strings.Count(err.Error(), "\n"), "one wrong field, several errors: %v", err)
	}
	err := env.ValidateSpec(env.Spec{})
	for _, field := range []string{"ID", "ObsDim", "StateSize", "Action.N"} {
		require.ErrorContains(t, err, "Spec."+field+" is")
	}
	unbounded := continuous
	unbounded.Action.Low, unbounded.Action.High = []float32{float32(math.Inf(-1))}, []float32{float32(math.Inf(1))}
	require.NoError(t, env.ValidateSpec(unbounded))
}
