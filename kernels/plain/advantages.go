package plain

import (
	"time"

	"brood/kernels"
)

// advantages computes generalised advantage estimates (Schulman et al. 2016) and
// the returns the critic learns, for each environment backwards in time:
//
//	next_t  = 0 where terminated, V(final_obs_t) where truncated, else V(obs_t+1)
//	delta_t = r_t + gamma next_t - V_t
//	A_t     = delta_t + gamma lambda (1 - done_t) A_t+1
//	R_t     = A_t + V_t
func (e *engine) advantages(m *member) {
	defer e.timed(kernels.PhaseAdvantages, time.Now())
	r, theta := &m.rollout, m.state.Policy
	steps, n, d := e.config.Steps, e.config.Environments, e.spec.ObsDim
	gamma, lambda := m.state.Hyper(kernels.Gamma), m.state.Hyper(kernels.GAELambda)
	for i := range n {
		var carry float32
		next := value(e.critic.forward(theta, row(r.LastObs, i, d)))
		for t := steps - 1; t >= 0; t-- {
			at := t*n + i
			done := false
			switch {
			case r.Terminated[at] != 0:
				next, done = 0, true
			case r.Truncated[at] != 0:
				next, done = value(e.critic.forward(theta, row(r.FinalObs, at, d))), true
			}
			if done {
				carry = 0
			}
			delta := r.Rewards[at] + gamma*next - r.Values[at]
			carry = delta + gamma*lambda*carry
			r.Advantages[at], r.Returns[at] = carry, carry+r.Values[at]
			next = r.Values[at]
		}
	}
}
