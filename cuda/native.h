// The calls of the driver that gorgonia.org/cu lacks. Handles cross from Go as
// void *, because cgo gives each package its own type for each of CUDA's.
#pragma once

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

// The context that owns the calling thread: see Context.check.
void brood_set_owner(uintptr_t context);
uintptr_t brood_owner(void);

int brood_error_name(int code, const char **name, const char **text);
int brood_enable_peer(void *context);
int brood_alloc_pinned(void **p, size_t bytes);

// brood_load_module gives the compiler's messages in log, which it always ends
// with a NUL.
int brood_load_module(void **module, const void *image, char *log, size_t log_bytes);

// brood_param_info gives the offset and size of a kernel's parameter, or
// CUDA_ERROR_INVALID_VALUE behind the last. Drivers before 12.4 lack it.
int brood_param_info(void *function, size_t index, size_t *offset, size_t *bytes);
int brood_set_max_shared(void *function, int bytes);

typedef struct {
	unsigned grid[3], block[3], shared;
} brood_shape;

int brood_launch(void *function, brood_shape shape, void *stream, void **args);

int brood_begin_capture(void *stream);
// brood_captured_node gives the node last added to a stream's capture.
int brood_captured_node(void *stream, void **node);
int brood_end_capture(void *stream, void **graph);
int brood_instantiate(void **exec, void *graph);
int brood_launch_graph(void *exec, void *stream);
int brood_update_kernel(void *exec, void *node, void *function, brood_shape shape, void **args);
int brood_destroy_graph(void *graph);
int brood_destroy_exec(void *exec);

#pragma GCC visibility pop
