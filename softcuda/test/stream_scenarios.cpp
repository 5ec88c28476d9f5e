// Scenarios of streams, events, capture and graphs.
#include <thread>

#include "drive.h"

// The functions whose form changed with CUDA 12, by their own names.
struct NodeParams {
  CUfunction function;
  unsigned grid[3], block[3], shared_bytes;
  void **values, **extra;
};
extern "C" {
CUresult node_get_params(CUgraphNode, NodeParams *) __asm__("cuGraphKernelNodeGetParams");
CUresult exec_set_params(CUgraphExec, CUgraphNode, const NodeParams *) __asm__("cuGraphExecKernelNodeSetParams");
CUresult capture_info(CUstream, CUstreamCaptureStatus *, cuuint64_t *, CUgraph *, const CUgraphNode **,
                      size_t *) __asm__("cuStreamGetCaptureInfo_v2");
CUresult elapsed_time(float *, CUevent, CUevent) __asm__("cuEventElapsedTime");
}

// A device with a vector of zeros and add_one, on two streams.
struct Setup {
  CUfunction add_one;
  CUstream s, t;
  CUdeviceptr p;
  int n = 4;

  Setup() {
    open_context();
    add_one = get(load_kernels(), "add_one");
    OK(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
    p = upload({0, 0, 0, 0});
  }
  CUresult add(CUstream stream) { return launch(add_one, 1, 4, stream, {&p, &n}); }
  float value() {
    float *host;  // pinned, so that the copy itself waits for nothing
    OK(cuMemHostAlloc((void **)&host, 4, 0));
    OK(cuMemcpyDtoHAsync(host, p, 4, s));
    OK(cuStreamSynchronize(s));
    const float v = *host;
    OK(cuMemFreeHost(host));
    return v;
  }
};

static CUgraphExec instantiate(CUgraph g) {
  CUgraphExec x;
  OK(cuGraphInstantiateWithFlags(&x, g, 0));
  return x;
}

static CUevent new_event(unsigned flags = 0) {
  CUevent e;
  OK(cuEventCreate(&e, flags));
  return e;
}

static void streams() {
  Setup u;
  OK(u.add(u.s));
  OK(cuStreamSynchronize(u.s));
  TRUE(download(u.p, 4)[3] == 1);
  OK(cuStreamDestroy(u.t));
  WANT(CUDA_ERROR_INVALID_HANDLE, u.add(u.t));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy(u.t));
}

static void events() {
  Setup u;
  CUevent a = new_event(), b = new_event(), without = new_event(CU_EVENT_DISABLE_TIMING);
  float ms;
  WANT(CUDA_ERROR_INVALID_HANDLE, elapsed_time(&ms, a, b));  // not recorded
  OK(cuEventQuery(a));
  OK(cuEventRecord(a, u.s));
  OK(u.add(u.s));
  OK(cuEventRecord(b, u.s));
  OK(cuEventRecord(without, u.s));
  OK(cuEventSynchronize(b));
  OK(elapsed_time(&ms, a, b));
  TRUE(ms >= 0 && ms < 1000);
  WANT(CUDA_ERROR_INVALID_HANDLE, elapsed_time(&ms, a, without));
  OK(cuEventDestroy(a));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(a, u.s));
}

