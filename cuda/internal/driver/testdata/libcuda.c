// A driver for TestTrampolines, with functions whose parameters lie in all the
// places that the calling conventions have for them. They return 0 if they got
// what program.c passes, 1 if not.

int cuInit(unsigned flags) { return 100 + (int)flags; }

// In general registers and on the stack, as cuLaunchKernel really has them.
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
		   unsigned block_z, unsigned shared, void *stream, void **params, void **extra) {
	return !((long)function == 1 && grid_x == 2 && grid_y == 3 && grid_z == 4 && block_x == 5 && block_y == 6 &&
		 block_z == 7 && shared == 8 && (long)stream == 9 && (long)params == 10 && (long)extra == 11);
}

// In floating point registers. The driver's function of this name has others.
int cuMemAlloc_v2(double a, float b, double c, double d, double e, double f, double g, double h, int i) {
	return !(a == 1 && b == 2 && c == 3 && d == 4 && e == 5 && f == 6 && g == 7 && h == 8 && i == 9);
}
