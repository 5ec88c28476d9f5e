//go:build cuda

#include <cuda.h>

#include "native.h"

static __thread uintptr_t owner;

void brood_set_owner(uintptr_t context) { owner = context; }
uintptr_t brood_owner(void) { return owner; }

int brood_error_name(int code, const char **name, const char **text) {
	CUresult result = cuGetErrorName((CUresult)code, name);
	return result != CUDA_SUCCESS ? result : cuGetErrorString((CUresult)code, text);
}

int brood_enable_peer(void *context) { return cuCtxEnablePeerAccess(context, 0); }

int brood_alloc_pinned(void **p, size_t bytes) {
	return cuMemHostAlloc(p, bytes, CU_MEMHOSTALLOC_PORTABLE);
}

int brood_load_module(void **module, const void *image, char *log, size_t log_bytes) {
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)(log_bytes - 1)};
	int result = cuModuleLoadDataEx((CUmodule *)module, image, 2, options, values);
	log[log_bytes - 1] = 0;
	return result;
}

// Headers before 12.4 do not declare it.
CUresult CUDAAPI cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *bytes);

int brood_param_info(void *function, size_t index, size_t *offset, size_t *bytes) {
	return cuFuncGetParamInfo(function, index, offset, bytes);
}

int brood_set_max_shared(void *function, int bytes) {
	return cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

int brood_launch(void *function, brood_shape s, void *stream, void **args) {
	return cuLaunchKernel(function, s.grid[0], s.grid[1], s.grid[2], s.block[0], s.block[1], s.block[2],
			      s.shared, stream, args, NULL);
}

int brood_begin_capture(void *stream) {
	// Other threads, with contexts of their own, go on as they please.
	return cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

// CUDA 13's header maps cuStreamGetCaptureInfo to a third version, which older
// drivers lack.
CUresult CUDAAPI cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
					   CUgraph *graph, const CUgraphNode **dependencies, size_t *count);

int brood_captured_node(void *stream, void **node) {
	CUstreamCaptureStatus status;
	const CUgraphNode *dependencies;
	size_t count;
	int result = cuStreamGetCaptureInfo_v2(stream, &status, NULL, NULL, &dependencies, &count);
	if (result != CUDA_SUCCESS)
		return result;
	if (status != CU_STREAM_CAPTURE_STATUS_ACTIVE || count != 1)
		return CUDA_ERROR_ILLEGAL_STATE;
	*node = dependencies[0];
	return CUDA_SUCCESS;
}

int brood_end_capture(void *stream, void **graph) { return cuStreamEndCapture(stream, (CUgraph *)graph); }

int brood_instantiate(void **exec, void *graph) {
	return cuGraphInstantiateWithFlags((CUgraphExec *)exec, graph, 0);
}

int brood_launch_graph(void *exec, void *stream) { return cuGraphLaunch(exec, stream); }

int brood_update_kernel(void *exec, void *node, void *function, brood_shape s, void **args) {
	CUDA_KERNEL_NODE_PARAMS params = {
		.func = function,
		.gridDimX = s.grid[0], .gridDimY = s.grid[1], .gridDimZ = s.grid[2],
		.blockDimX = s.block[0], .blockDimY = s.block[1], .blockDimZ = s.block[2],
		.sharedMemBytes = s.shared,
		.kernelParams = args,
	};
	return cuGraphExecKernelNodeSetParams(exec, node, &params);
}

int brood_destroy_graph(void *graph) { return cuGraphDestroy(graph); }
int brood_destroy_exec(void *exec) { return cuGraphExecDestroy(exec); }
