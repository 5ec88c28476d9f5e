package simd

import (
	"math"

	"brood/rng"
)

func philoxGeneric(words []uint32, n int, first uint32, key rng.Key, at rng.Address) {
	checkPhilox(words, n)
	for i := range n {
		for w, word := range key.Block(first+uint32(i), at) {
			words[w*n+i] = word
		}
	}
}

func normalsGeneric(z1, z2 []float32, w1, w2 []uint32) {
	checkNormals(z1, z2, w1, w2)
	for i := range z1 {
		z1[i], z2[i] = rng.Normals(w1[i], w2[i])
	}
}

func sampleDiscreteGeneric(s *SampleDiscrete) {
	s.check()
	for i := range s.N {
		logit := func(a int) float64 { return float64(s.Logits[a*s.Ld+i]) }
		highest := logit(0)
		for a := 1; a < s.A; a++ {
			highest = math.Max(highest, logit(a))
		}
		var sum float64
		for a := range s.A {
			sum += math.Exp(logit(a) - highest)
		}
		threshold := float64(rng.Uniform(s.Words[i])) * sum
		var action int
		cumulative := math.Exp(logit(0) - highest)
		for action < s.A-1 && cumulative <= threshold {
			action++
			cumulative += math.Exp(logit(action) - highest)
		}
		s.Action[i] = float32(action)
		s.LogProb[i] = float32(logit(action) - highest - math.Log(sum))
	}
}

func sampleGaussianGeneric(s *SampleGaussian) {
	s.check()
	for i := range s.N {
		var logProb float64
		for a := range s.A {
			std := float32(math.Exp(float64(s.LogStd[a])))
			noise := s.Noise[a*s.Ld+i]
			s.Action[a*s.Ld+i] = s.Mean[a*s.Ld+i] + std*noise
			logProb -= 0.5*float64(noise)*float64(noise) + float64(s.LogStd[a]) + halfLog2Pi
		}
		s.LogProb[i] = float32(logProb)
	}
}
