// Calls the trampolines twice: the first call finds the function, the second jumps
// to it. cuMemFree_v2 is not in libcuda.c.
#include <stdio.h>

#include "../loader.h"

int cuInit(unsigned flags);
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
		   unsigned block_z, unsigned shared, void *stream, void **params, void **extra);
int cuMemAlloc_v2(double a, float b, double c, double d, double e, double f, double g, double h, int i);
int cuMemFree_v2(unsigned long p);

int main(void) {
	for (int i = 0; i < 2; i++) {
		printf("%d ", cuLaunchKernel((void *)1, 2, 3, 4, 5, 6, 7, 8, (void *)9, (void *)10, (void *)11));
		printf("%d ", cuMemAlloc_v2(1, 2, 3, 4, 5, 6, 7, 8, 9));
		printf("%d ", cuMemFree_v2(0));
		printf("%d %d\n", cuInit(0), brood_driver_init());
	}
}
