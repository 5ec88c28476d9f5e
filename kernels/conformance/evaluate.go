package conformance

import (
	"slices"
	"testing"

	"brood/env"
	"brood/kernels"
)

// evaluated plays episodes of every member.
func evaluated(t *testing.T, e kernels.Engine, episodes int, time uint32) ([][]float64, [][]int) {
	t.Helper()
	ev := kernels.Evaluation{Episodes: episodes, Seed: 3, Time: time, MaxSteps: 25}
	var returns [][]float64
	var lengths [][]int
	for i := range e.Config().Population {
		ev.Members = append(ev.Members, i)
		returns, lengths = append(returns, make([]float64, episodes)), append(lengths, make([]int, episodes))
	}
	check(t, e.Evaluate(ev, returns, lengths))
	return returns, lengths
}

func evaluate(t *testing.T, newEngine Factory) {
	t.Run("starting states", func(t *testing.T) { startingStates(t, newEngine) })
	t.Run("deterministic policy", func(t *testing.T) { deterministicPolicy(t, newEngine) })
	t.Run("leaves the state alone", func(t *testing.T) {
		e, other := engine(t, newEngine, config()), engine(t, newEngine, config())
		iterate(t, e, 1)
		iterate(t, other, 1)
		before := population(t, e)
		first, _ := evaluated(t, e, 4, 5)
		for i, m := range population(t, e) {
			sameBits(t, "evaluated member", m, before[i])
		}
		second, _ := evaluated(t, e, 4, 5)
		for i := range first {
			if !slices.Equal(first[i], second[i]) {
				t.Errorf("member %d: %v at first, %v the second time", i, first[i], second[i])
			}
		}
		iterate(t, e, 1)
		iterate(t, other, 1)
		for i, m := range population(t, e) {
			sameBits(t, "member trained on after an evaluation", m, snapshot(t, other, i))
		}
	})
}

// startingStates: in an environment that pays what was drawn at the start, all
// members earn the same in the same episode and differently in different ones.
func startingStates(t *testing.T, newEngine Factory) {
	e := engine(t, newEngine, clockConfig(clock(6, 0)))
	returns, lengths := evaluated(t, e, 8, 1)
	if !slices.Equal(returns[0], returns[1]) {
		t.Errorf("members start differently: %v and %v", returns[0], returns[1])
	}
	if slices.Min(returns[0]) == slices.Max(returns[0]) {
		t.Errorf("all episodes start alike: %v", returns[0])
	}
	if later, _ := evaluated(t, e, 8, 2); slices.Equal(later[0], returns[0]) {
		t.Errorf("episodes of another time start alike: %v", later[0])
	}
	if want := slices.Repeat([]int{6}, 8); !slices.Equal(lengths[0], want) {
		t.Errorf("lengths are %v, want %v", lengths[0], want)
	}
	few, _ := evaluated(t, e, 3, 1)
	if !slices.Equal(few[0], returns[0][:3]) {
		t.Errorf("the first episodes are %v of three and %v of eight", few[0], returns[0][:3])
	}
}

func deterministicPolicy(t *testing.T, newEngine Factory) {
	for name, k := range map[string]struct {
		env    env.Vector
		output []float32
		reward float64 // of each step
		length int
	}{
		"most probable":       {echo(discrete(4), 6), []float32{0, 1, 3, 2}, 2, 6},
		"first of equals":     {echo(discrete(4), 6), []float32{0, 1, 1, 1}, 1, 6},
		"of each component":   {echo(env.MultiDiscrete(2, 3, 1), 6), []float32{0, 1, -1, 2, 2, 9}, 2, 6},
		"mean":                {echo(continuous(2, 2), 6), []float32{0.5, -1.25}, -0.75, 6},
		"mean within bounds":  {echo(continuous(2, 2), 6), []float32{5, -0.5}, 1.5, 6},
		"cut off by MaxSteps": {echo(continuous(1, 2), 0), []float32{1}, 1, 25},
	} {
		t.Run(name, func(t *testing.T) {
			c := clockConfig(k.env)
			c.Population = 1
			e := engine(t, newEngine, c)
			m := snapshot(t, e, 0)
			clear(m.Float32(kernels.SectionPolicy, "actor.4.weight"))
			copy(m.Float32(kernels.SectionPolicy, "actor.4.bias"), k.output)
			check(t, e.Restore(0, m))
			returns, lengths := evaluated(t, e, 3, 0)
			for i := range 3 {
				near(t, "return", returns[0][i:i+1], []float64{k.reward * float64(k.length)}, 1e-5, 0)
				if lengths[0][i] != k.length {
					t.Errorf("episode %d has length %d, want %d", i, lengths[0][i], k.length)
				}
			}
		})
	}
}
