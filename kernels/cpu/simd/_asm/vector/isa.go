package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// An emitter writes the kernels of one file for one instruction set. Kernels are
// written once, in terms of its methods: a vec is a register of 16 (AVX-512) or
// 8 (AVX2) floats or 32-bit integers, a mask an opmask register or a vector of
// all-ones and zeros. Methods that return a vec write a fresh register; those
// whose name ends in To or begins with acc change their first argument.
type emitter struct {
	*build.Context
	isa    string // "AVX512" or "AVX2"
	w      int    // floats in a vector
	labels int
	// double makes lanes of 64 bits: half as many, float64 in registers and
	// constants, still float32 in memory.
	double bool
	// constants by their bits, in order of first use, of 32 bits and, with double,
	// of 64; laid out by finish.
	constants, doubles constantPool
	// tail is the mask of the rows that exist while a tail is emitted, else nil.
	tail reg.Register
}

type vec = reg.VecVirtual

type constantPool struct {
	symbol string
	index  map[uint64]int
	order  []uint64
}

// constant is a float or integer in the data section, the same in every lane.
type constant struct{ operand.Mem }

func newEmitter(isa string, width int) *emitter {
	e := &emitter{Context: build.NewContext(), isa: isa, w: width,
		constants: constantPool{"vectorConstants", map[uint64]int{}, nil}, doubles: constantPool{"vectorDoubles", map[uint64]int{}, nil}}
	e.ConstraintExpr("amd64,!purego")
	return e
}

func (e *emitter) avx512() bool { return e.isa == "AVX512" }

// function begins a kernel; its name gets the instruction set appended.
func (e *emitter) function(name, signature string, doc ...string) {
	e.Function(name + e.isa)
	e.Attributes(attr.NOSPLIT)
	e.SignatureExpr(signature)
	doc[0] = name + e.isa + " " + doc[0]
	e.Doc(doc...)
	e.Pragma("noescape")
}

func (e *emitter) end() {
	e.VZEROUPPER()
	e.RET()
}

// ptr loads a pointer or an integer parameter of the function into a general register.
func (e *emitter) ptr(name string) reg.Register { return e.Load(e.Param(name), e.GP64()) }

