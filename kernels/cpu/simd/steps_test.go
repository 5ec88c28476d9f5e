package simd

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/internal/golden"
)

// stepRanges are the states to step from, by component, and whether a state is
// so near the edge of termination that rounding may decide.
var stepRanges = map[string]struct {
	limits []float64
	edge   func(state []float32) bool
}{
	"CartPole-v1": {[]float64{2.6, 4, 0.3, 4}, func(s []float32) bool {
		return near(math.Abs(float64(s[0])), 2.4) || near(math.Abs(float64(s[2])), 12*math.Pi/180)
	}},
	"MountainCar-v0": {[]float64{1.2, 0.07}, func(s []float32) bool { return near(float64(s[0]), 0.5) || near(float64(s[1]), 0) }},
	"MountainCarContinuous-v0": {[]float64{1.2, 0.07}, func(s []float32) bool {
		return near(float64(s[0]), 0.45) || near(float64(s[1]), 0)
	}},
	"Pendulum-v1": {[]float64{90, 8}, func([]float32) bool { return false }},
	"Acrobot-v1": {[]float64{math.Pi, math.Pi, 4 * math.Pi, 9 * math.Pi}, func(s []float32) bool {
		return near(-math.Cos(float64(s[0]))-math.Cos(float64(s[0])+float64(s[1])), 1)
	}},
}

func near(x, edge float64) bool { return math.Abs(x-edge) < 1e-5*(1+math.Abs(edge)) }

// The environments' own float64 code, which Gymnasium's transitions hold, is the
// reference.
func TestSteps(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		if p.Name == "generic" {
			require.Empty(t, p.Steps)
			return
		}
		require.Len(t, p.Steps, len(stepRanges))
		for id, step := range p.Steps {
			for _, n := range []int{n, n + 200} {
				checkStep(t, id, step, b, n)
			}
		}
	})
}

func checkStep(t *testing.T, id string, step func(*env.Batch), b *buffers, n int) {
	t.Helper()
	vector, err := env.Make(id)
	require.NoError(t, err)
	spec, ranges := vector.Spec(), stepRanges[id]
	stride := n + b.rnd.IntN(9)
	got := env.Batch{N: n, Stride: stride, State: b.floats(spec.StateSize * stride), Action: b.floats(n),
		Reward: b.floats(n), Terminated: b.floats(n)}
	for c, limit := range ranges.limits {
		for i := range n {
			got.State[c*stride+i] = float32(limit * (2*b.rnd.Float64() - 1))
		}
	}
	for i := range n {
		if spec.Action.Discrete {
			got.Action[i] = float32(b.rnd.IntN(spec.Action.N))
		} else {
			got.Action[i] = min(max(2*got.Action[i], spec.Action.Low[0]), spec.Action.High[0])
		}
	}
	want := got
	want.State, want.Reward, want.Terminated = clone(got.State), clone(got.Reward), clone(got.Terminated)
	vector.Step(&want)
	step(&got)
	for i := range n {
		var state []float32
		for c := range spec.StateSize {
			w, g := float64(want.State[c*stride+i]), float64(got.State[c*stride+i])
			d := math.Abs(g - w)
			if id == "Acrobot-v1" && c < 2 { // an angle of pi is one of -pi
				d = math.Abs(math.Remainder(g-w, 2*math.Pi))
			}
			require.LessOrEqual(t, d, 1e-5*(1+math.Abs(w)), "%s: state %d of environment %d of %d: got %v, want %v", id, c, i, n, g, w)
			state = append(state, want.State[c*stride+i])
		}
		if ranges.edge(state) {
			continue
		}
		require.Equal(t, want.Terminated[i], got.Terminated[i], "%s: environment %d of %d at %v", id, i, n, state)
		require.InDelta(t, want.Reward[i], got.Reward[i], 1e-5*(1+math.Abs(float64(want.Reward[i]))), id)
	}
	for c := range spec.StateSize {
		require.Equal(t, clone(want.State[c*stride+n:c*stride+stride]), clone(got.State[c*stride+n:c*stride+stride]), "%s: rows beyond N", id)
	}
}

func TestGoldenSteps(t *testing.T) {
	for _, file := range golden.Files(t, "env") {
		id := golden.At[string](t, golden.Load(t, file), "id")
		vector, err := env.Make(id)
		require.NoError(t, err)
		for _, p := range vectorPaths() {
			if step, ok := p.Steps[id]; ok {
				t.Run(p.Name+"/"+id, func(t *testing.T) { golden.CheckEnvStep(t, file, step, vector.Observe) })
			}
		}
	}
}
