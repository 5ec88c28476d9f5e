package env

// component returns component c of the batch's states, [N].
func component(b *Batch, c int) []float32 { return b.State[c*b.Stride:][:b.N] }

// observeState is Observe for environments whose observation is their state of d
// components.
func observeState(b *Batch, obs []float32, ld, d int) {
	for c := range d {
		for i, x := range component(b, c) {
			obs[i*ld+c] = x
		}
	}
}

// flag is 1 for true and 0 for false.
func flag(is bool) float32 {
	if is {
		return 1
	}
	return 0
}
