//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"brood/kernels"
	"brood/kernels/host"
)

// figures64 are sums over the rows of a minibatch, as LossSums holds them for
// each part, and of the gradient's chunks.
type figures64 struct {
	parts [][LossTerms]float64
	sums  [][3]float64
}

// randomFigures are those of member m's minibatch with a divergence of kl.
func (f *fixture) randomFigures(random *rand.Rand, kl float64) (x figures64) {
	for range f.params.Splits {
		var part [LossTerms]float64
		for i := range part {
			part[i] = random.NormFloat64()
		}
		part[TermKL] = kl * float64(f.params.MinibatchRows) / float64(f.params.Splits)
		x.parts = append(x.parts, part)
	}
	scale, mean := math.Exp(random.NormFloat64()), random.NormFloat64()
	for _, c := range f.plan.Chunks {
		g := randoms(random, int(c.Offset+c.Len), mean)
		for i := range g {
			g[i] *= float32(scale)
		}
		x.sums = append(x.sums, PlainChunkSums(g, c))
	}
	return x
}

func (x figures64) terms() (sum [LossTerms]float64) {
	for _, part := range x.parts {
		for i, v := range part {
			sum[i] += v
		}
	}
	return sum
}

// coefficients runs the kernel for a step.
func (f *fixture) coefficients(step int, members []figures64) {
	f.t.Helper()
	var parts [][LossTerms]float64
	var sums [][3]float64
	for _, x := range members {
		parts, sums = append(parts, x.parts...), append(sums, x.sums...)
	}
	upload(f, f.params.LossSums, parts)
	upload(f, f.params.ChunkSums, sums)
	f.run(func() error { return f.k.Coefficients(f.stream, &f.params, step) })
}

func checkMinibatch(t *testing.T, want, got Minibatch) {
	t.Helper()
	if want.Applied != got.Applied {
		t.Fatalf("applied %d, want %d", got.Applied, want.Applied)
	}
	list := func(b Minibatch) []float32 {
		return []float32{b.PolicyLoss, b.ValueLoss, b.Entropy, b.KL, b.ClipFraction, b.GradNorm, b.VGSScale}
	}
	checkFloats(t, "figures", list(want), list(got))
}

func checkCoefficients(t *testing.T, want, got Coefficients) {
	t.Helper()
	if want.Apply != got.Apply {
		t.Fatalf("apply %d, want %d", got.Apply, want.Apply)
	}
	if want.Apply == 0 {
		return
	}
	list := func(c Coefficients) []float32 {
		return []float32{c.GradScale, c.Beta1, c.Beta2, c.StepSize, c.InvSqrtBias2, c.Eps, c.Decay}
	}
	checkFloats(t, "coefficients", list(want), list(got))
}

// checkUpdate runs steps minibatches, beside the plain ones, on members whose
// divergences are kl(m, step).
func checkUpdate(t *testing.T, c *kernels.Config, kl func(m, step int) float64) {
	t.Helper()
	random := rand.New(rand.NewPCG(15, 16))
	f := newFixture(t, c)
	states, each := f.shakeStates(random), c.Epochs*c.Minibatches
	f.run(func() error { return f.k.BeginUpdate(f.stream, &f.params) })
	progress, want := make([]Progress, len(states)), make([]Coefficients, len(states))
	for step := range each {
		var figures []figures64
		for m := range states {
			figures = append(figures, f.randomFigures(random, kl(m, step)))
		}
		f.coefficients(step, figures)
		got := download[Coefficients](f, f.params.Coefficients, len(states))
		minibatches := download[Minibatch](f, f.params.Minibatches, len(states)*each)
		for m, s := range states {
			if progress[m].Stopped == 0 {
				var b Minibatch
				want[m], b = PlainCoefficients(f.plan, s, figures[m].terms(), figures[m].sums)
				progress[m] = Progress{Computed: int32(step + 1), Stopped: 1 - b.Applied}
				checkMinibatch(t, b, minibatches[m*each+step])
			}
			checkCoefficients(t, want[m], got[m])
		}
		if got := download[Progress](f, f.params.Progress, len(states)); !slices.Equal(progress, got) {
			t.Fatalf("step %d: progress is %v, want %v", step, got, progress)
		}
	}
	for m, got := range f.states() {
		checkState(t, states[m].Member, got)
	}
}

// The members' VGS steps are 0, 1 and 2 at the start: each passes the warmup of 2
// in another minibatch.
func TestCoefficients(t *testing.T) {
	for name, change := range map[string]func(*kernels.Config){
		"odd":       nil,
		"chunks":    func(c *kernels.Config) { c.Population, c.Hidden = 1, []int{33, 62} },
		"parts":     func(c *kernels.Config) { c.Environments, c.Steps, c.Minibatches = 50, 63, 2 },
		"no VGS":    func(c *kernels.Config) { c.VGS.Enabled = false },
		"median":    func(c *kernels.Config) { c.VGS.Percentile = 0.5 },
		"largest":   func(c *kernels.Config) { c.VGS.Percentile = 1 },
		"constant":  func(c *kernels.Config) { c.LearningRateSchedule = kernels.Constant },
		"past end":  func(c *kernels.Config) { c.TotalUpdates = 78 },
		"one layer": func(c *kernels.Config) { c.Hidden = nil },
	} {
		t.Run(name, func(t *testing.T) {
			checkUpdate(t, aroundConfig(change), func(m, step int) float64 { return 0.01 * float64(step) })
		})
	}
}

