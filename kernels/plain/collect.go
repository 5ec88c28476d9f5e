package plain

import (
	"time"

	"brood/kernels"
	"brood/kernels/host"
)

// collect plays T steps of the member's N environments with its policy.
func (e *engine) collect(m *member) {
	host.InvStds(e.invStd, m.state.ObsVar)
	m.episodes = m.episodes[:0]
	m.batch.Hyperparameters = m.state.ShapingWeights(m.weights)
	e.config.Env.Observe(&m.batch, e.obs, e.spec.ObsDim)
	for t := range e.config.Steps {
		e.enterObs(m, t)
		e.act(m, t)
		e.step(m, t)
	}
	for n := range e.config.Environments {
		e.normalize(m, row(m.rollout.LastObs, n, e.spec.ObsDim), row(e.obs, n, e.spec.ObsDim))
	}
}

// row is row i of a matrix of rows of d numbers.
func row(x []float32, i, d int) []float32 { return x[i*d : (i+1)*d] }

// enterObs puts the observations of step t into the rollout.
func (e *engine) enterObs(m *member, t int) {
	d, n := e.spec.ObsDim, e.config.Environments
	if m.raw != nil {
		copy(m.raw[t*n*d:], e.obs)
	}
	for i := range n {
		e.normalize(m, row(m.rollout.Obs, t*n+i, d), row(e.obs, i, d))
	}
}

// normalize writes what the networks see of an observation [D].
func (e *engine) normalize(m *member, dst, obs []float32) {
	if e.config.NormalizeObservations {
		host.NormalizeObs(dst, obs, m.state.ObsMean, e.invStd)
	} else {
		copy(dst, obs)
	}
}

// act computes the values of step t and draws its actions.
func (e *engine) act(m *member, t int) {
	for i := range e.config.Environments {
		e.actOne(m, t, i)
	}
}

// actOne is act for environment i.
func (e *engine) actOne(m *member, t, i int) {
	r, theta, key := &m.rollout, m.state.Policy, e.key(m)
	n, w := e.config.Environments, e.spec.Action.Width()
	address := host.ActionAddress(m.id, host.Time(*m.state.Updates, e.config.Steps, t))
	start := time.Now()
	at := t*n + i
	obs, action := row(r.Obs, at, e.spec.ObsDim), row(r.Actions, at, w)
	r.Values[at] = value(e.critic.forward(theta, obs))
	output := e.actor.forward(theta, obs)
	e.timed(kernels.PhaseForward, start)

	start = time.Now()
	if e.spec.Action.Discrete {
		host.ActionWords(e.words, key, i, address)
		r.LogProbs[at] = sampleChoices(action, output, e.choices, e.words)
		for c, choice := range action {
			m.batch.Action[c*n+i] = choice
		}
	} else {
		host.ActionNoise(e.noise, key, i, address)
		r.LogProbs[at] = sampleGaussian(action, output, e.logStd(m), e.noise)
		clipAction(m.batch.Action, action, e.spec.Action.Low, e.spec.Action.High, i, n)
	}
	e.timed(kernels.PhaseSample, start)
}

// logStd is the member's log_std [A] of continuous actions.
func (e *engine) logStd(m *member) []float32 {
	return m.state.Policy[e.index.LogStd : e.index.LogStd+e.spec.Action.N]
}

// step advances the environments by the actions of step t, ends episodes and
// begins new ones, and leaves the next observations in e.obs.
func (e *engine) step(m *member, t int) {
	defer e.timed(kernels.PhaseStep, time.Now())
	s, r, b := m.state, &m.rollout, &m.batch
	n, d := e.config.Environments, e.spec.ObsDim
	e.config.Env.Step(b)
	e.config.Env.Observe(b, e.final, d)
	key, time := e.key(m), host.Time(*s.Updates, e.config.Steps, t+1)
	for i := range n {
		at := t*n + i
		s.EpisodeReturn[i] += b.Reward[i]
		s.EpisodeLength[i]++
		terminated := b.Terminated[i] != 0
		truncated := host.Truncated(terminated, s.EpisodeLength[i], e.spec.MaxEpisodeSteps)
		r.Terminated[at], r.Truncated[at] = flag(terminated), flag(truncated)
		r.Rewards[at] = e.reward(m, at, i)
		if truncated {
			e.normalize(m, row(r.FinalObs, at, d), row(e.final, i, d))
		}
		if terminated || truncated {
			m.episodes = append(m.episodes, episode{s.EpisodeReturn[i], s.EpisodeLength[i]})
			s.EpisodeReturn[i], s.EpisodeLength[i], s.DiscountedReturn[i] = 0, 0, 0
			e.stream = host.ResetStream(key, m.id, i, time)
			e.config.Env.Reset(b, i, &e.stream)
		}
	}
	e.config.Env.Observe(b, e.obs, d)
}

// reward is the reward of environment i at row at as the algorithm sees it: with
// the shaping reward, normalised.
func (e *engine) reward(m *member, at, i int) float32 {
	reward := m.batch.Reward[i]
	if m.batch.Hyperparameters != nil {
		reward += m.batch.Shaping[i]
	}
	if m.returns == nil {
		return reward
	}
	s := m.state
	reward, s.DiscountedReturn[i] = host.NormalizeReward(reward, s.DiscountedReturn[i], s.Hyper(kernels.Gamma), host.InvStd(*s.RewardVar))
	m.returns[at] = s.DiscountedReturn[i]
	return reward
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
