package cpu

import (
	"brood/kernels"
	"brood/kernels/cpu/simd"
	"brood/kernels/host"
	"brood/rng"
)

// profileEvery is how many steps of a rollout share one whose phases are timed:
// reading the clock four times a step would cost a percent.
const profileEvery = 8

// collect fills the owned member's rollout.
func (w *worker) collect() {
	e, x := w.engine, &w.owned
	m := x.member
	e.actor.pack(e.path, m.state.Policy, x.packed)
	e.critic.pack(e.path, m.state.Policy, x.packed)
	host.InvStds(x.obsScale, m.state.ObsVar)
	x.weights = m.state.ShapingWeights(x.ownHyper)
	w.split(collectPart, e.slices)
	from := e.clock()
	m.finished = host.Finished{}
	for row, done := range m.done {
		if done != 0 {
			m.state.RecordEpisode(&m.finished, x.episodeReturn[row], x.episodeLength[row])
		}
	}
	w.lap(kernels.PhaseStatistics, from)
}

// collectSlice plays all steps of a slice of the environments.
func (w *worker) collectSlice(x *context, i int) {
	e := w.engine
	n := e.config.Environments
	each := pad((n + e.slices - 1) / e.slices)
	for t := range e.config.Steps {
		for first := i * each; first < min((i+1)*each, n); first += tileRows {
			w.collectTile(x, t, first, min(tileRows, min((i+1)*each, n)-first))
		}
	}
	for first := i * each; first < min((i+1)*each, n); first += tileRows {
		rows := min(tileRows, min((i+1)*each, n)-first)
		d := e.spec.ObsDim
		obs := x.member.lastObs[first*d : (first+rows)*d]
		w.setBatch(x, first, rows)
		e.config.Env.Observe(&w.rows.batch, obs, d)
		w.normalize(x, obs)
		e.critic.forward(e.path, w.tile, x.packed, obs, d, rows)
		w.value(x.member.lastValue[first : first+rows])
	}
}

// setBatch points the worker's batch at environments first to first+rows-1 of
// the member.
func (w *worker) setBatch(x *context, first, rows int) {
	m, r := x.member, &w.rows
	b := &r.batch
	b.N, b.Stride = rows, w.engine.config.Environments
	b.State, b.Action = m.state.EnvState[first:], m.envAction[first:]
	b.Reward, b.Terminated = r.reward[:rows], r.terminated[:rows]
	b.Hyperparameters, b.Shaping = x.weights, r.shaping[:rows]
}

// collectTile plays step t of environments first to first+rows-1.
func (w *worker) collectTile(x *context, t, first, rows int) {
	e, m := w.engine, x.member
	d := e.spec.ObsDim
	row := t*e.config.Environments + first
	var from int64
	timed := t%profileEvery == 0
	lap := func(p kernels.Phase) {
		if timed {
			now := e.clock()
			w.profile[p] += (now - from) * int64(min(profileEvery, e.config.Steps-t))
			from = now
		}
	}
	if timed {
		from = e.clock()
	}
	w.setBatch(x, first, rows)
	obs := m.obs[row*d : (row+rows)*d]
	e.config.Env.Observe(&w.rows.batch, obs, d)
	if m.raw != nil {
		copy(m.raw[row*d:], obs)
		w.normalize(x, obs)
	}
	lap(kernels.PhaseStep)
	e.critic.forward(e.path, w.tile, x.packed, obs, d, rows)
	w.value(m.value[row : row+rows])
	e.actor.forward(e.path, w.tile, x.packed, obs, d, rows)
	lap(kernels.PhaseForward)
	w.sample(x, t, first, rows, row)
	lap(kernels.PhaseSample)
	if x.weights == nil {
		e.step(&w.rows.batch)
	} else { // the SIMD steps know no shaping
		e.config.Env.Step(&w.rows.batch)
	}
	w.endStep(x, t, first, row)
	lap(kernels.PhaseStep)
}

// normalize normalises observations in place, where the config says so.
func (w *worker) normalize(x *context, obs []float32) {
	if !w.engine.config.NormalizeObservations {
		return
	}
	d := w.engine.spec.ObsDim
	for i := 0; i < len(obs); i += d {
		host.NormalizeObs(obs[i:i+d], obs[i:i+d], x.member.state.ObsMean, x.obsScale)
	}
}

// value writes the critic's values of the tile: its output, or the mean of its
// quantiles.
func (w *worker) value(dst []float32) {
	out, k := w.tile.out, w.engine.critic.last().Out
	copy(dst, out[:len(dst)])
	for q := 1; q < k; q++ {
		w.engine.path.Add(dst, out[q*tileRows:q*tileRows+len(dst)])
	}
	if k > 1 {
		w.engine.path.Scale(dst, 1/float32(k))
	}
}

// sample draws the actions of a tile from the actor's results.
func (w *worker) sample(x *context, t, first, rows, row int) {
	e, m, r := w.engine, x.member, &w.rows
	at := host.ActionAddress(m.id, host.Time(*m.state.Updates, e.config.Steps, t))
	if e.choices != nil {
		w.sampleChoices(x, at, first, rows, row)
		return
	}
	w.drawNoise(x, at, first, rows)
	a := e.spec.Action.N
	r.sampleG = simd.SampleGaussian{N: rows, A: a, Ld: tileRows, Mean: w.tile.out,
		LogStd: m.state.Policy[e.index.LogStd : e.index.LogStd+a], Noise: r.noise,
		Action: r.action, LogProb: m.logProb[row : row+rows]}
	e.path.SampleGaussian(&r.sampleG)
	for c := range a {
		drawn := r.action[c*tileRows : c*tileRows+rows]
		copy(m.action[c*e.config.Rows()+row:], drawn)
		w.clipActions(m.envAction[c*e.config.Environments+first:], drawn, c)
	}
}

