package cu

import (
	"unsafe"

	"brood/kernels"
)

// The settings that make a buffer smaller.
const (
	scalePopulation = "pbt.population_size"
	scaleRollout    = "env.count or ppo.steps"
	scaleEnvs       = "env.count"
	scaleMinibatch  = "policy.hidden, or more ppo.minibatches"
	scaleNetwork    = "policy.hidden"
)

// buffers lists every allocation.
func (p *Plan) buffers() {
	q, c := &p.Params, p.Config
	members, rows, n := int64(q.Members), int64(q.Rows), int64(q.Environments)
	d, w, size := int64(q.ObsDim), int64(q.ActionWidth), int64(q.PolicySize)
	row := members * rows
	steps := int64(c.Epochs) * int64(c.Minibatches)
	add := func(name string, at *Ptr, bytes int64, scales string) {
		p.Buffers = append(p.Buffers, Buffer{Name: name, Bytes: bytes, Address: at, Scales: scales})
	}
	add("State", &q.State, members*q.Stride, scalePopulation)
	add("Staging", &q.Staging, members*q.Stride, scalePopulation)

	add("Obs", &q.Obs, 4*row*d, scaleRollout)
	add("FinalObs", &q.FinalObs, 4*row*d, scaleRollout)
	if c.NormalizeObservations {
		add("RawObs", &q.RawObs, 4*row*d, scaleRollout)
	}
	if c.NormalizeRewards {
		add("Discounted", &q.Discounted, 4*row, scaleRollout)
	}
	add("Actions", &q.Actions, 4*row*w, scaleRollout)
	for _, b := range []struct {
		name string
		at   *Ptr
	}{{"LogProbs", &q.LogProbs}, {"Values", &q.Values}, {"Rewards", &q.Rewards}, {"FinalValues", &q.FinalValues},
		{"FinishedReturn", &q.FinishedReturn}, {"FinishedLength", &q.FinishedLength},
		{"Advantages", &q.Advantages}, {"Returns", &q.Returns}, {"Finished", &q.Finished}} {
		add(b.name, b.at, 4*row, scaleRollout)
	}
	add("Flags", &q.Flags, row, scaleRollout)
	add("LastObs", &q.LastObs, 4*members*n*d, scaleEnvs)
	add("LastValues", &q.LastValues, 4*members*n, scaleEnvs)
	add("StageObs", &q.StageObs, 4*members*n*d, scaleEnvs)
	add("StageAction", &q.StageAction, 4*members*n*w, scaleEnvs)

	ordered := 4 * row * int64(c.Epochs)
	add("SortKeys", &q.SortKeys, 2*ordered, scaleRollout)
	add("SortRows", &q.SortRows, ordered, scaleRollout)
	add("Order", &q.Order, ordered, scaleRollout)
	add("AdvantageScale", &q.AdvantageScale, 8*members*steps, scalePopulation)

	add("Partial", &q.Partial, 4*members*int64(q.Splits)*size, scaleNetwork)
	add("LossSums", &q.LossSums, 8*LossTerms*members*int64(q.Splits), scalePopulation)
	add("Gradient", &q.Gradient, 4*members*size, scaleNetwork)
	add("Chunks", &q.Chunks, int64(q.ChunkCount)*int64(unsafe.Sizeof(Chunk{})), scaleNetwork)
	add("ChunkSums", &q.ChunkSums, 8*3*members*int64(q.ChunkCount), scaleNetwork)
	add("Coefficients", &q.Coefficients, members*int64(unsafe.Sizeof(Coefficients{})), scalePopulation)
	add("Minibatches", &q.Minibatches, members*steps*int64(unsafe.Sizeof(Minibatch{})), scalePopulation)
	add("Progress", &q.Progress, members*int64(unsafe.Sizeof(Progress{})), scalePopulation)

	add("Moments", &q.Moments, 16*members*int64(q.MomentChunks)*(d+3), scaleRollout)
	add("Reports", &q.Reports, members*int64(unsafe.Sizeof(Report{})), scalePopulation)
	add("Segments", &q.Segments, int64(len(p.Segments))*int64(q.SegmentCount)*int64(unsafe.Sizeof(Segment{})), scaleNetwork)
	add("Pairs", &q.Pairs, members*int64(unsafe.Sizeof(Pair{})), scalePopulation)
	add("NewHyperparameters", &q.NewHyperparameters, 4*members*int64(kernels.MaxHyperparameters), scalePopulation)
	if q.Discrete == 0 {
		add("ActionLow", &q.ActionLow, 4*int64(q.ActionCount), scalePopulation)
		add("ActionHigh", &q.ActionHigh, 4*int64(q.ActionCount), scalePopulation)
	}
	if p.severalChoices() {
		add("Choices", &q.Choices, 4*w, scalePopulation)
	}
	p.networkBuffers(add)
}

// networkBuffers lists the tiled path's activations and their gradients. With
// the fused update only acting and evaluation use them, and no gradients.
func (p *Plan) networkBuffers(add func(string, *Ptr, int64, string)) {
	rows := 4 * int64(p.Params.Members) * int64(p.Params.MaxRows)
	names := [2]string{ActorNet: "actor", CriticNet: "critic"}
	for n := range p.Params.Net {
		net := &p.Params.Net[n]
		for l := range net.Layers {
			add(names[n]+".Activation", &net.Activation[l], rows*int64(net.Layer[l].Out), scaleMinibatch)
		}
		for i := range net.Delta {
			if !p.FusedUpdate {
				add(names[n]+".Delta", &net.Delta[i], rows*int64(net.MaxOut), scaleMinibatch)
			}
		}
	}
}

// TotalBytes is the sum over all buffers.
func (p *Plan) TotalBytes() (sum int64) {
	for _, b := range p.Buffers {
		sum += b.Bytes
	}
	return sum
}
