//go:build cuda

package cu

import "brood/cuda"

// The first dimension of a grid holds up to 2^31 blocks, the others 65535: the
// members, of which there may be 65536, are the first.

// launchOf is a launch of blocks blocks for each of count members or pairs.
func launchOf(count, blocks, threads int) cuda.Launch {
	return cuda.Launch{Grid: [3]int{count, blocks, 1}, Block: [3]int{threads, 1, 1}}
}

// threadPerMember is a launch of a thread for each member, for kernels that do
// next to nothing.
func threadPerMember(p *Params) cuda.Launch {
	const threads = 64
	return launchOf(ceilDiv(int(p.Members), threads), 1, threads)
}

// ceilDiv is n/by rounded up.
func ceilDiv(n, by int) int { return (n + by - 1) / by }
