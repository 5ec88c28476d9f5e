package ppo

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/kernels"
	"brood/kernels/cpu"
	"brood/kernels/plain"
	"brood/tensor"
)

// maker makes a population that is closed when the test ends.
type maker func(t *testing.T, c *kernels.Config) *Population

// forEngines runs a test with every engine of this build.
func forEngines(t *testing.T, test func(t *testing.T, newPopulation maker)) {
	engines := []struct {
		name string
		make func(*kernels.Config) (kernels.Engine, error)
	}{
		{"plain", func(c *kernels.Config) (kernels.Engine, error) { return plain.New(c) }},
		{"cpu", func(c *kernels.Config) (kernels.Engine, error) { return cpu.New(c) }},
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			test(t, func(t *testing.T, c *kernels.Config) *Population {
				engine, err := e.make(c)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, engine.Close()) })
				return New(engine)
			})
		})
	}
}

// smallConfig is a valid config of little work; change edits the sections first.
func smallConfig(t *testing.T, population int, seed uint64, change func(s *sections)) *kernels.Config {
	t.Helper()
	s := defaults()
	s.Env.Count = 8
	s.Policy.Hidden = []int{16, 12}
	s.PPO.Steps, s.PPO.Epochs, s.PPO.Minibatches = 16, 2, 2
	s.PPO.LearningRate = 3e-3
	if change != nil {
		change(&s)
	}
	c, err := EngineConfig(s.Env, s.Policy, s.Critic, s.PPO, population, seed, 2, 1000)
	require.NoError(t, err)
	return c
}

func iterate(t *testing.T, p *Population, times int) {
	t.Helper()
	stats := make([]kernels.Stats, p.Members())
	for range times {
		require.NoError(t, p.Iterate(stats))
	}
}

func snapshot(t *testing.T, p *Population, member int) tensor.Member {
	t.Helper()
	m := tensor.NewMember(p.Engine().Layout())
	require.NoError(t, p.Engine().Snapshot(member, m))
	return m
}

func snapshots(t *testing.T, p *Population) []tensor.Member {
	t.Helper()
	all := make([]tensor.Member, p.Members())
	for m := range all {
		all[m] = snapshot(t, p, m)
	}
	return all
}

func restore(t *testing.T, p *Population, all []tensor.Member) {
	t.Helper()
	for m := range all {
		require.NoError(t, p.Engine().Restore(m, all[m]))
	}
}

func digest(t *testing.T, p *Population) string {
	t.Helper()
	d, err := p.Digest()
	require.NoError(t, err)
	return fmt.Sprintf("%x", d)
}

// section returns the bytes of one section.
func section(m tensor.Member, name string) []byte {
	b := m.Layout().Section(name)
	return m.Bytes()[b.Offset : b.Offset+b.Size]
}

// fingerprint is short for a section in comparisons.
func fingerprint(m tensor.Member, name string) string {
	return fmt.Sprintf("%x", sha256.Sum256(section(m, name)))
}

// overwriteSection copies one section of src to dst.
func overwriteSection(dst, src tensor.Member, name string) {
	copy(section(dst, name), section(src, name))
}

// requireSameState compares tensor by tensor, to the bit.
func requireSameState(t *testing.T, want, got tensor.Member, except ...string) {
	t.Helper()
	for _, b := range want.Layout().Sections() {
		if slices.Contains(except, b.Name) {
			continue
		}
		for i := range b.Tensors {
			name := b.Tensors[i].Name
			require.True(t, bytes.Equal(want.Raw(b.Name, name), got.Raw(b.Name, name)), "%s/%s differs", b.Name, name)
		}
	}
}

// adam is the state of one parameter's optimizer, in float64.
type adam struct {
	theta, m, v []float32
	step        int64
}

// moments lists the parameters and Adam's moments, in the order of the policy's
// tensors and with their padding, as Engine.Gradient has them.
func moments(m tensor.Member) adam {
	a := adam{theta: m.Floats(kernels.SectionPolicy), step: m.Int64(kernels.SectionOptimizer, "step")[0]}
	policy := m.Layout().Section(kernels.SectionPolicy)
	a.m, a.v = make([]float32, len(a.theta)), make([]float32, len(a.theta))
	for i := range policy.Tensors {
		at := (policy.Tensors[i].Offset - policy.Offset) / 4
		copy(a.m[at:], m.Float32(kernels.SectionOptimizer, "exp_avg/"+policy.Tensors[i].Name))
		copy(a.v[at:], m.Float32(kernels.SectionOptimizer, "exp_avg_sq/"+policy.Tensors[i].Name))
	}
	return a
}

