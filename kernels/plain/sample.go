package plain

import (
	"math"

	"brood/rng"
)

// halfLog2Pi is log(2 pi)/2, of the normal density.
const halfLog2Pi = 0.91893853320467274178

// logSoftmax overwrites logits [A] with log softmax.
func logSoftmax(logits []float32) {
	top := logits[0]
	for _, x := range logits {
		top = max(top, x)
	}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x - top))
	}
	log := float32(math.Log(sum))
	for a, x := range logits {
		logits[a] = x - top - log
	}
}

// sampleChoices draws a choice for each component of an action [W] and returns the sum
// of their log probabilities. logits is overwritten.
func sampleChoices(action, logits []float32, choices []int, words []uint32) (logProb float32) {
	for c, n := range choices {
		var one float32
		action[c], one = sampleDiscrete(logits[:n], words[c])
		logProb += one
		logits = logits[n:]
	}
	return logProb
}

// sampleDiscrete draws a choice by inversion of the distribution function with
// one word, and returns it with its log probability. logits is overwritten.
func sampleDiscrete(logits []float32, word uint32) (action, logProb float32) {
	top := logits[0]
	for _, x := range logits {
		top = max(top, x)
	}
	var sum float32
	for _, x := range logits {
		sum += float32(math.Exp(float64(x - top)))
	}
	target := rng.Uniform(word) * sum
	choice := 0
	var cumulative float32
	for _, x := range logits[:len(logits)-1] {
		cumulative += float32(math.Exp(float64(x - top)))
		if cumulative <= target {
			choice++
		}
	}
	logSoftmax(logits)
	return float32(choice), logits[choice]
}

// sampleGaussian writes mean + exp(logStd) noise to action [A] and returns its
// log probability.
func sampleGaussian(action, mean, logStd, noise []float32) (logProb float32) {
	sum := 0.0
	for a, z := range noise {
		action[a] = mean[a] + float32(math.Exp(float64(logStd[a])))*z
		sum -= float64(z)*float64(z)/2 + float64(logStd[a]) + halfLog2Pi
	}
	return float32(sum)
}

// clipAction writes the action of environment n, within the bounds, into the
// component-major actions [A][N].
func clipAction(actions, action, low, high []float32, n, environments int) {
	for a, x := range action {
		actions[a*environments+n] = max(low[a], min(high[a], x))
	}
}
