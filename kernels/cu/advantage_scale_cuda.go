//go:build cuda

package cu

import "brood/cuda"

// AdvantageScale computes AdvantageScale of every minibatch of the update.
//
// 256 threads: minibatches have hundreds to thousands of rows, a few for each.
func (k *Kernels) AdvantageScale(s *cuda.Stream, p *Params) error {
	return s.Launch(k.kernel("advantage_scale"), launchOf(int(p.Members), int(p.Epochs*p.MinibatchCount), 256), p)
}