// paramMem is the place of a parameter of the function.
func (e *emitter) paramMem(name string) operand.Mem {
	b, err := e.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

func (e *emitter) label(name string) string {
	e.labels++
	return fmt.Sprintf("%s%d", name, e.labels)
}

func (e *emitter) vec() vec {
	if e.avx512() {
		return e.ZMM()
	}
	return e.YMM()
}

// f is a float constant, bits an integer one.
func (e *emitter) f(v float64) constant {
	if e.double {
		return constant{e.doubles.at(math.Float64bits(v), e.constantSize(8))}
	}
	return e.bits(math.Float32bits(float32(v)))
}

func (e *emitter) bits(v uint32) constant {
	return constant{e.constants.at(uint64(v), e.constantSize(4))}
}

func (p *constantPool) at(v uint64, size int) operand.Mem {
	i, ok := p.index[v]
	if !ok {
		i = len(p.order)
		p.index[v] = i
		p.order = append(p.order, v)
	}
	return operand.NewDataAddr(operand.NewStaticSymbol(p.symbol), i*size)
}

// constantSize: AVX-512 instructions broadcast a constant as they read it, for
// AVX2 it lies there in full.
func (e *emitter) constantSize(lane int) int {
	if e.avx512() {
		return lane
	}
	return 32
}

// table places constants in the data section of the file and returns its address.
func (e *emitter) table(name string, constants ...operand.Constant) operand.Mem {
	m := e.StaticGlobal(name)
	e.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, c := range constants {
		e.AppendDatum(c)
	}
	return m
}

const tailTable = "tailMask"

// finish writes the data sections.
func (e *emitter) finish() {
	for _, p := range []struct {
		constantPool
		lane int
	}{{e.constants, 4}, {e.doubles, 8}} {
		var all []operand.Constant
		for _, v := range p.order {
			for range e.constantSize(p.lane) / p.lane {
				if p.lane == 4 {
					all = append(all, operand.U32(v))
				} else {
					all = append(all, operand.U64(v))
				}
			}
		}
		if len(all) > 0 {
			e.table(p.symbol, all...)
		}
	}
	if !e.avx512() {
		var lanes []operand.Constant
		for l := range 16 {
			lanes = append(lanes, operand.U32(math.MaxUint32*uint64((15-l)/8)))
		}
		e.table(tailTable, lanes...)
	}
}

// at is element i of the array at base.
func at(base, i reg.Register) operand.Mem { return operand.Mem{Base: base, Index: i, Scale: 4} }

// rows emits a loop over n rows, a vector at a time: body for full vectors, then
// once more, masked, for what is left. i is the index of the first row.
func (e *emitter) rows(n reg.Register, body func(i reg.Register)) {
	i := e.GP64()
	e.XORQ(i, i)
	e.rowsFrom(i, n, body)
}

// rowsFrom is rows with an index that has been advanced already.
func (e *emitter) rowsFrom(i, n reg.Register, body func(i reg.Register)) {
	e.fullRows(i, n, 1, func() { body(i) })
	done := e.label("done")
	e.CMPQ(i, n)
	e.JGE(operand.LabelRef(done))
	e.setTail(i, n)
	body(i)
	e.tail = nil
	e.Label(done)
}

// fullRows emits a loop over as many groups of the given number of full vectors
// as there are from i on, and advances i.
func (e *emitter) fullRows(i, n reg.Register, vectors int, body func()) {
	loop, done := e.label("loop"), e.label("tail")
	end := e.GP64()
	e.MOVQ(n, end)
	e.SUBQ(i, end)
	e.ANDQ(operand.I32(-vectors*e.w), end)
	e.JE(operand.LabelRef(done))
	e.ADDQ(i, end)
	e.Label(loop)
	body()
	e.ADDQ(operand.U8(vectors*e.w), i)
	e.CMPQ(i, end)
	e.JLT(operand.LabelRef(loop))
	e.Label(done)
}

func (e *emitter) setTail(i, n reg.Register) {
	rest := e.GP64()
	e.MOVQ(n, rest)
	e.SUBQ(i, rest)
	if e.avx512() {
		ones, k := e.GP32(), e.K()
		e.MOVL(operand.U32(math.MaxUint32), ones)
		e.BZHIL(rest.(reg.GPVirtual).As32(), ones, ones)
		e.KMOVW(ones, k)
		e.tail = k
		return
	}
	table, mask := e.GP64(), e.vec()
	if e.double {
		mask = e.XMM()
	}
	e.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol(tailTable), 32), table)
	e.NEGQ(rest)
	e.VMOVUPS(at(table, rest), mask)
	e.tail = mask
}

// load reads a vector; lanes beyond the last row are zero.
func (e *emitter) load(m operand.Mem) vec {
	v := e.vec()
	if e.double {
		v = e.half()
	}
	switch {
	case e.tail == nil:
		e.VMOVUPS(m, v)
	case e.avx512():
		e.VMOVUPS_Z(m, e.tail, v)
	default:
		e.VMASKMOVPS(m, e.tail, v)
	}
	if e.double {
		return e.convert(e.VCVTPS2PD, v)
	}
	return v
}

// half is a register of half the size: the floats of a vector of doubles.
func (e *emitter) half() vec {
	if e.avx512() {
		return e.YMM()
	}
	return e.XMM()
}

// store writes a vector; what lies beyond the last row is not touched.
func (e *emitter) store(v reg.Register, m operand.Mem) {
	if e.double {
		floats := e.half()
		if e.avx512() {
			e.VCVTPD2PS(v, floats)
		} else {
			e.VCVTPD2PSY(v, floats)
		}
		v = floats
	}
	switch {
	case e.tail == nil:
		e.VMOVUPS(v, m)
	case e.avx512():
		e.VMOVUPS(v, e.tail, m)
	default:
		e.VMASKMOVPS(v, e.tail, m)
	}
}

// broadcast reads one float (with double: one float64) into every lane.
func (e *emitter) broadcast(m operand.Mem) vec {
	v := e.vec()
	e.pick(e.VBROADCASTSS, e.VBROADCASTSD)(m, v)
	return v
}

