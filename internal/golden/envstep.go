package golden

import (
	"math"
	"testing"

	"brood/env"
)

// Tolerance is what a float32 transition may differ from the float64 golden:
// Tolerance absolute plus Tolerance relative. It is also how near to a
// termination threshold a state must be for its flag not to be compared.
const Tolerance = 1e-5

// envStrides are the batch sizes and strides that [CheckEnvStep] runs every
// transition in: odd sizes for the tails of vector code.
var envStrides = []struct{ n, stride int }{{512, 512}, {64, 64}, {37, 40}, {1, 1}}

// canary fills what a step must not write.
const canary = -12345

// CheckEnvStep runs step over every transition of an env golden, in batches of
// several sizes, and compares next state, reward and termination; with obs also
// the observation of the next state. obs may be nil.
func CheckEnvStep(t testing.TB, path string, step func(b *env.Batch), obs func(b *env.Batch, obs []float32, ld int)) {
	t.Helper()
	tr := loadTransitions(t, path)
	for _, size := range envStrides {
		for first := 0; first < tr.n; first += size.n {
			tr.check(t, first, min(size.n, tr.n-first), size.stride, step, obs)
			if t.Failed() {
				return
			}
		}
	}
}

// transitions is an env golden.
type transitions struct {
	id                  string
	n, s, width, d      int
	state, next, action []float64 // [n][s], [n][s], [n][width]
	obs, reward         []float64 // [n][d], [n]
	terminated          []float64 // [n]
}

func loadTransitions(t testing.TB, path string) *transitions {
	t.Helper()
	m := Load(t, path)
	matrix := func(key string) ([]float64, int) {
		a := At[Array](t, m, key)
		if len(a.Shape) == 0 {
			t.Fatalf("golden: %s: %s is a scalar, want one row per transition", path, key)
		}
		return a.Float64s(), a.Len() / max(a.Shape[0], 1)
	}
	tr := &transitions{id: At[string](t, m, "id"), n: At[Array](t, m, "state").Shape[0]}
	var nextSize int
	tr.state, tr.s = matrix("state")
	tr.next, nextSize = matrix("next_state")
	tr.action, tr.width = matrix("action")
	tr.obs, tr.d = matrix("obs")
	tr.reward, _ = matrix("reward")
	tr.terminated, _ = matrix("terminated")
	if tr.n == 0 || nextSize != tr.s || len(tr.next) != tr.n*tr.s || len(tr.action) != tr.n*tr.width ||
		len(tr.obs) != tr.n*tr.d || len(tr.reward) != tr.n || len(tr.terminated) != tr.n {
		t.Fatalf("golden: %s: the arrays do not have one row for each of the %d transitions", path, tr.n)
	}
	return tr
}

// check steps transitions first .. first+n-1 as one batch.
func (tr *transitions) check(t testing.TB, first, n, stride int, step func(*env.Batch), obs func(*env.Batch, []float32, int)) {
	t.Helper()
	b := tr.batch(first, n, stride)
	step(b)
	for c := range tr.s {
		for i := n; i < stride; i++ {
			if b.State[c*stride+i] != canary {
				t.Errorf("%s: N=%d stride=%d: the step wrote state component %d of environment %d, past the batch", tr.id, n, stride, c, i)
			}
		}
	}
	for i := range n {
		row := first + i
		next := tr.next[row*tr.s : (row+1)*tr.s]
		for c, want := range next {
			got := float64(b.State[c*stride+i])
			if !near(difference(tr.id, c, got, want), want) {
				t.Errorf("%s: transition %d (N=%d): next state[%d] = %.9g, want %.9g; from state %v, action %v",
					tr.id, row, n, c, got, want, tr.state[row*tr.s:(row+1)*tr.s], tr.action[row*tr.width:(row+1)*tr.width])
			}
		}
		flagged := float64(b.Terminated[i]) == tr.terminated[row]
		if !flagged && !NearThreshold(tr.id, next) {
			t.Errorf("%s: transition %d (N=%d): terminated = %v, want %v; next state %v",
				tr.id, row, n, b.Terminated[i], tr.terminated[row], next)
		}
		got, want := float64(b.Reward[i]), tr.reward[row]
		// Where the flag may differ, so may the reward that depends on it.
		if flagged && !near(got-want, want) {
			t.Errorf("%s: transition %d (N=%d): reward = %.9g, want %.9g", tr.id, row, n, got, want)
		}
	}
	if obs != nil {
		tr.checkObs(t, b, first, obs)
	}
}

func (tr *transitions) batch(first, n, stride int) *env.Batch {
	b := &env.Batch{
		N: n, Stride: stride,
		State: make([]float32, tr.s*stride), Action: make([]float32, tr.width*stride),
		Reward: make([]float32, n), Terminated: make([]float32, n),
	}
	for i := range b.State {
		b.State[i] = canary
	}
	for i := range n {
		for c := range tr.s {
			b.State[c*stride+i] = float32(tr.state[(first+i)*tr.s+c])
		}
		for c := range tr.width {
			b.Action[c*stride+i] = float32(tr.action[(first+i)*tr.width+c])
		}
		b.Reward[i], b.Terminated[i] = canary, canary
	}
	return b
}

// checkObs observes the batch after the step, with rows longer than D.
func (tr *transitions) checkObs(t testing.TB, b *env.Batch, first int, obs func(*env.Batch, []float32, int)) {
	t.Helper()
	ld := tr.d + 3
	out := make([]float32, b.N*ld)
	for i := range out {
		out[i] = canary
	}
	obs(b, out, ld)
	for i := range b.N {
		row := first + i
		for c := range ld {
			got := float64(out[i*ld+c])
			switch {
			case c >= tr.d:
				if got != canary {
					t.Errorf("%s: N=%d: the observation of environment %d wrote past its %d features", tr.id, b.N, i, tr.d)
				}
			case !near(got-tr.obs[row*tr.d+c], tr.obs[row*tr.d+c]):
				t.Errorf("%s: transition %d (N=%d): obs[%d] = %.9g, want %.9g", tr.id, row, b.N, c, got, tr.obs[row*tr.d+c])
			}
		}
	}
}

func near(difference, want float64) bool {
	return math.Abs(difference) <= Tolerance+Tolerance*math.Abs(want)
}

// difference of component c of a state. Acrobot's angles are wrapped into
// [-pi, pi]: two that lie on either side of that cut are near each other.
func difference(id string, c int, got, want float64) float64 {
	d := got - want
	atCut := func(angle float64) bool { return math.Abs(math.Abs(angle)-math.Pi) < 10*Tolerance }
	if id == "Acrobot-v1" && c < 2 && atCut(got) && atCut(want) {
		return math.Remainder(d, 2*math.Pi)
	}
	return d
}

// NearThreshold reports whether a state of a native environment lies within
// [Tolerance] of where its termination flips, so that float32 may decide it
// either way.
func NearThreshold(id string, state []float64) bool {
	close := func(x, threshold float64) bool { return math.Abs(x-threshold) <= Tolerance }
	switch id {
	case "CartPole-v1":
		return close(math.Abs(state[0]), 2.4) || close(math.Abs(state[2]), 12*2*math.Pi/360)
	case "Acrobot-v1":
		return close(-math.Cos(state[0])-math.Cos(state[0]+state[1]), 1)
	case "MountainCar-v0":
		return close(state[0], 0.5) || state[0] > 0.5 && close(state[1], 0)
	case "MountainCarContinuous-v0":
		return close(state[0], 0.45) || state[0] > 0.45 && close(state[1], 0)
	}
	return false
}
