// Command gemm generates the matrix routines of package simd: for each vector
// width a family of register-blocked inner loops, a dot-product head and a
// transpose. Run it through go generate in the package above.
package main

import (
	"flag"
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// epilogues in the order of simd.Epilogue.
var epilogues = []string{"Accumulate", "BiasLinear", "BiasTanh", "BiasReLU", "TanhGradient", "ReLUGradient"}

func main() {
	width := flag.String("isa", "avx512", "avx512 or avx2")
	flag.Parse()
	ConstraintExpr("amd64,!purego")
	i := newISA(*width)
	for _, epilogue := range epilogues {
		for _, columns := range i.columns {
			for _, rows := range i.rows {
				i.gemm(epilogue, rows, columns)
			}
		}
	}
	if i.lanes == 8 {
		i.gemm("Accumulate", 1, 8) // sums over rows: two vectors alone would wait for each other
	}
	i.head()
	i.transpose()
	i.peak()
	Generate()
}

// isa abstracts the vector width.
type isa struct {
	name    string
	lanes   int
	vec     []VecPhysical
	rows    []int // register block heights, tallest first
	columns []int // register block widths in vectors
	consts  map[string]Mem
}

func newISA(name string) *isa {
	i := &isa{name: name, consts: map[string]Mem{}}
	if name == "avx512" {
		i.lanes = 16
		i.vec = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
			Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
		// 4 x 64 fills 16 accumulators, enough to hide the latency of two
		// multiply-adds a cycle; the rest covers edges.
		i.rows, i.columns = []int{4, 2, 1}, []int{4, 3, 2, 1}
	} else {
		i.lanes = 8
		i.vec = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
		// 6 x 16 fills 12 of the 16 registers; 4 x 16 is the least that still hides
		// the latency, and 64 is ten of the one and one of the other.
		i.rows, i.columns = []int{6, 4, 2, 1}, []int{2}
	}
	return i
}

func (i *isa) bytes() int { return 4 * i.lanes }

// constant returns a data section with the float repeated over a vector.
func (i *isa) constant(name string, value float32) Mem {
	if m, ok := i.consts[name]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("gemm_%s_%s", i.name, name), RODATA|NOPTR)
	for l := range i.lanes {
		DATA(4*l, F32(value))
	}
	i.consts[name] = m
	return m
}

func (i *isa) words(name string, values []uint32) Mem {
	if m, ok := i.consts[name]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("gemm_%s_%s", i.name, name), RODATA|NOPTR)
	for l, v := range values {
		DATA(4*l, U32(v))
	}
	i.consts[name] = m
	return m
}

// block is one generated routine: a register block of rows x columns vectors
// that walks down `blocks` row blocks of one column panel.
type block struct {
	*isa
	rows, columns    int
	a, b, c          Register
	sm, sk, ldb, ldc Register
	acc              [][]VecPhysical
	spare            []VecPhysical
	tanh             *tanhState
}