// The scenario's process is lazy: what nothing waited for has not happened.
static void lazy() {
  Setup u;
  OK(u.add(u.s));
  TRUE(download(u.p, 4)[0] == 0);  // a copy on the null stream waits for no other
  OK(cuStreamSynchronize(u.t));
  TRUE(download(u.p, 4)[0] == 0);
  OK(cuStreamSynchronize(u.s));
  TRUE(download(u.p, 4)[0] == 1);
  // An event orders two streams.
  CUevent e = new_event();
  OK(u.add(u.s));
  OK(cuEventRecord(e, u.s));
  OK(u.add(u.s));  // behind the event: t does not wait for it
  OK(cuStreamWaitEvent(u.t, e, 0));
  WANT(CUDA_ERROR_NOT_READY, cuEventQuery(e));
  OK(u.add(u.t));
  OK(cuStreamSynchronize(u.t));
  TRUE(download(u.p, 4)[0] == 3);
  OK(cuEventQuery(e));
  OK(cuCtxSynchronize());
  TRUE(download(u.p, 4)[0] == 4);
  // Polling ends.
  OK(u.add(u.s));
  OK(cuEventRecord(e, u.s));
  while (cuEventQuery(e) == CUDA_ERROR_NOT_READY) {
  }
  TRUE(download(u.p, 4)[0] == 5);
  // Pinned memory is read when the copy happens, pageable memory when it is called.
  float *pinned, pageable = 7;
  OK(cuMemHostAlloc((void **)&pinned, 4, 0));
  *pinned = 7;
  OK(cuMemcpyHtoDAsync(u.p, pinned, 4, u.s));
  OK(cuMemcpyHtoDAsync(u.p + 4, &pageable, 4, u.s));
  *pinned = pageable = 8;
  OK(cuStreamSynchronize(u.s));
  TRUE((download(u.p, 2) == std::vector<float>{8, 7}));
  OK(u.add(u.s));
  OK(cuMemcpyDtoHAsync(&pageable, u.p, 4, u.s));
  TRUE(pageable == 9);
}

static void capture() {
  Setup u;
  CUevent fork = new_event(), join = new_event();
  CUgraph g;
  OK(cuStreamBeginCapture(u.s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(u.add(u.s));
  OK(cuEventRecord(fork, u.s));
  OK(cuStreamWaitEvent(u.t, fork, 0));
  OK(u.add(u.t));
  OK(cuEventRecord(join, u.t));
  OK(cuStreamWaitEvent(u.s, join, 0));
  OK(cuMemsetD32Async(u.p + 4, 0, 1, u.s));
  WANT(CUDA_ERROR_CAPTURED_EVENT, cuEventQuery(join));
  OK(cuStreamEndCapture(u.s, &g));
  size_t count;
  OK(cuGraphGetNodes(g, nullptr, &count));
  TRUE(count == 3);
  TRUE(u.value() == 0);  // nothing ran
  CUgraphExec x = instantiate(g);
  OK(cuGraphDestroy(g));
  OK(cuGraphLaunch(x, u.s));
  OK(cuGraphLaunch(x, u.s));
  OK(cuStreamSynchronize(u.s));
  TRUE((download(u.p, 3) == std::vector<float>{4, 0, 4}));
  OK(cuGraphExecDestroy(x));
  WANT(CUDA_ERROR_INVALID_VALUE, cuGraphLaunch(x, u.s));
}

static void capture_errors() {
  Setup u;
  CUgraph g;
  CUdeviceptr q;
  CUevent e = new_event();
  const auto begin = [&](CUstreamCaptureMode mode) { OK(cuStreamBeginCapture(u.s, mode)); };
  const auto end = [&] { return cuStreamEndCapture(u.s, &g); };
  WANT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL));
  WANT(CUDA_ERROR_ILLEGAL_STATE, end());
  // Calls that may wait for the device.
  begin(CU_STREAM_CAPTURE_MODE_GLOBAL);
  WANT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuMemAlloc(&q, 4));
  CUstreamCaptureStatus status;
  OK(cuStreamIsCapturing(u.s, &status));
  TRUE(status == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  WANT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end());
  begin(CU_STREAM_CAPTURE_MODE_RELAXED);
  OK(cuMemAlloc(&q, 4));
  OK(end());
  begin(CU_STREAM_CAPTURE_MODE_GLOBAL);
  WANT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(u.s));
  WANT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end());
  // A stream that forked off and did not come back.
  begin(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  OK(cuEventRecord(e, u.s));
  OK(cuStreamWaitEvent(u.t, e, 0));
  OK(u.add(u.t));
  WANT(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, end());
  OK(u.add(u.t));  // no longer captured
  // An event of before the capture.
  OK(cuEventRecord(e, u.t));
  begin(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  WANT(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, cuStreamWaitEvent(u.s, e, 0));
  WANT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, end());
  // The null stream waits for a blocking stream, and so may not be used.
  CUstream blocking;
  OK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
  OK(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  WANT(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, cuMemsetD8(u.p, 0, 4));
  WANT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(blocking, &g));
}

