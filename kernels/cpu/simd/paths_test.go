package simd

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/rng"
)

func TestPathsAreComplete(t *testing.T) {
	paths := Paths()
	require.Equal(t, "generic", paths[len(paths)-1].Name)
	for i, p := range paths {
		v := reflect.ValueOf(*p)
		for f := range v.NumField() {
			if name := v.Type().Field(f).Name; name != "Steps" {
				require.False(t, v.Field(f).IsZero(), "%s: %s", p.Name, name)
			}
		}
		if i > 0 {
			require.Less(t, p.Width, paths[i-1].Width, "the widest first")
		}
	}
}

func TestSelect(t *testing.T) {
	best, err := Select("")
	require.NoError(t, err)
	require.Equal(t, Paths()[0].Name, best.Name)
	for _, p := range Paths() {
		got, err := Select(p.Name)
		require.NoError(t, err)
		require.Equal(t, p.Name, got.Name)
	}
	_, err = Select("sse9")
	require.ErrorContains(t, err, `unknown CPU path "sse9"; available here: `)
	require.ErrorContains(t, err, "generic")
	for _, name := range pathNames {
		if _, err := Select(name); err != nil {
			require.ErrorContains(t, err, "lacks the CPU path")
		}
	}
}

// calls has one call of every function but the matrix routines.
func calls(p *Path, n int) map[string]func() {
	f := func(n int) []float32 { return make([]float32, n) }
	x, y, z, words := f(4*n), f(4*n), f(n), make([]uint32, 4*n)
	terms := PolicyTerms{LogProb: f(n), Advantage: f(n), AdvScale: 1, ClipRange: 0.2, InvRows: 1}
	adam := &AdamStep{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: 1, InvSqrtBias2: 1}
	sample := &SampleDiscrete{N: n, A: 2, Ld: n, Logits: f(2 * n), Words: words, Action: f(n), LogProb: f(n)}
	gaussian := &SampleGaussian{N: n, A: 2, Ld: n, Mean: f(2 * n), LogStd: f(2), Noise: f(2 * n), Action: f(2 * n), LogProb: f(n)}
	discreteLoss := &DiscreteLoss{PolicyTerms: terms, N: n, A: 2, Ld: n, Logits: f(2 * n), Action: f(n)}
	multiDiscreteLoss := &MultiDiscreteLoss{PolicyTerms: terms, N: n, Choices: []int{3, 2, 2}, Ld: n, Logits: f(7 * n), Action: f(3 * n)}
	gaussianLoss := &GaussianLoss{PolicyTerms: terms, N: n, A: 6, Ld: n, Mean: f(6 * n), LogStd: f(6), Action: f(6 * n), GradLogStd: f(6)}
	valueLoss := &ValueLoss{N: n, Ld: n, Value: f(n), Return: f(n), OldValue: f(n), ValueClip: 0.2, Coef: 1}
	quantileLoss := &QuantileLoss{N: n, K: 32, Ld: n, Theta: f(32 * n), Return: f(n), Kappa: 1, Coef: 1}
	c := map[string]func(){
		"Adam":                 func() { p.Adam(x, y, x, y, adam) },
		"SumSquares":           func() { p.SumSquares(x) },
		"Sums":                 func() { p.Sums(x) },
		"SumSquaredDeviations": func() { p.SumSquaredDeviations(x, 1) },
		"Scale":                func() { p.Scale(x, 1) },
		"Add":                  func() { p.Add(x, y) },
		"GAE":                  func() { p.GAE(z, z, z, z, z, z, z, 0.9, 0.9) },
		"Philox":               func() { p.Philox(words, n, 0, rng.Key{}, rng.Address{}) },
		"Normals":              func() { p.Normals(x, y, words, words) },
		"SampleDiscrete":       func() { p.SampleDiscrete(sample) },
		"SampleGaussian":       func() { p.SampleGaussian(gaussian) },
		"DiscreteLoss/A=2":     func() { p.DiscreteLoss(discreteLoss) },
		"MultiDiscreteLoss":    func() { p.MultiDiscreteLoss(multiDiscreteLoss) },
		"GaussianLoss/A=6":     func() { p.GaussianLoss(gaussianLoss) },
		"ValueLoss":            func() { p.ValueLoss(valueLoss) },
		"QuantileLoss/K=32":    func() { p.QuantileLoss(quantileLoss) },
	}
	batch := &env.Batch{N: n, Stride: n, State: f(4 * n), Action: f(n), Reward: f(n), Terminated: f(n)}
	for id, step := range p.Steps {
		c["Steps/"+id] = func() { step(batch) }
	}
	return c
}