func (i *isa) gemm(epilogue string, rows, columns int) {
	name := fmt.Sprintf("gemm%s%s%dx%d", upper(i.name), epilogue, rows, columns*i.lanes)
	TEXT(name, NOSPLIT, "func(a, b, c, bias *float32, k, blocks, sm, sk, ldb, ldc int)")
	Doc(fmt.Sprintf("%s computes blocks of %d rows by %d columns; strides are in bytes.", name, rows, columns*i.lanes))
	Pragma("noescape")
	k := &block{isa: i, rows: rows, columns: columns}
	k.a = Load(Param("a"), GP64())
	k.c = Load(Param("c"), GP64())
	k.sm = Load(Param("sm"), GP64())
	k.sk = Load(Param("sk"), GP64())
	k.ldb = Load(Param("ldb"), GP64())
	k.ldc = Load(Param("ldc"), GP64())
	k.acc = make([][]VecPhysical, rows)
	for r := range k.acc {
		k.acc[r] = i.vec[r*columns : (r+1)*columns]
	}
	k.spare = i.vec[rows*columns:]
	if epilogue == "BiasTanh" {
		k.tanh = i.newTanh(k.spare)
	}

	blocks := Load(Param("blocks"), GP64())
	Label("block")
	k.start(epilogue)
	k.loop()
	k.finish(epilogue)
	// The next row block.
	for range rows {
		ADDQ(k.sm, k.a)
		ADDQ(k.ldc, k.c)
	}
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// row addresses row r relative to base, which must not be used with r > 5.
type rowAddress struct {
	base, stride, third Register // third = base + 3*stride, for rows from 3 on
}

func (k *block) rowsOf(base, stride Register) rowAddress {
	r := rowAddress{base: base, stride: stride}
	if k.rows > 3 {
		r.third = GP64()
		LEAQ(Mem{Base: base, Index: stride, Scale: 2}, r.third)
		ADDQ(stride, r.third)
	}
	return r
}

func (r rowAddress) at(row, disp int) Mem {
	base := r.base
	if row >= 3 {
		base, row = r.third, row-3
	}
	if row == 0 {
		return Mem{Base: base, Disp: disp}
	}
	return Mem{Base: base, Index: r.stride, Scale: uint8(row), Disp: disp}
}

func (k *block) start(epilogue string) {
	switch epilogue {
	case "Accumulate":
		c := k.rowsOf(k.c, k.ldc)
		for r := range k.acc {
			for j, v := range k.acc[r] {
				VMOVUPS(c.at(r, j*k.bytes()), v)
			}
		}
	case "BiasLinear", "BiasTanh", "BiasReLU":
		bias := Load(Param("bias"), GP64())
		for j, v := range k.acc[0] {
			VMOVUPS(Mem{Base: bias, Disp: j * k.bytes()}, v)
			for r := 1; r < k.rows; r++ {
				VMOVAPS(v, k.acc[r][j])
			}
		}
	default:
		for r := range k.acc {
			for _, v := range k.acc[r] {
				k.zero(v)
			}
		}
	}
}

func (k *block) zero(v VecPhysical) {
	if k.lanes == 16 {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// loop runs over k, unrolled by 4 (one fifth faster than not unrolled).
func (k *block) loop() {
	b := Load(Param("b"), GP64())
	a := GP64()
	MOVQ(k.a, a)
	rows := rowAddress{base: a, stride: k.sm}
	if k.rows > 3 {
		rows = k.rowsOf(a, k.sm)
	}
	n := Load(Param("k"), GP64())
	step := func() {
		k.products(rows, b)
		ADDQ(k.sk, a)
		if rows.third != nil {
			ADDQ(k.sk, rows.third)
		}
		ADDQ(k.ldb, b)
	}
	SUBQ(U8(4), n)
	JLT(LabelRef("tail"))
	Label("unrolled")
	for range 4 {
		step()
	}
	SUBQ(U8(4), n)
	JGE(LabelRef("unrolled"))
	Label("tail")
	ADDQ(U8(4), n)
	JZ(LabelRef("done"))
	Label("single")
	step()
	DECQ(n)
	JNZ(LabelRef("single"))
	Label("done")
}

// products adds one k's products: B's vectors are loaded once for all rows, and
// each row's A is broadcast to a register, because multiply-adds with an embedded
// broadcast are bound by loads.
func (k *block) products(rows rowAddress, b Register) {
	at := func(j int) Mem { return Mem{Base: b, Disp: j * k.bytes()} }
	if k.rows == 1 {
		av := k.spare[0]
		VBROADCASTSS(rows.at(0, 0), av)
		for j, v := range k.acc[0] {
			VFMADD231PS(at(j), av, v)
		}
		return
	}
	bv := k.spare[:k.columns]
	for j, v := range bv {
		VMOVUPS(at(j), v)
	}
	for r := range k.acc {
		av := k.spare[k.columns+r%2]
		VBROADCASTSS(rows.at(r, 0), av)
		for j, v := range bv {
			VFMADD231PS(v, av, k.acc[r][j])
		}
	}
}

func (k *block) finish(epilogue string) {
	c := k.rowsOf(k.c, k.ldc)
	at := func(r, j int) Mem { return c.at(r, j*k.bytes()) }
	switch epilogue {
	case "BiasTanh":
		k.finishTanh(at)
		return
	case "BiasReLU":
		k.zero(k.spare[0])
		for r := range k.acc {
			for _, v := range k.acc[r] {
				VMAXPS(v, k.spare[0], v) // NaN in v stays
			}
		}
	case "TanhGradient":
		one := k.constant("one", 1)
		for r := range k.acc {
			for j, v := range k.acc[r] {
				h, t := k.spare[2*(j%2)], k.spare[2*(j%2)+1]
				VMOVUPS(at(r, j), h)
				VMOVUPS(one, t)
				VFNMADD231PS(h, h, t)
				VMULPS(t, v, v)
			}
		}
	case "ReLUGradient":
		k.reluGradient(at)
	}
	for r := range k.acc {
		for j, v := range k.acc[r] {
			VMOVUPS(v, at(r, j))
		}
	}
}

// finishTanh stores the tanh of the accumulators. AVX2 has too few registers to
// work on several at once beside them: it stores the sums, and with all registers
// free takes them up again.
func (k *block) finishTanh(at func(r, j int) Mem) {
	var vectors []VecPhysical
	var places []Mem
	for r := range k.acc {
		for j, v := range k.acc[r] {
			vectors, places = append(vectors, v), append(places, at(r, j))
		}
	}
	if k.lanes == 8 {
		for q, v := range vectors {
			VMOVUPS(v, places[q])
		}
		k.tanh.loadAVX2()
	}
	for len(places) > 0 {
		n := min(k.tanh.group, len(places))
		group := vectors[:n]
		if k.lanes == 8 {
			group = k.vec[:n]
			for q, v := range group {
				VMOVUPS(places[q], v)
			}
		}
		k.tanh.apply(group)
		for q, v := range group {
			VMOVUPS(v, places[q])
		}
		vectors, places = vectors[n:], places[n:]
	}
}

func (k *block) reluGradient(at func(r, j int) Mem) {
	zero, mask := k.spare[0], k.spare[1]
	k.zero(zero)
	for r := range k.acc {
		for j, v := range k.acc[r] {
			if k.lanes == 16 {
				VCMPPS(U8(1), at(r, j), zero, K1) // 0 < c
				VMOVAPS_Z(v, K1, v)
			} else {
				VCMPPS(U8(1), at(r, j), zero, mask)
				VANDPS(mask, v, v)
			}
		}
	}
}

func upper(s string) string {
	return map[string]string{"avx512": "AVX512", "avx2": "AVX2"}[s]
}