// sampleChoices draws a choice for each component of discrete actions.
func (w *worker) sampleChoices(x *context, at rng.Address, first, rows, row int) {
	e, m, r := w.engine, x.member, &w.rows
	blocks := (len(e.choices) + 3) / 4
	n := rows * blocks
	e.path.Philox(r.words, n, uint32(first*blocks), x.key, at)
	logits, logProb := w.tile.out, m.logProb[row:row+rows]
	for c, choices := range e.choices {
		words := r.words[c%4*n+c/4:]
		if blocks > 1 {
			for i := range rows {
				r.chosenBy[i] = words[i*blocks]
			}
			words = r.chosenBy
		}
		action := m.action[c*e.config.Rows()+row:][:rows]
		r.sampleD = simd.SampleDiscrete{N: rows, A: choices, Ld: tileRows, Logits: logits, Words: words, Action: action, LogProb: logProb}
		e.path.SampleDiscrete(&r.sampleD)
		copy(m.envAction[c*e.config.Environments+first:], action)
		if c > 0 {
			e.path.Add(m.logProb[row:row+rows], logProb)
		}
		logits, logProb = logits[choices*tileRows:], r.logProb[:rows]
	}
}

// clipActions writes dimension c of actions, clipped to its bounds.
func (w *worker) clipActions(dst, src []float32, c int) {
	low, high := w.engine.spec.Action.Low[c], w.engine.spec.Action.High[c]
	for i, v := range src {
		dst[i] = max(low, min(high, v))
	}
}

// drawNoise fills the tile's noise as host.ActionBlock lays it out.
func (w *worker) drawNoise(x *context, at rng.Address, first, rows int) {
	e, r, a := w.engine, &w.rows, w.engine.spec.Action.N
	blocks := (a + 3) / 4
	n := rows * blocks
	e.path.Philox(r.words, n, uint32(first*blocks), x.key, at)
	for pair := 0; pair < 4; pair += 2 {
		if pair < a {
			e.path.Normals(r.normals[pair*n:(pair+1)*n], r.normals[(pair+1)*n:(pair+2)*n],
				r.words[pair*n:(pair+1)*n], r.words[(pair+1)*n:(pair+2)*n])
		}
	}
	for c := range a {
		noise := r.noise[c*tileRows : c*tileRows+rows]
		from := r.normals[c%4*n+c/4:]
		for i := range noise {
			noise[i] = from[i*blocks]
		}
	}
}

// endStep records what a step gave: rewards, the ends of episodes and the first
// states of new ones.
func (w *worker) endStep(x *context, t, first, row int) {
	e, m, s := w.engine, x.member, x.member.state
	b := &w.rows.batch
	copy(m.reward[row:], b.Reward)
	if b.Hyperparameters != nil {
		e.path.Add(m.reward[row:row+b.N], b.Shaping)
	}
	copy(m.terminated[row:], b.Terminated)
	truncated, done := m.truncated[row:row+b.N], m.done[row:row+b.N]
	returns, lengths := s.EpisodeReturn[first:first+b.N], s.EpisodeLength[first:first+b.N]
	limit := float32(e.spec.MaxEpisodeSteps)
	if limit == 0 {
		limit = 3e38
	}
	if m.gain != nil {
		w.normalizeRewards(x, first, row)
	}
	for i, r := range b.Reward {
		returns[i] += r
		lengths[i]++
		truncated[i], done[i] = 0, b.Terminated[i]
		if b.Terminated[i] != 0 || lengths[i] >= limit {
			w.endEpisode(x, t, first, i, row+i)
			returns[i], lengths[i] = 0, 0
		}
	}
}

// endEpisode ends the episode of environment first+i, the batch's i-th, at the
// given row, and begins another.
func (w *worker) endEpisode(x *context, t, first, i, row int) {
	e, m, s, r := w.engine, x.member, x.member.state, &w.rows
	n := first + i
	x.episodeReturn[row], x.episodeLength[row] = s.EpisodeReturn[n], s.EpisodeLength[n]
	m.done[row] = 1
	if m.terminated[row] == 0 {
		m.truncated[row] = 1
		d := e.spec.ObsDim
		obs := m.finalObs[row*d : (row+1)*d]
		rows := r.batch.N
		w.setBatch(x, n, 1)
		e.config.Env.Observe(&r.batch, obs, d)
		w.normalize(x, obs)
		w.setBatch(x, first, rows)
	}
	if m.gain != nil {
		s.DiscountedReturn[n] = 0
	}
	r.stream = host.ResetStream(x.key, m.id, n, host.Time(*s.Updates, e.config.Steps, t+1))
	e.config.Env.Reset(&r.batch, i, &r.stream)
}

// normalizeRewards replaces a tile's rewards by those the algorithm sees and
// records the running discounted returns.
func (w *worker) normalizeRewards(x *context, first, row int) {
	m, s := x.member, x.member.state
	gamma, invStd := s.Hyper(kernels.Gamma), host.InvStd(*s.RewardVar)
	g := s.DiscountedReturn[first:]
	for i, r := range m.reward[row : row+w.rows.batch.N] {
		m.reward[row+i], g[i] = host.NormalizeReward(r, g[i], gamma, invStd)
		m.gain[row+i] = g[i]
	}
}