// Another thread's capture matters to this one only in the mode GLOBAL.
static void capture_threads() {
  Setup u;
  CUcontext c;
  OK(cuCtxGetCurrent(&c));
  CUgraph g;
  CUdeviceptr q;
  const auto elsewhere = [&](CUresult expected) {
    std::thread([&] {
      OK(cuCtxSetCurrent(c));
      WANT(expected, cuMemAlloc(&q, 4));
    }).join();
  };
  OK(cuStreamBeginCapture(u.s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  elsewhere(CUDA_SUCCESS);
  OK(cuStreamEndCapture(u.s, &g));
  OK(cuStreamBeginCapture(u.s, CU_STREAM_CAPTURE_MODE_GLOBAL));
  elsewhere(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  WANT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(u.s, &g));
}

static void graph_update() {
  Setup u;
  CUgraph g;
  OK(cuStreamBeginCapture(u.s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  OK(cuMemsetD32Async(u.p + 12, 0, 1, u.s));
  OK(u.add(u.s));
  CUstreamCaptureStatus status;
  const CUgraphNode *made;
  size_t count;
  OK(capture_info(u.s, &status, nullptr, nullptr, &made, &count));
  TRUE(status == CU_STREAM_CAPTURE_STATUS_ACTIVE && count == 1);
  const CUgraphNode last = made[0];
  OK(cuStreamEndCapture(u.s, &g));
  OK(capture_info(u.s, &status, nullptr, nullptr, nullptr, nullptr));
  TRUE(status == CU_STREAM_CAPTURE_STATUS_NONE);
  CUgraphNode nodes[2];
  count = 2;
  OK(cuGraphGetNodes(g, nodes, &count));
  TRUE(nodes[1] == last);
  CUgraphNodeType type;
  OK(cuGraphNodeGetType(nodes[0], &type));
  TRUE(type == CU_GRAPH_NODE_TYPE_MEMSET);
  OK(cuGraphNodeGetType(nodes[1], &type));
  TRUE(type == CU_GRAPH_NODE_TYPE_KERNEL);
  NodeParams params;
  WANT(CUDA_ERROR_INVALID_VALUE, node_get_params(nodes[0], &params));
  OK(node_get_params(nodes[1], &params));
  TRUE(params.function == u.add_one && params.block[0] == 4 && *(int *)params.values[1] == 4);
  CUgraphExec x = instantiate(g);
  OK(cuGraphLaunch(x, u.s));  // lazy: it still waits when the node is changed, and stays as it was
  int one = 1;
  void *values[] = {&u.p, &one};
  params.values = values;
  OK(exec_set_params(x, nodes[1], &params));
  OK(cuGraphLaunch(x, u.s));
  OK(cuStreamSynchronize(u.s));
  TRUE((download(u.p, 4) == std::vector<float>{2, 1, 1, 0}));
  params.block[0] = 2000;
  WANT(CUDA_ERROR_INVALID_VALUE, exec_set_params(x, nodes[1], &params));
  WANT(CUDA_ERROR_INVALID_VALUE, exec_set_params(x, nodes[0], &params));
}

// An error of a kernel comes with the next call that asks, not with the launch.
static void kernel_error() {
  Setup u;
  CUfunction bad = get(load_kernels(), "bug_wild_pointer");
  OK(launch(bad, 1, 1, u.s, {&u.p, &u.p, &u.n}));
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(u.s));
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, u.add(u.s));
  TRUE(softcuda_reports() == 1);
  TRUE(softcuda_reports() == 0);
}

const std::vector<Scenario> stream_scenarios = {
    {"streams", streams},
    {"events", events},
    {"lazy", lazy},
    {"capture", capture},
    {"capture_errors", capture_errors},
    {"capture_threads", capture_threads},
    {"graph_update", graph_update},
    {"kernel_error", kernel_error},
};
