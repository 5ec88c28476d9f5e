package host

import "brood/rng"

// The addresses of all draws of an iteration are made here, so that engines
// cannot differ in them.

// Time is the number of vector steps done before step t of the iteration after
// the given number of updates.
func Time(updates int64, steps, t int) uint32 { return uint32(updates*int64(steps) + int64(t)) }

// ResetStream draws the first state of an episode of training environment n.
// time is 0 at the start of a run, else Time(updates, T, t+1) for a reset that
// follows step t.
func ResetStream(key rng.Key, member, n int, time uint32) rng.Stream {
	return key.Stream(uint32(n), rng.Address{Time: time, Member: uint32(member), Stream: rng.Train, Purpose: rng.Reset})
}

// EvalStream draws the first state of an evaluation episode. It does not depend
// on the member: all play from the same starting states.
func EvalStream(key rng.Key, episode int, time uint32) rng.Stream {
	return key.Stream(uint32(episode), rng.Address{Time: time, Stream: rng.Eval, Purpose: rng.Reset})
}

// ActionAddress is the address of the action draws of the step at time =
// Time(updates, T, t). [ActionBlock] says which block, and which of its four words or
// normal numbers, is drawn for a component; an action that is one choice takes word 0 of
// block n in environment n.
func ActionAddress(member int, time uint32) rng.Address {
	return rng.Address{Time: time, Member: uint32(member), Stream: rng.Train, Purpose: rng.Action}
}

// ActionBlock says where component a of environment n's action of W numbers is drawn:
// the index of the block, and which of its four numbers. Choices take the words
// themselves; of continuous actions, numbers 0 and 1 are rng.Normals of words 0 and 1,
// numbers 2 and 3 of words 2 and 3.
func ActionBlock(n, a, width int) (index uint32, number int) {
	blocks := (width + 3) / 4
	return uint32(n*blocks + a/4), a % 4
}

// ActionWords fills words [W] with those that draw the choices of environment n's action
// at the address.
func ActionWords(words []uint32, key rng.Key, n int, at rng.Address) {
	var four [4]uint32
	for a := range words {
		index, number := ActionBlock(n, a, len(words))
		if number == 0 {
			four = key.Block(index, at)
		}
		words[a] = four[number]
	}
}

// ActionNoise fills noise [A] with the standard normal numbers of environment
// n's action at the address.
func ActionNoise(noise []float32, key rng.Key, n int, at rng.Address) {
	var four [4]float32
	for a := range noise {
		index, number := ActionBlock(n, a, len(noise))
		if number == 0 {
			w := key.Block(index, at)
			four[0], four[1] = rng.Normals(w[0], w[1])
			four[2], four[3] = rng.Normals(w[2], w[3])
		}
		noise[a] = four[number]
	}
}

// PermutationAddress is the address of the words that order the rows of an
// epoch: Time counts epochs, updates*Epochs + epoch. The sort key of row i is
// word i%4 of block i/4.
func PermutationAddress(member int, updates int64, epochs, epoch int) rng.Address {
	return rng.Address{Time: Time(updates, epochs, epoch), Member: uint32(member), Stream: rng.Train, Purpose: rng.Permutation}
}
