package rng

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The known answers of Random123's kat_vectors for philox4x32 with 10 rounds.
func TestPhiloxKnownAnswers(t *testing.T) {
	const f = math.MaxUint32
	require.Equal(t, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, Philox(Key{}, [4]uint32{}))
	require.Equal(t, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, Philox(Key{f, f}, [4]uint32{f, f, f, f}))
	require.Equal(t, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		Philox(Key{0xa4093822, 0x299f31d0}, [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}))
}

func TestBlockAddressesAreTheCounter(t *testing.T) {
	k := NewKey(0x0123456789abcdef)
	got := k.Block(7, Address{Time: 9, Member: 3, Stream: Eval, Purpose: Action})
	require.Equal(t, Philox(Key{0x89abcdef, 0x01234567}, [4]uint32{7, 9, 3 | 1<<16, uint32(Action)}), got)
}

func TestUniformRange(t *testing.T) {
	require.Equal(t, float32(0), Uniform(0))
	require.Less(t, Uniform(math.MaxUint32), float32(1))
}

func TestNormalsAreFiniteAtTheEnds(t *testing.T) {
	for _, x := range []uint32{0, math.MaxUint32} {
		a, b := Normals(x, x)
		require.False(t, math.IsInf(float64(a), 0) || math.IsInf(float64(b), 0) || math.IsNaN(float64(a)))
	}
}

func TestStreamMoments(t *testing.T) {
	s := NewKey(1).Stream(0, Address{Purpose: User})
	const n = 200_000
	var sum, sq, counts = 0.0, 0.0, [3]int{}
	for range n {
		z := float64(s.Normal())
		sum, sq = sum+z, sq+z*z
		counts[s.IntN(3)]++
	}
	require.InDelta(t, 0, sum/n, 5/math.Sqrt(n))
	require.InDelta(t, 1, sq/n, 5*math.Sqrt(2.0/n))
	for _, c := range counts {
		require.InDelta(t, n/3, c, 5*math.Sqrt(n*2.0/9))
	}
}
