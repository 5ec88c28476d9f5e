// The checker of memory accesses. checker.cpp is in libcuda.so.1 of check/, which
// runs kernels compiled with -fsanitize=thread; unchecked.cpp is in the other.
#pragma once

class Worker;
struct Allocation;

// checker_begin_block starts a new history of shared memory.
void checker_begin_block(Worker &worker);

// checker_forget drops what it knows about an allocation that is freed.
void checker_forget(Allocation &allocation);
