package simd

// Peak does nothing but independent multiply-adds in the path's own width and
// returns how many floating-point operations they were: the yardstick a share
// of the processor's peak is taken against, measured in the same seconds.
func (p *Path) Peak(loops int) (flops float64) {
	if run := peakLoops(p.Name); run != nil {
		run(loops)
		return float64(loops) * 24 * 2 * float64(p.Width)
	}
	return peakGeneric(loops)
}

// sink keeps the compiler from dropping peakGeneric's work.
var sink float32

func peakGeneric(loops int) float64 {
	var a, b, c, d, e, f, g, h float32
	x, y := float32(loops), float32(1)
	for range loops {
		a += x * y
		b += x * y
		c += x * y
		d += x * y
		e += x * y
		f += x * y
		g += x * y
		h += x * y
	}
	sink = a + b + c + d + e + f + g + h
	return float64(loops) * 16
}
