#include "stream.h"

#include <algorithm>

#include "config.h"
#include "event.h"
#include "graph.h"

static std::unordered_map<Stream *, std::shared_ptr<Stream>> streams;  // without null streams

static Stream *find_created(CUstream handle) {
  const auto i = streams.find((Stream *)handle);
  return i == streams.end() ? nullptr : i->second.get();
}

Stream *find_stream(const Context &context, CUstream handle) {
  if (!handle || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) return context.null_stream.get();
  Stream *stream = find_created(handle);
  return stream && stream->context == &context ? stream : nullptr;
}

static CUresult run_op(Stream &stream, const Op &op) {
  if (stream.context->broken) return stream.context->broken;
  stream.done++;
  return breaks(*stream.context, op.run());
}

void progress(Stream &stream) {
  if (stream.queue.empty()) return;
  const Op op = std::move(stream.queue.front());
  stream.queue.pop_front();
  run_op(stream, op);
}

CUresult flush(Stream &stream, uint64_t until) {
  while (!stream.queue.empty() && stream.done < until && !stream.context->broken) progress(stream);
  return stream.context->broken;
}

CUresult flush_all(Context &context) {
  flush(*context.null_stream);
  for (const auto &stream : context.streams) flush(*stream);
  return context.broken;
}

CUresult refuse_while_capturing(Context &context) {
  bool refuse = false;
  for (const auto &capture : captures) {
    if (capture->origin->context != &context) continue;
    const bool mine = capture->thread == std::this_thread::get_id();
    if (capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    if (!mine && capture->mode != CU_STREAM_CAPTURE_MODE_GLOBAL) continue;
    capture->spoiled = refuse = true;
  }
  return refuse ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

// The null stream waits for all blocking streams; its own work is never deferred.
static CUresult submit_null(Stream &stream, const Op &op) {
  Context &context = *stream.context;
  bool implicit = false;
  for (const auto &other : context.streams)
    if (other->capture && other->blocks()) other->capture->spoiled = implicit = true;
  RETURN_IF(implicit, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  for (const auto &other : context.streams)
    if (other->blocks()) flush(*other);
  return run_op(stream, op);
}

CUresult submit(Stream &stream, Op op, Wait wait) {
  if (stream.capture) {
    if (wait == Wait::NO) return capture_op(stream, std::move(op));
    stream.capture->spoiled = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  CUresult error;
  if (stream.is_null()) {
    error = submit_null(stream, op);
    // What the call itself did wrong is said at once.
    if (error && !is_sticky(error)) return error;
  } else if (config().lazy && wait == Wait::NO) {
    stream.queue.push_back(std::move(op));
    return CUDA_SUCCESS;
  } else {
    flush(stream);
    error = run_op(stream, op);
  }
  return wait == Wait::YES ? error : CUDA_SUCCESS;
}

CUresult synchronize(Stream &stream, uint64_t until) {
  if (stream.capture) {
    stream.capture->spoiled = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return flush(stream, until);
}

void release_streams(Context &context) {
  leave_capture(*context.null_stream);
  for (const auto &stream : context.streams) {
    leave_capture(*stream);
    streams.erase(stream.get());
  }
  context.streams.clear();
}

static CUresult create(Context &context, CUstream *result, unsigned flags, int priority) {
  RETURN_IF(!result || flags & ~(unsigned)CU_STREAM_NON_BLOCKING, CUDA_ERROR_INVALID_VALUE);
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  stream->flags = flags;
  stream->priority = std::clamp(priority, -5, 0);
  context.streams.push_back(stream);
  streams[stream.get()] = stream;
  *result = (CUstream)stream.get();
  return CUDA_SUCCESS;
}

API(cuStreamCreate, (CUstream * result, unsigned flags)) {
  ENTER(CONTEXT);
  return create(*call.context, result, flags, 0);
}

API(cuStreamCreateWithPriority, (CUstream * result, unsigned flags, int priority)) {
  ENTER(CONTEXT);
  return create(*call.context, result, flags, priority);
}

API(cuStreamDestroy_v2, (CUstream handle)) {
  ENTER(CONTEXT);
  Stream *stream = find_created(handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  leave_capture(*stream);
  flush(*stream);  // destroying does not cancel
  auto &of_context = stream->context->streams;
  of_context.erase(std::find(of_context.begin(), of_context.end(), stream->shared_from_this()));
  streams.erase(stream);
  return CUDA_SUCCESS;
}

API(cuStreamSynchronize, (CUstream handle)) {
  ENTER(CONTEXT);
  Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  if (!stream->is_null()) return synchronize(*stream);
  for (const auto &other : call.context->streams)
    if (other->blocks() && !other->capture) flush(*other);
  return call.context->broken;
}

API(cuStreamQuery, (CUstream handle)) {
  ENTER(CONTEXT);
  Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(stream->capture, synchronize(*stream));
  RETURN_IF(stream->queue.empty(), CUDA_SUCCESS);
  progress(*stream);
  return CUDA_ERROR_NOT_READY;
}

API(cuStreamGetFlags, (CUstream handle, unsigned *flags)) {
  ENTER(CONTEXT);
  const Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  *flags = stream->flags;
  return CUDA_SUCCESS;
}

API(cuStreamGetPriority, (CUstream handle, int *priority)) {
  ENTER(CONTEXT);
  const Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  *priority = stream->priority;
  return CUDA_SUCCESS;
}

API(cuStreamGetCtx, (CUstream handle, CUcontext *result)) {
  ENTER(CONTEXT);
  const Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  *result = (CUcontext)stream->context;
  return CUDA_SUCCESS;
}

API(cuLaunchHostFunc, (CUstream handle, CUhostFn function, void *data)) {
  ENTER(CONTEXT);
  Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!function, CUDA_ERROR_INVALID_VALUE);
  Op op{CU_GRAPH_NODE_TYPE_HOST, nullptr, [=] {
          function(data);
          return CUDA_SUCCESS;
        }};
  return submit(*stream, std::move(op), Wait::NO);
}
