// Package rng is the project's one source of random numbers: Philox4x32-10, a
// counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy
// as 1, 2, 3"). A draw is a pure function of the seed and of what it is for, so
// that every engine draws the same numbers in any order and on any number of
// threads, and no generator state exists that a checkpoint could miss.
package rng

import "math"

// Key is the run's seed.
type Key struct{ Lo, Hi uint32 }

// NewKey splits a seed into Philox's key words.
func NewKey(seed uint64) Key { return Key{Lo: uint32(seed), Hi: uint32(seed >> 32)} }

// Purpose separates draws that would otherwise have the same address. Purposes
// use the low 8 bits of the counter's last word; the high 24 count the blocks
// of a [Stream].
type Purpose uint32

// What draws are for.
const (
	Init        Purpose = iota + 1 // initial weights
	Reset                          // initial states of environments
	Action                         // sampled actions
	Permutation                    // order of the rows in an epoch
	Exploit                        // choice of the source
	Explore                        // new hyperparameters
	Population                     // initial hyperparameters; keys of a population that is made another size
	User                           // free for users' own environments and tools
)

// Streams separate training from evaluation; see [Address].
const (
	Train uint32 = iota
	Eval
)

// Address names a draw: the counter of the Philox block is (index, Time,
// Member | Stream<<16, Purpose).
type Address struct {
	// Time is the number of vector steps, updates or intervals done.
	Time uint32
	// Member is the member's index, below 65536.
	Member uint32
	// Stream is Train or Eval.
	Stream  uint32
	Purpose Purpose
}

const (
	philoxM0 = 0xD2511F53
	philoxM1 = 0xCD9E8D57
	philoxW0 = 0x9E3779B9
	philoxW1 = 0xBB67AE85
)

// Philox is the block function: ten rounds over the counter.
func Philox(k Key, c [4]uint32) [4]uint32 {
	k0, k1 := k.Lo, k.Hi
	for range 10 {
		p0 := uint64(philoxM0) * uint64(c[0])
		p1 := uint64(philoxM1) * uint64(c[2])
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k0, uint32(p1), uint32(p0>>32) ^ c[3] ^ k1, uint32(p0)}
		k0 += philoxW0
		k1 += philoxW1
	}
	return c
}

// Block returns the four words at an address.
func (k Key) Block(index uint32, a Address) [4]uint32 {
	return Philox(k, [4]uint32{index, a.Time, a.Member | a.Stream<<16, uint32(a.Purpose)})
}

// Uniform maps a word to [0, 1) with 24 bits.
func Uniform(x uint32) float32 { return float32(x>>8) * (1.0 / (1 << 24)) }

// Normals maps two words to two standard normal numbers by Box-Muller; the
// first word is taken in (0, 1].
func Normals(x1, x2 uint32) (float32, float32) {
	u1 := float64(x1>>8+1) * (1.0 / (1 << 24))
	u2 := float64(x2>>8) * (1.0 / (1 << 24))
	r := math.Sqrt(-2 * math.Log(u1))
	sin, cos := math.Sincos(2 * math.Pi * u2)
	return float32(r * cos), float32(r * sin)
}

// Stream draws any number of values for one address and index, block after
// block: the k-th block has Purpose | k<<8 as its last counter word.
type Stream struct {
	key   Key
	at    Address
	index uint32
	block uint32
	used  int
	words [4]uint32
}

// Stream starts at the first block of the address and index.
func (k Key) Stream(index uint32, a Address) Stream {
	return Stream{key: k, at: a, index: index, used: 4}
}

// Uint32 returns the next word.
func (s *Stream) Uint32() uint32 {
	if s.used == 4 {
		a := s.at
		a.Purpose |= Purpose(s.block << 8)
		s.words = s.key.Block(s.index, a)
		s.block++
		s.used = 0
	}
	w := s.words[s.used]
	s.used++
	return w
}

// Uniform returns the next number in [0, 1).
func (s *Stream) Uniform() float32 { return Uniform(s.Uint32()) }

// Between returns the next number in [low, high).
func (s *Stream) Between(low, high float32) float32 { return low + (high-low)*s.Uniform() }

// Float64 returns the next number in [0, 1) with 53 bits, from two words.
func (s *Stream) Float64() float64 {
	hi, lo := uint64(s.Uint32()), uint64(s.Uint32())
	return float64(hi<<21|lo>>11) * (1.0 / (1 << 53))
}

// IntN returns the next number in [0, n) without bias (Lemire 2019); n > 0.
func (s *Stream) IntN(n int) int {
	if n <= 0 || n > math.MaxUint32 {
		panic("rng: IntN needs 0 < n < 2^32")
	}
	bound := uint64(n)
	reject := -uint32(bound) % uint32(bound)
	for {
		p := uint64(s.Uint32()) * bound
		if uint32(p) >= reject {
			return int(p >> 32)
		}
	}
}

// Normal returns the next standard normal number, from two words.
func (s *Stream) Normal() float32 {
	x1 := s.Uint32()
	n, _ := Normals(x1, s.Uint32())
	return n
}
