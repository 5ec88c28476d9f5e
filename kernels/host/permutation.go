package host

import "brood/rng"

// The order of the rows in an epoch is the stable argsort of one Philox word per
// row: a shuffle that needs no sequential draws, so that any engine can make it
// in parallel. Two words are equal with probability 2^-32 per pair; the lower
// row then comes first.

const (
	radixBits = 11
	radixSize = 1 << radixBits
	radixMask = radixSize - 1
	passes    = 3 // 11 + 11 + 10 bits
)

// SortScratch is the working memory of the argsorts for up to a fixed number of
// rows.
type SortScratch struct {
	words  []uint32         // [rows rounded up to 4]
	a, b   []uint64         // [rows]: word<<32 | row
	counts [passes][]uint32 // [radixSize]
}

// NewSortScratch allocates the memory to order up to rows rows.
func NewSortScratch(rows int) *SortScratch {
	s := &SortScratch{words: make([]uint32, (rows+3)/4*4), a: make([]uint64, rows), b: make([]uint64, rows)}
	for i := range s.counts {
		s.counts[i] = make([]uint32, radixSize)
	}
	return s
}

// Permutation writes the order of len(dst) rows at the address.
func Permutation(dst []int32, key rng.Key, at rng.Address, s *SortScratch) {
	words := s.words[:(len(dst)+3)/4*4]
	PermutationWords(words, key, at)
	ArgsortWords(dst, words[:len(dst)], s)
}

// PermutationWords writes the sort key of row i to words[i]; len(words) is a
// multiple of 4.
func PermutationWords(words []uint32, key rng.Key, at rng.Address) {
	for i := 0; i+4 <= len(words); i += 4 {
		*(*[4]uint32)(words[i:]) = key.Block(uint32(i/4), at)
	}
}

// ArgsortWords writes to dst the row numbers in the order of their words; equal
// words keep the order of their rows. len(words) = len(dst), at most the
// scratch's rows.
func ArgsortWords(dst []int32, words []uint32, s *SortScratch) {
	a := s.a[:len(dst)]
	words = words[:len(dst)]
	for i, w := range words {
		a[i] = uint64(w)<<32 | uint64(i)
	}
	s.sort(dst)
}

// ArgsortPlanes is ArgsortWords for words stored word-major: the key of row i
// is words[i%4*blocks + i/4], with blocks at least len(dst)/4 rounded up. That
// is what a vectorised Philox writes.
func ArgsortPlanes(dst []int32, words []uint32, blocks int, s *SortScratch) {
	a := s.a[:len(dst)]
	for i := range a {
		a[i] = uint64(words[i&3*blocks+i>>2])<<32 | uint64(i)
	}
	s.sort(dst)
}

// sort orders s.a by its upper words with a least-significant-digit radix sort,
// all histograms counted in one pass, and writes the lower words to dst.
func (s *SortScratch) sort(dst []int32) {
	src, to := s.a[:len(dst)], s.b[:len(dst)]
	c0, c1, c2 := (*[radixSize]uint32)(s.counts[0]), (*[radixSize]uint32)(s.counts[1]), (*[radixSize]uint32)(s.counts[2])
	*c0, *c1, *c2 = [radixSize]uint32{}, [radixSize]uint32{}, [radixSize]uint32{}
	for _, p := range src {
		w := uint32(p >> 32)
		c0[w&radixMask]++
		c1[w>>radixBits&radixMask]++
		c2[w>>(2*radixBits)]++
	}
	var n0, n1, n2 uint32
	for d := range radixSize {
		c0[d], n0 = n0, n0+c0[d]
		c1[d], n1 = n1, n1+c1[d]
		c2[d], n2 = n2, n2+c2[d]
	}
	for _, p := range src {
		d := uint32(p>>32) & radixMask
		to[c0[d]] = p
		c0[d]++
	}
	for _, p := range to {
		d := uint32(p>>32) >> radixBits & radixMask
		src[c1[d]] = p
		c1[d]++
	}
	for _, p := range src {
		d := uint32(p>>32) >> (2 * radixBits)
		dst[c2[d]] = int32(uint32(p))
		c2[d]++
	}
}
