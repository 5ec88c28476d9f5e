package main

// architecture is the assembly that differs between processors.
type architecture struct {
	// typePrefix stands before a symbol's or section's type.
	typePrefix string
	// trampoline is a function's body, formatted with its index.
	trampoline string
	// find saves the registers that may hold arguments, asks brood_driver_resolve
	// for the function, restores them and jumps to it.
	find string
}

// amd64: System V calling convention. find is entered with the index pushed above
// the return address, so that the stack is aligned to 16 bytes.
var amd64 = architecture{
	typePrefix: "@",
	trampoline: `	endbr64
	jmpq *(brood_driver_slots + 8*%[1]d)(%%rip)
.Lfind_%[1]d:
	endbr64
	pushq $%[1]d
	jmp .Lfind
`,
	find: `
.Lfind:
	pushq %rax
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %r8
	pushq %r9
	subq $136, %rsp
	movups %xmm0, (%rsp)
	movups %xmm1, 16(%rsp)
	movups %xmm2, 32(%rsp)
	movups %xmm3, 48(%rsp)
	movups %xmm4, 64(%rsp)
	movups %xmm5, 80(%rsp)
	movups %xmm6, 96(%rsp)
	movups %xmm7, 112(%rsp)
	movl 192(%rsp), %edi
	call brood_driver_resolve
	movq %rax, %r11
	movups (%rsp), %xmm0
	movups 16(%rsp), %xmm1
	movups 32(%rsp), %xmm2
	movups 48(%rsp), %xmm3
	movups 64(%rsp), %xmm4
	movups 80(%rsp), %xmm5
	movups 96(%rsp), %xmm6
	movups 112(%rsp), %xmm7
	addq $136, %rsp
	popq %r9
	popq %r8
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rax
	addq $8, %rsp
	jmpq *%r11
`,
}

// arm64: AAPCS64. find is entered with the index in w17, one of the two registers
// that a call may change on its way.
var arm64 = architecture{
	typePrefix: "%",
	trampoline: `	hint #34
	adrp x16, brood_driver_slots + 8*%[1]d
	ldr x16, [x16, #:lo12:brood_driver_slots + 8*%[1]d]
	br x16
.Lfind_%[1]d:
	hint #36
	mov w17, #%[1]d
	b .Lfind
`,
	find: `
.Lfind:
	stp x29, x30, [sp, #-224]!
	mov x29, sp
	stp x0, x1, [sp, #16]
	stp x2, x3, [sp, #32]
	stp x4, x5, [sp, #48]
	stp x6, x7, [sp, #64]
	str x8, [sp, #80]
	stp q0, q1, [sp, #96]
	stp q2, q3, [sp, #128]
	stp q4, q5, [sp, #160]
	stp q6, q7, [sp, #192]
	mov w0, w17
	bl brood_driver_resolve
	mov x16, x0
	ldp x0, x1, [sp, #16]
	ldp x2, x3, [sp, #32]
	ldp x4, x5, [sp, #48]
	ldp x6, x7, [sp, #64]
	ldr x8, [sp, #80]
	ldp q0, q1, [sp, #96]
	ldp q2, q3, [sp, #128]
	ldp q4, q5, [sp, #160]
	ldp q6, q7, [sp, #192]
	ldp x29, x30, [sp], #224
	br x16
`,
}
