package simd

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func valueRow(v, target, old, clip float64) float64 {
	loss := 0.5 * (v - target) * (v - target)
	if clip > 0 {
		c := old + min(max(v-old, -clip), clip) - target
		loss = max(loss, 0.5*c*c)
	}
	return loss
}

func TestValueLoss(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, clip := range []float32{0, 0.3} {
			ld := n + b.rnd.IntN(20)
			l := ValueLoss{N: n, Ld: ld, Value: b.floats(ld), Return: b.floats(n), OldValue: b.floats(n), ValueClip: clip, Coef: 0.25}
			for i := range n {
				l.OldValue[i] = l.Value[i] + 0.5*l.OldValue[i]
			}
			values := clone(l.Value)
			p.ValueLoss(&l)
			var sum float64
			for i := range n {
				v, target, old := float64(values[i]), float64(l.Return[i]), float64(l.OldValue[i])
				sum += valueRow(v, target, old, float64(clip))
				gradient := derivative(func(x float64) float64 { return valueRow(x, target, old, float64(clip)) }, v)
				if clip > 0 && nearKink(v, target, old, float64(clip)) {
					continue
				}
				require.InDelta(t, 0.25*gradient, l.Value[i], 1e-6, "row %d of %d", i, n)
			}
			require.InDelta(t, sum, l.SumLoss, 1e-6*(1+sum))
			requireZeroPadding(t, l.Value, 1, n, ld)
		}
	})
}

// nearKink says whether the finite difference straddles a change of the formula.
func nearKink(v, target, old, clip float64) bool {
	const near = 1e-4
	first := math.Abs(v - target)
	second := math.Abs(old + min(max(v-old, -clip), clip) - target)
	return math.Abs(math.Abs(v-old)-clip) < near || math.Abs(v-old) > clip && math.Abs(first-second) < near
}

// A value that moved beyond the clip range keeps its gradient where its own loss
// is the larger, and loses it where the clipped value's is.
func TestValueClipByHand(t *testing.T) {
	for _, p := range Paths() {
		l := ValueLoss{N: 3, Ld: 3, Value: []float32{2, 2, 0.1}, Return: []float32{0, 3, 1}, OldValue: []float32{0, 0, 0},
			ValueClip: 0.5, Coef: 1}
		p.ValueLoss(&l)
		require.Equal(t, []float32{2, 0, -0.9}, l.Value, p.Name)
		require.InDelta(t, 0.5*(4+2.5*2.5+0.81), l.SumLoss, 1e-6, p.Name)
	}
}

func quantileRow(theta, target, tau, kappa float64) float64 {
	u := target - theta
	loss := kappa * (math.Abs(u) - 0.5*kappa)
	if math.Abs(u) <= kappa {
		loss = 0.5 * u * u
	}
	if u < 0 {
		tau = 1 - tau
	}
	return tau * loss / kappa
}

func TestQuantileLoss(t *testing.T) {
	eachPath(t, func(t *testing.T, p *Path, b *buffers, n int) {
		for _, quantiles := range []int{1, 5, 32} {
			ld := n + b.rnd.IntN(20)
			l := QuantileLoss{N: n, K: quantiles, Ld: ld, Theta: b.floats(quantiles * ld), Return: b.floats(n), Kappa: 0.7, Coef: 0.5}
			thetas := clone(l.Theta)
			p.QuantileLoss(&l)
			var sum float64
			for i := range n {
				for k := range quantiles {
					target, tau := float64(l.Return[i]), (float64(k)+0.5)/float64(quantiles)
					row := func(x float64) float64 { return quantileRow(x, target, tau, float64(l.Kappa)) }
					theta := float64(thetas[k*ld+i])
					sum += row(theta)
					// The second derivative jumps at 0 and kappa: 1e-5 there.
					require.InDelta(t, 0.5*derivative(row, theta), l.Theta[k*ld+i], 1e-5, "row %d of %d, quantile %d", i, n, k)
				}
			}
			require.InDelta(t, sum, l.SumLoss, 2e-6*(1+sum))
			requireZeroPadding(t, l.Theta, quantiles, n, ld)
		}
	})
}