// Member 1 stops in step 4 and member 2 in its first; member 0's divergence is
// NaN, which stops nothing.
func TestCoefficientsStop(t *testing.T) {
	c := aroundConfig(func(c *kernels.Config) { c.TargetKL = 0.1 })
	checkUpdate(t, c, func(m, step int) float64 {
		switch {
		case m == 0:
			return math.NaN()
		case m == 1 && step == 4, m == 2:
			return 0.16
		}
		return 0.14
	})
}

// A NaN in one tensor's gradient makes the step NaN, clipping included. VGS, which
// member 2 is past the warmup of, averages it for that tensor alone and sorts it
// before the other ratios, as the host does: its factor stays a number.
func TestCoefficientsKeepNaN(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 18))
	c := aroundConfig(nil)
	f := newFixture(t, c)
	states, each := f.shakeStates(random), c.Epochs*c.Minibatches
	figures := []figures64{f.randomFigures(random, 0), f.randomFigures(random, 0), f.randomFigures(random, 0)}
	figures[2].sums[3] = [3]float64{math.NaN(), math.NaN(), math.NaN()}
	f.coefficients(0, figures)
	got, after := download[Coefficients](f, f.params.Coefficients, 3), f.states()
	minibatches := download[Minibatch](f, f.params.Minibatches, 3*each)
	for m, s := range states {
		want, b := PlainCoefficients(f.plan, s, figures[m].terms(), figures[m].sums)
		checkMinibatch(t, b, minibatches[m*each])
		checkCoefficients(t, want, got[m])
		checkState(t, s.Member, after[m])
	}
	if g := got[2].GradScale; g == g {
		t.Errorf("a NaN gradient is scaled by %v", g)
	}
	if v := minibatches[2*each].VGSScale; v != v || v == 1 {
		t.Errorf("VGS's factor is %v", v)
	}
}

func TestEndUpdate(t *testing.T) {
	for _, k := range []struct {
		name    string
		enabled bool
		kl      []float32 // of the computed minibatches, 5 an epoch
		stopped int32
	}{
		{"off", false, []float32{1, 1, 1, 1, 1}, 0},
		{"above", true, []float32{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, 0},
		{"below", true, []float32{1, 1, 1, 1, 1, 1e-4, 0, 1e-3}, 0},
		{"between", true, []float32{0.02, 0.021, 0.019}, 0},
		{"stopped at the start of an epoch", true, []float32{0, 0, 0, 0, 0, 9}, 1},
		{"stopped in an epoch", true, []float32{0, 0, 0, 0, 0, 1, 9}, 1},
		{"stopped at once", true, []float32{9}, 1},
		{"NaN", true, []float32{float32(math.NaN()), 9}, 0},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := aroundConfig(func(c *kernels.Config) {
				c.KLPenalty.Enabled, c.KLPenalty.Max, c.KLPenalty.Min = k.enabled, 0.35, 0.06
			})
			f := newFixture(t, c)
			states, each := f.shakeStates(rand.New(rand.NewPCG(19, 20))), c.Epochs*c.Minibatches
			minibatches, progress := make([]Minibatch, 3*each), make([]Progress, 3)
			var steps []kernels.MinibatchStats
			for i, kl := range k.kl {
				applied := i < len(k.kl)-int(k.stopped)
				steps = append(steps, kernels.MinibatchStats{KL: kl, Applied: applied})
				for m := range 3 {
					minibatches[m*each+i] = Minibatch{KL: kl, Applied: flag(applied)}
				}
			}
			for m, s := range states {
				progress[m] = Progress{Computed: int32(len(k.kl)), Stopped: k.stopped}
				s.AdaptKLBeta(c, steps)
			}
			upload(f, f.params.Minibatches, minibatches)
			upload(f, f.params.Progress, progress)
			f.run(func() error { return f.k.EndUpdate(f.stream, &f.params) })
			for m, got := range f.states() {
				if want, got := *states[m].KLBeta, *host.NewState(got).KLBeta; want != got {
					t.Errorf("member %d: beta is %v, want %v", m, got, want)
				}
			}
		})
	}
}

func TestBeginUpdateResetsProgress(t *testing.T) {
	f := newFixture(t, aroundConfig(nil))
	upload(f, f.params.Progress, []Progress{{1, 1}, {2, 0}, {15, 1}})
	f.run(func() error { return f.k.BeginUpdate(f.stream, &f.params) })
	if got := fmt.Sprint(download[Progress](f, f.params.Progress, 3)); got != "[{0 0} {0 0} {0 0}]" {
		t.Error(got)
	}
}
