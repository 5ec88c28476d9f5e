//go:build cuda

package cu

import "brood/cuda"

const (
	// bootstrapRows is BOOTSTRAP_ROWS of bootstrap.cu.
	bootstrapRows = 256
	// maxPlainShared is the shared memory that every device gives a block unasked.
	maxPlainShared = 48 << 10
)

// Bootstrap computes FinalValues of the rows whose episodes were truncated.
//
// A warp treats a row, with two buffers for a layer's outputs in shared memory.
// Eight warps leave several blocks on a multiprocessor; of wide layers fewer warps
// fit.
func (k *Kernels) Bootstrap(s *cuda.Stream, p *Params) error {
	buffers := 2 * 4 * int(p.Net[CriticNet].MaxOut)
	warps := max(1, min(8, maxPlainShared/buffers))
	kernel := k.kernel("bootstrap")
	if shared := warps * buffers; shared > maxPlainShared {
		if err := kernel.SetMaxShared(shared); err != nil {
			return err
		}
	}
	l := launchOf(int(p.Members), ceilDiv(int(p.Rows), bootstrapRows), 32*warps)
	l.Shared = warps * buffers
	return s.Launch(kernel, l, p)
}
