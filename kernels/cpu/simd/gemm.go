package simd

// Epilogue is what a Gemm does with its accumulators.
type Epilogue int

// The epilogues. Start is what the accumulators start from, then what is stored.
const (
	// Accumulate starts from C and stores the sum.
	Accumulate Epilogue = iota
	// BiasLinear starts from Bias and stores the sum.
	BiasLinear
	// BiasTanh starts from Bias and stores tanh of sum/TanhScale: A B + Bias must
	// come scaled by TanhScale, which saves a multiplication per value.
	BiasTanh
	// BiasReLU starts from Bias and stores max(sum, 0).
	BiasReLU
	// TanhGradient starts from zero and stores sum*(1 - c^2), c being C.
	TanhGradient
	// ReLUGradient starts from zero and stores sum where C > 0, else 0.
	ReLUGradient
	numEpilogues
)

// TanhScale is the factor that weights and biases of a BiasTanh carry: 2 log2(e).
const TanhScale = 2.8853900817779268

// Gemm is C [M][Ldc] (+)= A B for B [K][Ldb] row-major, and A(m, k) at
// A[m*StrideM + k*StrideK]: one routine does a layer forward (StrideK 1), its
// weights' gradient (StrideM 1) and its inputs' gradient.
//
// N is the number of columns and a multiple of 16, as are Ldb and Ldc; M and K
// are any. B, C and Bias start at multiples of 64 bytes. Each sum runs over k in
// ascending order with fused multiply-adds (generic: rounded products), so that
// the result depends on no tiling.
type Gemm struct {
	M, N, K          int
	A                []float32
	StrideM, StrideK int
	B                []float32
	Ldb              int
	C                []float32
	Ldc              int
	Bias             []float32 // [N]; of the Bias epilogues
	Epilogue         Epilogue
}

// Head is Out [A][LdOut] = (H W^T + Bias)^T for few outputs: component-major
// results of row-major activations H [M][LdH] and weights W [A][LdW]. K columns
// are used, a multiple of 16; M is a multiple of 16, and so is LdOut.
type Head struct {
	M, A, K int
	H       []float32
	LdH     int
	W       []float32
	LdW     int
	Bias    []float32 // [A]
	Out     []float32
	LdOut   int
}
