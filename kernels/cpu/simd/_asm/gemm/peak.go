package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// chains is enough independent multiply-adds to hide their latency.
const chains = 12

// peak generates a loop of nothing but independent fused multiply-adds, the
// yardstick of the benchmarks.
func (i *isa) peak() {
	TEXT("peak"+upper(i.name), NOSPLIT, "func(loops int)")
	Doc(fmt.Sprintf("peak%s does %d vector multiply-adds in each of loops rounds.", upper(i.name), 2*chains))
	Pragma("noescape")
	n := Load(Param("loops"), GP64())
	z := &block{isa: i}
	for _, v := range i.vec[:chains+2] {
		z.zero(v)
	}
	Label("loop")
	for range 2 {
		for c := range chains {
			VFMADD231PS(i.vec[chains], i.vec[chains+1], i.vec[c])
		}
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
