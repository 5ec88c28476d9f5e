// Package conformance is the one test suite every engine passes. It compares
// whole iterations with the reference results of internal/golden, gradients with
// central differences of an independent float64 loss, engines with the plain
// one, and states bit for bit where the contract promises bits.
//
// An engine's package runs it in two tests:
//
//	func TestGolden(t *testing.T)      { conformance.Golden(t, New) }
//	func TestConformance(t *testing.T) { conformance.Run(t, New) }
//
// so that go test ./... -run Golden checks every engine against the goldens,
// also those of a folder named by the environment variable BROOD_GOLDENS.
package conformance

import (
	"encoding/hex"
	"math"
	"testing"

	"brood/kernels"
	"brood/tensor"
)

// Factory makes an engine, as its package's New does.
type Factory func(*kernels.Config) (kernels.Engine, error)

// Run runs the whole suite but for the goldens, which are in [Golden]. With
// -short it leaves out what repeats whole iterations many times over: enough for
// a run in which every memory access is checked.
func Run(t *testing.T, newEngine Factory) { run(t, newEngine, false) }

// RunSpread runs what concerns where a member is, for an engine that [Run] has passed
// with all members in one place and that spreads them over several here.
func RunSpread(t *testing.T, newEngine Factory) { run(t, newEngine, true) }

func run(t *testing.T, newEngine Factory, spread bool) {
	const (
		long  = 1 << iota // left out with -short
		local             // of one member, wherever it is
	)
	for _, s := range []struct {
		name string
		test func(*testing.T, Factory)
		kind int
	}{
		{"FiniteDifferences", finiteDifferences, long | local},
		{"Advantages", advantages, local},
		{"AgainstPlain", againstPlain, 0},
		{"Normalization", normalization, local},
		{"Draws", draws, long},
		{"Episodes", episodes, long},
		{"Evaluate", evaluate, long},
		{"Initial", initial, 0},
		{"Exploit", exploit, 0},
		{"ExploitThenUpdates", exploitThenUpdates, long},
		{"ExploitStepZero", exploitStepZero, long},
		{"MomentumBound", momentumBound, long | local},
		{"ScaledMomentum", scaledMomentum, long},
		{"Lives", lives, long},
		{"Returns", returns, long},
		{"Shaping", shaping, long},
		{"HyperparametersTakeEffect", hyperparametersTakeEffect, long | local},
		{"Schedule", schedule, long | local},
		{"SnapshotRestore", snapshotRestore, 0},
		{"SnapshotWhileTraining", snapshotWhileTraining, 0},
		{"Determinism", determinism, long},
		{"MadeUpSection", madeUpSection, 0},
		{"NaN", nan, long},
		{"Errors", errorsNamed, 0},
		{"Close", closed, 0},
	} {
		if spread && s.kind&local != 0 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			if s.kind&long != 0 && testing.Short() {
				t.Skip("left out with -short")
			}
			s.test(t, newEngine)
		})
	}
}

// config is a small configuration that turns on everything that has state.
func config() *kernels.Config {
	c := &kernels.Config{
		Population: 3, Seed: 12345, Env: chase(byChoice),
		Environments: 5, Steps: 12, Hidden: []int{7, 9}, Activation: kernels.Tanh,
		Critic: kernels.Critic{Type: kernels.ScalarCritic},
		Epochs: 2, Minibatches: 3,
		NormalizeAdvantage: true, NormalizeObservations: true, NormalizeRewards: true,
		LearningRateSchedule: kernels.Constant,
		KLPenalty:            kernels.KLPenalty{Enabled: true, Beta: 0.2, Min: 1e-4, Max: 100},
		VGS:                  kernels.VGS{Enabled: true, Beta: 0.9, Warmup: 1, Eps: 1e-8, Percentile: 0.9},
	}
	c.Hyperparameters = hyperparameters()
	return c
}

func hyperparameters() (h kernels.Hyperparameters) {
	h[kernels.LearningRate] = 1e-3
	h[kernels.Gamma] = 0.97
	h[kernels.GAELambda] = 0.9
	h[kernels.ClipRange] = 0.2
	h[kernels.EntropyCoef] = 0.01
	h[kernels.ValueCoef] = 0.5
	h[kernels.MaxGradNorm] = 0.5
	h[kernels.AdamBeta1] = 0.9
	h[kernels.AdamBeta2] = 0.999
	h[kernels.AdamEps] = 1e-5
	h[kernels.WeightDecay] = 0.01
	h[kernels.VGSAlpha] = 0.1
	h[kernels.KLTarget] = 0.01
	return h
}

// engine makes an engine that is closed when the test ends.
func engine(t *testing.T, newEngine Factory, c *kernels.Config) kernels.Engine {
	t.Helper()
	e, err := newEngine(c)
	if err != nil {
		t.Fatalf("engine: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func iterate(t *testing.T, e kernels.Engine, times int) []kernels.Stats {
	t.Helper()
	stats := make([]kernels.Stats, e.Config().Population)
	for range times {
		check(t, e.Iterate(stats))
	}
	return stats
}

func snapshot(t *testing.T, e kernels.Engine, member int) tensor.Member {
	t.Helper()
	m := tensor.NewMember(e.Layout())
	check(t, e.Snapshot(member, m))
	return m
}

func population(t *testing.T, e kernels.Engine) []tensor.Member {
	t.Helper()
	var all []tensor.Member
	for i := range e.Config().Population {
		all = append(all, snapshot(t, e, i))
	}
	return all
}

func digest(members ...tensor.Member) string {
	sum := tensor.Digest(members...)
	return hex.EncodeToString(sum[:8])
}

// sameBits fails for each tensor in which the states differ.
func sameBits(t *testing.T, what string, got, want tensor.Member) {
	t.Helper()
	for _, s := range want.Layout().Sections() {
		for i := range s.Tensors {
			name := s.Tensors[i].Name
			if string(got.Raw(s.Name, name)) != string(want.Raw(s.Name, name)) {
				t.Errorf("%s: %s/%s has other bits than expected", what, s.Name, name)
			}
		}
	}
}

// near fails where an element differs by more than abs + rel |want|.
func near(t *testing.T, what string, got, want []float64, abs, rel float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, -1
	for i := range want {
		bound := abs + rel*math.Abs(want[i])
		if excess := math.Abs(got[i]-want[i]) - bound; !(excess <= 0) && !(math.IsNaN(got[i]) && math.IsNaN(want[i])) {
			if at < 0 || excess > worst {
				worst, at = excess, i
			}
		}
	}
	if at >= 0 {
		t.Errorf("%s[%d] is %.9g, want %.9g within %.3g", what, at, got[at], want[at], abs+rel*math.Abs(want[at]))
	}
}

func widen[E float32 | uint8 | int64](x []E) []float64 {
	w := make([]float64, len(x))
	for i, v := range x {
		w[i] = float64(v)
	}
	return w
}

// numbers returns a tensor's elements whatever their type.
func numbers(m tensor.Member, section string, s *tensor.Tensor) []float64 {
	switch s.DType {
	case tensor.Float32:
		return widen(m.Float32(section, s.Name))
	case tensor.Float64:
		return append([]float64(nil), m.Float64(section, s.Name)...)
	case tensor.Int64:
		return widen(m.Int64(section, s.Name))
	}
	var w []float64
	for _, v := range m.Uint64(section, s.Name) {
		w = append(w, float64(v))
	}
	return w
}

func isNaN(x float32) bool { return math.IsNaN(float64(x)) }