// next returns the parameters after one step with gradient g, clipped first
// (Kingma and Ba 2015, with decoupled weight decay).
func (a adam) next(g []float32, h kernels.Hyperparameters) []float64 {
	norm := 0.0
	for _, x := range g {
		norm += float64(x) * float64(x)
	}
	clip := min(1, float64(h[kernels.MaxGradNorm])/(math.Sqrt(norm)+1e-6))
	b1, b2, lr := float64(h[kernels.AdamBeta1]), float64(h[kernels.AdamBeta2]), float64(h[kernels.LearningRate])
	step := float64(a.step + 1)
	theta := make([]float64, len(a.theta))
	for i := range theta {
		gi := clip * float64(g[i])
		m := b1*float64(a.m[i]) + (1-b1)*gi
		v := b2*float64(a.v[i]) + (1-b2)*gi*gi
		m /= 1 - math.Pow(b1, step)
		v /= 1 - math.Pow(b2, step)
		decayed := float64(a.theta[i]) * (1 - lr*float64(h[kernels.WeightDecay]))
		theta[i] = decayed - lr*m/(math.Sqrt(v)+float64(h[kernels.AdamEps]))
	}
	return theta
}

// largestDifference is the maximum norm of a - b.
func largestDifference(a []float64, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(a[i]-float64(b[i])))
	}
	return d
}

// cosine of the angle between two vectors; NaN where one is zero.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func gradient(t *testing.T, p *Population, member int) []float32 {
	t.Helper()
	g := make([]float32, p.Engine().Layout().Section(kernels.SectionPolicy).Size/4)
	require.NoError(t, p.Engine().Gradient(member, g))
	return g
}

// update does one rollout and its updates with rewards that ask each member for
// one action: 1 where it took the wanted one, else -1. It returns the expected
// reward per step of each member's policy on the observations of its rollout,
// before the updates.
func update(t *testing.T, p *Population, wanted []float32) []float64 {
	t.Helper()
	expected := collect(t, p, wanted)
	require.NoError(t, p.Engine().Advantages())
	require.NoError(t, p.Engine().Update())
	return expected
}

// collect is the rollout of update.
func collect(t *testing.T, p *Population, wanted []float32) []float64 {
	t.Helper()
	e := p.Engine()
	require.NoError(t, e.Collect())
	expected := make([]float64, p.Members())
	for m := range expected {
		var r kernels.Rollout
		require.NoError(t, e.ReadRollout(m, &r))
		for i, action := range r.Actions {
			probability := math.Exp(float64(r.LogProbs[i]))
			r.Rewards[i] = 1
			if action != wanted[m] {
				r.Rewards[i] = -1
				probability = 1 - probability
			}
			expected[m] += (2*probability - 1) / float64(len(r.Actions))
		}
		require.NoError(t, e.WriteRollout(m, &r))
	}
	return expected
}

// batchLosses does n updates on one rollout that asks for the winner's action and
// returns the loser's policy loss on it before each of them: what its policy is
// worse (above 0) or better (below) than the one that made the rollout.
func batchLosses(t *testing.T, p *Population, n int) []float32 {
	t.Helper()
	e := p.Engine()
	collect(t, p, []float32{loser: 1, winner: 1})
	var batch kernels.Rollout
	require.NoError(t, e.ReadRollout(loser, &batch))
	losses := make([]float32, n)
	for k := range losses {
		require.NoError(t, e.WriteRollout(loser, &batch))
		require.NoError(t, e.Advantages())
		require.NoError(t, e.Update())
		stats := e.MinibatchStats(loser)
		require.Len(t, stats, 1)
		losses[k] = stats[0].PolicyLoss
	}
	return losses
}

// The members of opposed.
const (
	loser  = 0 // learned to push left
	winner = 1 // learned to push right
)

// opposedUpdates is the number of updates that opposed does.
const opposedUpdates = 10

// opposed trains two members from the same weights towards opposite actions, one
// minibatch per rollout and nothing in the loss but the policy's term. What it
// stands for: a member whose momentum follows the way that lost, and the one that
// it will copy.
func opposed(t *testing.T, newPopulation maker, seed uint64, hidden ...int) *Population {
	t.Helper()
	p := newPopulation(t, smallConfig(t, 2, seed, func(s *sections) {
		s.Env.Count, s.PPO.Steps, s.PPO.Epochs, s.PPO.Minibatches, s.PPO.LearningRate = 16, 32, 1, 1, 1e-2
		s.PPO.Gamma, s.PPO.ValueCoef, s.PPO.EntropyCoef, s.PPO.VGS.Enabled = 0, 0, 0, false
		s.Policy.Hidden = hidden
	}))
	same, err := p.Parameters(winner, false)
	require.NoError(t, err)
	require.NoError(t, p.SetParameters(loser, same))
	for range opposedUpdates {
		update(t, p, []float32{loser: 0, winner: 1})
	}
	return p
}

// exploitWinner makes the loser take over the winner with its hyperparameters.
func exploitWinner(t *testing.T, p *Population, strategy kernels.Strategy) {
	t.Helper()
	h, err := p.Hyperparameters(winner)
	require.NoError(t, err)
	require.NoError(t, p.Exploit([]kernels.Exploit{{Member: loser, Source: winner, Strategy: strategy, Hyperparameters: h}}))
}

// extraSection is state that the algorithm does not know.
func extraSection(rule tensor.Rule) tensor.Section {
	return tensor.Section{Name: "extra", Key: "extra_state", Exploit: rule, Tensors: []tensor.Spec{{Name: "numbers", Shape: []int{3}}}}
}