// get brings a constant or a slot into a fresh register, or copies a register.
func (e *emitter) get(op operand.Op) vec {
	if c, ok := op.(constant); ok && e.avx512() {
		return e.broadcast(c.Mem)
	}
	v := e.vec()
	e.VMOVUPS(plain(op), v)
	return v
}

// plain unwraps a constant.
func plain(op operand.Op) operand.Op {
	if c, ok := op.(constant); ok {
		return c.Mem
	}
	return op
}

// slot is a place for a vector on the stack.
func (e *emitter) slot() operand.Mem {
	if e.avx512() {
		return e.AllocLocal(64)
	}
	return e.AllocLocal(32)
}

// place is where a vector lives that is used throughout a loop: a register with
// AVX-512, which has 32, and a slot with AVX2.
func (e *emitter) place() operand.Op {
	if e.avx512() {
		return e.vec()
	}
	return e.slot()
}

// keep gives v a place.
func (e *emitter) keep(v vec) operand.Op {
	p := e.place()
	e.VMOVUPS(v, p)
	return p
}

// param broadcasts float number index of the array at base and keeps it.
func (e *emitter) param(base reg.Register, index int) operand.Op {
	return e.keep(e.broadcast(operand.Mem{Base: base, Disp: 4 * index}))
}

func (e *emitter) zero() vec {
	v := e.vec()
	if !e.avx512() {
		e.VXORPS(v, v, v)
		return v
	}
	i, err := x86.VPXORD(v, v, v)
	if err != nil {
		panic(err)
	}
	i.CancellingInputs = true // avo knows this of the older forms only
	e.Instruction(i)
	return v
}

// accumulator starts a sum over rows, kept as by keep.
func (e *emitter) accumulator() operand.Op { return e.keep(e.zero()) }

// accumulate adds v to the sum in those lanes that are rows.
func (e *emitter) accumulate(acc operand.Op, v vec) {
	if e.avx512() {
		if e.tail != nil {
			e.VADDPS(v, acc, e.tail, acc)
		} else {
			e.VADDPS(v, acc, acc)
		}
		return
	}
	if e.tail != nil {
		masked := e.vec()
		e.VANDPS(v, e.tail, masked)
		v = masked
	}
	if r, ok := acc.(vec); ok {
		e.VADDPS(v, r, r)
		return
	}
	sum := e.vec()
	e.VADDPS(acc, v, sum)
	e.VMOVUPS(sum, acc)
}

// total adds the lanes of a sum: halves onto halves, in a fixed order. The
// result is in the lowest lane.
func (e *emitter) total(acc operand.Op) reg.Register {
	v := e.get(acc)
	y := v.AsY()
	if e.avx512() {
		high := e.YMM()
		e.VEXTRACTF64X4(operand.U8(1), v, high)
		sum := e.YMM()
		e.VADDPS(high, y, sum)
		y = sum
	}
	high, x := e.XMM(), e.XMM()
	e.VEXTRACTF128(operand.U8(1), y, high)
	e.VADDPS(high, y.(vec).AsX(), x)
	for _, pattern := range []uint64{0x4e, 0xb1} { // swap halves, swap neighbours
		swapped, sum := e.XMM(), e.XMM()
		e.VPERMILPS(operand.U8(pattern), x, swapped)
		e.VADDPS(swapped, x, sum)
		x = sum
	}
	return x
}

// components emits a loop over count components of the rows from i on; stride is
// in bytes.
func (e *emitter) components(base, i, count, stride reg.Register, body func(m operand.Mem)) {
	p, left := e.GP64(), e.GP64()
	e.LEAQ(at(base, i), p)
	e.MOVQ(count, left)
	loop := e.label("component")
	e.Label(loop)
	body(operand.Mem{Base: p})
	e.ADDQ(stride, p)
	e.DECQ(left)
	e.JNE(operand.LabelRef(loop))
}

// stride loads a parameter that counts floats, as bytes.
func (e *emitter) stride(name string) reg.Register {
	r := e.ptr(name)
	e.SHLQ(operand.U8(2), r)
	return r
}
