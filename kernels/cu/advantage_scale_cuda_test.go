//go:build cuda

package cu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"brood/kernels"
)

func TestAdvantageScale(t *testing.T) {
	for name, change := range map[string]func(*kernels.Config){
		"odd":   nil,
		"pairs": func(c *kernels.Config) { c.Environments, c.Steps, c.Minibatches = 2, 5, 5 },
		"many":  func(c *kernels.Config) { c.Population, c.Environments, c.Steps, c.Minibatches = 1, 57, 30, 2 },
		"off":   func(c *kernels.Config) { c.NormalizeAdvantage = false },
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 4))
			c := aroundConfig(change)
			f := newFixture(t, c)
			b, steps, size := c.Rows(), c.Epochs*c.Minibatches, c.MinibatchRows()
			advantages := randoms(random, c.Population*b, 5)
			var order []int32
			for range c.Population * c.Epochs {
				for _, row := range random.Perm(b) {
					order = append(order, int32(row))
				}
			}
			upload(f, f.params.Advantages, advantages)
			upload(f, f.params.Order, order)
			f.run(func() error { return f.k.AdvantageScale(f.stream, &f.params) })
			got := download[float32](f, f.params.AdvantageScale, 2*c.Population*steps)
			for m := range c.Population {
				for step := range steps {
					rows := order[m*c.Epochs*b+step*size:][:size]
					mean, scale := PlainAdvantageScale(c.NormalizeAdvantage, advantages[m*b:(m+1)*b], rows)
					checkFloats(t, fmt.Sprintf("member %d step %d", m, step), []float32{mean, scale}, got[2*(m*steps+step):][:2])
				}
			}
			f.run(func() error { return f.k.AdvantageScale(f.stream, &f.params) })
			if again := download[float32](f, f.params.AdvantageScale, len(got)); !slices.Equal(got, again) {
				t.Error("a second run gives other bits")
			}
		})
	}
}