func TestNothingAllocates(t *testing.T) {
	for _, p := range Paths() {
		for name, call := range calls(p, 100) {
			require.Zero(t, testing.AllocsPerRun(10, call), "%s: %s", p.Name, name)
		}
	}
}

// BenchmarkKernels reports the time per row: per element, block, environment.
func BenchmarkKernels(b *testing.B) {
	const n = 128
	for _, p := range Paths() {
		for name, call := range calls(p, n) {
			rows := n
			switch name {
			case "Adam", "SumSquares", "Sums", "SumSquaredDeviations", "Scale", "Add", "Normals":
				rows = 4 * n
			}
			b.Run(p.Name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					call()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
			})
		}
	}
}

// Assembly knows no bounds: every wrong length is refused before it runs.
func TestWrongLengthsPanic(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	terms := PolicyTerms{LogProb: f(4), Advantage: f(4)}
	short := PolicyTerms{LogProb: f(4), Advantage: f(3)}
	for _, p := range Paths() {
		for want, call := range map[string]func(){
			"Adam: g has 3":                 func() { p.Adam(f(4), f(4), f(4), f(3), &AdamStep{}) },
			"Add: src has 3":                func() { p.Add(f(4), f(3)) },
			"GAE: done has 3":               func() { p.GAE(f(4), f(4), f(4), f(4), f(4), f(4), f(3), 1, 1) },
			"Philox: words has 15":          func() { p.Philox(make([]uint32, 15), 4, 0, rng.Key{}, rng.Address{}) },
			"Philox: needs n >= 0":          func() { p.Philox(nil, -1, 0, rng.Key{}, rng.Address{}) },
			"Normals: w2 has 3":             func() { p.Normals(f(4), f(4), make([]uint32, 4), make([]uint32, 3)) },
			"SampleDiscrete: Logits has 7":  func() { p.SampleDiscrete(&SampleDiscrete{N: 4, A: 2, Ld: 4, Logits: f(7)}) },
			"SampleDiscrete: needs 0 <= N":  func() { p.SampleDiscrete(&SampleDiscrete{N: 4, A: 2, Ld: 3, Logits: f(8)}) },
			"SampleGaussian: Noise has 0":   func() { p.SampleGaussian(&SampleGaussian{N: 4, A: 1, Ld: 4, Mean: f(4)}) },
			"at least one component, got 0": func() { p.DiscreteLoss(&DiscreteLoss{N: 4, Ld: 4}) },
			"DiscreteLoss: Advantage has 3": func() {
				p.DiscreteLoss(&DiscreteLoss{N: 4, A: 1, Ld: 4, Logits: f(4), Action: f(4), PolicyTerms: short})
			},
			"MultiDiscreteLoss: Choices[1] must be above 0, got 0": func() {
				p.MultiDiscreteLoss(&MultiDiscreteLoss{N: 4, Ld: 4, Choices: []int{2, 0}, Logits: f(8), Action: f(8), PolicyTerms: terms})
			},
			"MultiDiscreteLoss: Action has 4": func() {
				p.MultiDiscreteLoss(&MultiDiscreteLoss{N: 4, Ld: 4, Choices: []int{2, 2}, Logits: f(16), Action: f(4), PolicyTerms: terms})
			},
			"GaussianLoss: GradLogStd has 0": func() {
				p.GaussianLoss(&GaussianLoss{N: 4, A: 1, Ld: 4, Mean: f(4), Action: f(4), LogStd: f(1), PolicyTerms: terms})
			},
			"ValueLoss: OldValue has 3":    func() { p.ValueLoss(&ValueLoss{N: 4, Ld: 4, Value: f(4), Return: f(4), OldValue: f(3), ValueClip: 1}) },
			"Kappa must be above 0, got 0": func() { p.QuantileLoss(&QuantileLoss{N: 4, K: 1, Ld: 4, Theta: f(4), Return: f(4)}) },
		} {
			requirePanic(t, want, call)
		}
		for id, step := range p.Steps {
			requirePanic(t, id+": Terminated has 3", func() {
				step(&env.Batch{N: 4, Stride: 4, State: f(16), Action: f(4), Reward: f(4), Terminated: f(3)})
			})
			requirePanic(t, id+": State has 7", func() {
				step(&env.Batch{N: 4, Stride: 4, State: f(7), Action: f(4), Reward: f(4), Terminated: f(4)})
			})
		}
	}
}

func requirePanic(t *testing.T, want string, call func()) {
	t.Helper()
	defer func() {
		t.Helper()
		require.Contains(t, recover(), want)
	}()
	call()
}
