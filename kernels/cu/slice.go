package cu

// Slice returns the parameters of a population of its members first to
// first+count-1: what a kernel is given to work on these alone. The scratch of
// [Params.SortKeys] is shared by all members: the permutation is not for slices.
func (p *Params) Slice(first, count int) Params {
	q := *p
	m := int64(first)
	rows, n, size := int64(p.Rows), int64(p.Environments), int64(p.PolicySize)
	d, w, steps := int64(p.ObsDim), int64(p.ActionWidth), int64(p.Epochs)*int64(p.MinibatchCount)
	for _, b := range []struct {
		at        *Ptr
		perMember int64 // bytes
	}{
		{&q.State, p.Stride}, {&q.Staging, p.Stride},
		{&q.Obs, 4 * rows * d}, {&q.RawObs, 4 * rows * d}, {&q.FinalObs, 4 * rows * d},
		{&q.Actions, 4 * rows * w}, {&q.LogProbs, 4 * rows}, {&q.Values, 4 * rows}, {&q.Rewards, 4 * rows},
		{&q.Discounted, 4 * rows}, {&q.Flags, rows}, {&q.FinalValues, 4 * rows},
		{&q.LastObs, 4 * n * d}, {&q.LastValues, 4 * n},
		{&q.FinishedReturn, 4 * rows}, {&q.FinishedLength, 4 * rows}, {&q.Finished, 4 * rows},
		{&q.Advantages, 4 * rows}, {&q.Returns, 4 * rows},
		{&q.StageObs, 4 * n * d}, {&q.StageAction, 4 * n * w},
		{&q.Order, 4 * rows * int64(p.Epochs)}, {&q.SortRows, 4 * rows * int64(p.Epochs)}, {&q.AdvantageScale, 8 * steps},
		{&q.Partial, 4 * int64(p.Splits) * size}, {&q.LossSums, 8 * LossTerms * int64(p.Splits)}, {&q.Gradient, 4 * size},
		{&q.ChunkSums, 24 * int64(p.ChunkCount)}, {&q.Coefficients, sizeOf[Coefficients]()},
		{&q.Minibatches, steps * sizeOf[Minibatch]()}, {&q.Progress, sizeOf[Progress]()},
		{&q.Moments, 16 * int64(p.MomentChunks) * (d + 3)}, {&q.Reports, sizeOf[Report]()},
	} {
		shift(b.at, m*b.perMember)
	}
	for i := range q.Net {
		net := &q.Net[i]
		for l := range net.Layers {
			shift(&net.Activation[l], 4*m*int64(p.MaxRows)*int64(net.Layer[l].Out))
		}
		for i := range net.Delta {
			shift(&net.Delta[i], 4*m*int64(p.MaxRows)*int64(net.MaxOut))
		}
	}
	q.Members, q.FirstMember = int32(count), p.FirstMember+p.MemberStep*int32(first)
	return q
}

// shift moves an address, unless there is no such buffer.
func shift(at *Ptr, bytes int64) {
	if *at != 0 {
		*at += Ptr(bytes)
	}
}
