//go:build cuda

// The loader behind the trampolines (trampolines_linux_*.S): it opens
// libcuda.so.1 when a cu* function is first called, and finds the functions by
// name. It needs no CUDA header.

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "loader.h"

// CUresult values that the trampolines return themselves.
enum {
	SHARED_OBJECT_SYMBOL_NOT_FOUND = 302,
	SHARED_OBJECT_INIT_FAILED      = 303,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *library; // NULL where there is no driver
static char reason[512];

static void open_library(void) {
	library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		const char *why = dlerror();
		snprintf(reason, sizeof reason, "%s", why != NULL ? why : "dlopen failed");
	}
}

const char *brood_driver_load(void) {
	pthread_once(&once, open_library);
	return library != NULL ? NULL : reason;
}

static int no_driver(void) { return SHARED_OBJECT_INIT_FAILED; }
static int no_function(void) { return SHARED_OBJECT_SYMBOL_NOT_FOUND; }

// brood_driver_resolve is called by a trampoline the first time it is used. It
// stores the function's address in the trampoline's slot, and returns it to be
// jumped to. Two threads may do so at once; they store the same address.
void *brood_driver_resolve(unsigned index) {
	void *function = (void *)no_driver;
	if (brood_driver_load() == NULL) {
		function = dlsym(library, brood_driver_names[index]);
		if (function == NULL)
			function = (void *)no_function;
	}
	atomic_store_explicit(&brood_driver_slots[index], function, memory_order_relaxed);
	return function;
}

// cuInit is called by the init function of gorgonia.org/cu, which ends the process
// if it fails. It succeeds without loading anything, so that every program starts
// at once and on machines without a GPU; brood_driver_init is the real one.
__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
	(void)flags;
	return 0;
}

int brood_driver_init(void) {
	if (brood_driver_load() != NULL)
		return SHARED_OBJECT_INIT_FAILED;
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(library, "cuInit");
	return init != NULL ? init(0) : SHARED_OBJECT_SYMBOL_NOT_FOUND;
}
