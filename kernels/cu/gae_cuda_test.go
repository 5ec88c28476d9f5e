//go:build cuda

package cu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"brood/kernels"
)

// rolloutOf is a random rollout with every kind of end of an episode.
func rolloutOf(c *kernels.Config, random *rand.Rand) *kernels.Rollout {
	b, d, w := c.Rows(), c.Env.Spec().ObsDim, c.Env.Spec().Action.Width()
	r := &kernels.Rollout{
		Obs: randoms(random, b*d, 0), Actions: randoms(random, b*w, 0), LogProbs: randoms(random, b, -1),
		Rewards: randoms(random, b, 0.5), FinalObs: randoms(random, b*d, 0), LastObs: randoms(random, c.Environments*d, 0),
		Terminated: make([]uint8, b), Truncated: make([]uint8, b),
	}
	for i := range b {
		switch random.IntN(6) {
		case 0:
			r.Terminated[i] = 1
		case 1, 2:
			r.Truncated[i] = 1
		}
	}
	return r
}

// plainValues are the plain engine's values of rows of observations, at most B.
func (f *fixture) plainValues(m int, obs []float32) []float32 {
	f.t.Helper()
	c := f.plan.Config
	r := rolloutOf(c, rand.New(rand.NewPCG(0, 0)))
	copy(r.Obs, obs)
	if err := f.engine.WriteRollout(m, r); err != nil {
		f.t.Fatal(err)
	}
	var back kernels.Rollout
	if err := f.engine.ReadRollout(m, &back); err != nil {
		f.t.Fatal(err)
	}
	return back.Values[:len(obs)/c.Env.Spec().ObsDim]
}

// at is where member m's part of a buffer begins, of perMember elements of 4 bytes.
func at(p Ptr, m, perMember int) Ptr { return p + Ptr(4*m*perMember) }

// uploadRewards puts what GAE needs of a rollout on the device, but for
// FinalValues, and returns the plain engine's advantages and returns.
func (f *fixture) uploadRewards(m int, r *kernels.Rollout) (advantages, returns []float32) {
	f.t.Helper()
	p, b, n, d := &f.params, int(f.params.Rows), int(f.params.Environments), int(f.params.ObsDim)
	if err := f.engine.Restore(m, f.states()[m]); err != nil {
		f.t.Fatal(err)
	}
	upload(f, at(p.LastValues, m, n), f.plainValues(m, r.LastObs))
	if err := f.engine.WriteRollout(m, r); err != nil {
		f.t.Fatal(err)
	}
	if err := f.engine.Advantages(); err != nil {
		f.t.Fatal(err)
	}
	var done kernels.Rollout
	if err := f.engine.ReadRollout(m, &done); err != nil {
		f.t.Fatal(err)
	}
	flags := make([]uint8, b)
	for i := range flags {
		flags[i] = Terminated*r.Terminated[i] | Truncated*r.Truncated[i]
	}
	upload(f, p.Flags+Ptr(m*b), flags)
	upload(f, at(p.Values, m, b), done.Values)
	upload(f, at(p.Rewards, m, b), r.Rewards)
	upload(f, at(p.FinalObs, m, b*d), r.FinalObs)
	return done.Advantages, done.Returns
}

// checkNear allows 1e-5: sums over layers and steps in another order.
func checkNear(t *testing.T, what string, want, got []float32) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(want[i]) - float64(got[i])); !(d <= 1e-5*(1+math.Abs(float64(want[i])))) {
			t.Fatalf("%s[%d] is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestBootstrapAndGAE(t *testing.T) {
	for name, change := range map[string]func(*kernels.Config){
		"scalar": nil,
		"one":    func(c *kernels.Config) { c.Population, c.Environments, c.Steps, c.Minibatches = 1, 1, 2, 1 },
		"quantiles": func(c *kernels.Config) {
			c.Critic = kernels.Critic{Type: kernels.QuantileCritic, Quantiles: 37, Kappa: 1}
		},
		"no layers": func(c *kernels.Config) { c.Hidden = nil },
		"relu wide": func(c *kernels.Config) { c.Hidden, c.Activation = []int{70, 1100}, kernels.ReLU },
		"long":      func(c *kernels.Config) { c.Environments, c.Steps = 35, 41 },
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			f := newFixture(t, aroundConfig(change))
			states, b := f.shakeStates(random), int(f.params.Rows)
			var advantages, returns [][]float32
			var rollouts []*kernels.Rollout
			for m, s := range states {
				for i := range s.Policy {
					s.Policy[i] *= 0.3
				}
				f.setState(m, s.Member)
				r := rolloutOf(f.plan.Config, random)
				a, ret := f.uploadRewards(m, r)
				rollouts, advantages, returns = append(rollouts, r), append(advantages, a), append(returns, ret)
			}
			const untouched = -12345
			canary := make([]float32, len(states)*b)
			fill(canary, func() float32 { return untouched })
			upload(f, f.params.FinalValues, canary)
			f.run(func() error {
				if err := f.k.Bootstrap(f.stream, &f.params); err != nil {
					return err
				}
				return f.k.GAE(f.stream, &f.params)
			})
			for m := range states {
				want := f.plainValues(m, rollouts[m].FinalObs)
				got := download[float32](f, at(f.params.FinalValues, m, b), b)
				for i := range want {
					if rollouts[m].Truncated[i] == 0 {
						want[i] = untouched
					}
				}
				checkNear(t, fmt.Sprintf("member %d: final values", m), want, got)
				checkNear(t, fmt.Sprintf("member %d: advantages", m), advantages[m], download[float32](f, at(f.params.Advantages, m, b), b))
				checkNear(t, fmt.Sprintf("member %d: returns", m), returns[m], download[float32](f, at(f.params.Returns, m, b), b))
			}
		})
	}
}

// A NaN reward makes the advantages NaN up to the end of the episode before, and
// only in its environment.
func TestGAEKeepsNaNInItsEpisode(t *testing.T) {
	f := newFixture(t, aroundConfig(nil))
	n, b := int(f.params.Environments), int(f.params.Rows)
	rewards, flags := make([]float32, 3*b), make([]uint8, 3*b)
	rewards[b+3*n+2] = float32(math.NaN()) // member 1, step 3, environment 2
	flags[b+n+2] = Terminated              // the episode before ends in step 1
	upload(f, f.params.Rewards, rewards)
	upload(f, f.params.Flags, flags)
	f.run(func() error { return f.k.GAE(f.stream, &f.params) })
	for i, a := range download[float32](f, f.params.Advantages, 3*b) {
		if want := i == b+3*n+2 || i == b+2*n+2; want != (a != a) {
			t.Errorf("advantage %d of member %d is %v", i%b, i/b, a)
		}
	}
}
