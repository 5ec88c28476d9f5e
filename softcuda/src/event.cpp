// Events: marks in streams, which other streams and the program wait for.
#include "event.h"

#include <algorithm>

#include "graph.h"

static std::unordered_map<Event *, std::shared_ptr<Event>> events;

static Event *find(CUevent handle) {
  const auto i = events.find((Event *)handle);
  return i == events.end() ? nullptr : i->second.get();
}

void release_events(Context &context) {
  for (auto i = events.begin(); i != events.end();) i = i->second->context == &context ? events.erase(i) : std::next(i);
}

API(cuEventCreate, (CUevent * result, unsigned flags)) {
  ENTER(CONTEXT);
  RETURN_IF(!result, CUDA_ERROR_INVALID_VALUE);
  auto event = std::make_shared<Event>();
  event->context = call.context;
  event->flags = flags;
  *result = (CUevent)event.get();
  events[event.get()] = event;
  return CUDA_SUCCESS;
}

API(cuEventDestroy_v2, (CUevent handle)) {
  ENTER(CONTEXT);
  return events.erase((Event *)handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult record(Context &context, CUevent handle, CUstream stream_handle) {
  Event *event = find(handle);
  Stream *stream = find_stream(context, stream_handle);
  RETURN_IF(!event || !stream || event->context != &context, CUDA_ERROR_INVALID_HANDLE);
  if (stream->capture) {
    event->capture = stream->capture;
    event->last = stream->last;
    return CUDA_SUCCESS;
  }
  event->capture.reset();
  event->stream = stream->shared_from_this();
  // The op keeps the event alive: it may be destroyed before it happens.
  Op op{CU_GRAPH_NODE_TYPE_EVENT_RECORD, nullptr, [event = event->shared_from_this()] {
          event->time = std::chrono::steady_clock::now();
          return CUDA_SUCCESS;
        }};
  const CUresult error = submit(*stream, std::move(op), Wait::NO);
  event->position = stream->done + stream->queue.size();
  return error;
}

API(cuEventRecord, (CUevent handle, CUstream stream)) {
  ENTER(CONTEXT);
  return record(*call.context, handle, stream);
}

API(cuEventRecordWithFlags, (CUevent handle, CUstream stream, unsigned flags)) {
  ENTER(CONTEXT);
  RETURN_IF(flags, CUDA_ERROR_NOT_SUPPORTED);
  return record(*call.context, handle, stream);
}

API(cuEventQuery, (CUevent handle)) {
  ENTER(CONTEXT);
  const Event *event = find(handle);
  RETURN_IF(!event, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(event->capture, CUDA_ERROR_CAPTURED_EVENT);
  RETURN_IF(event->happened(), CUDA_SUCCESS);
  progress(*event->stream);
  return CUDA_ERROR_NOT_READY;
}

API(cuEventSynchronize, (CUevent handle)) {
  ENTER(CONTEXT);
  const Event *event = find(handle);
  RETURN_IF(!event, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(event->capture, CUDA_ERROR_CAPTURED_EVENT);
  return event->stream ? flush(*event->stream, event->position) : CUDA_SUCCESS;
}

static CUresult elapsed(float *milliseconds, CUevent from, CUevent to) {
  RETURN_IF(!milliseconds, CUDA_ERROR_INVALID_VALUE);
  for (CUevent handle : {from, to}) {
    const Event *event = find(handle);
    RETURN_IF(!event || !event->stream || event->flags & CU_EVENT_DISABLE_TIMING, CUDA_ERROR_INVALID_HANDLE);
    RETURN_IF(!event->happened(), CUDA_ERROR_NOT_READY);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(find(to)->time - find(from)->time).count();
  return CUDA_SUCCESS;
}

API(cuEventElapsedTime, (float *milliseconds, CUevent from, CUevent to)) {
  ENTER(CONTEXT);
  return elapsed(milliseconds, from, to);
}

API(cuEventElapsedTime_v2, (float *milliseconds, CUevent from, CUevent to)) {
  ENTER(CONTEXT);
  return elapsed(milliseconds, from, to);
}

// wait_captured continues a stream behind nodes of a capture, which a stream that
// waits for an event of the capture enters.
static CUresult wait_captured(Stream &stream, const Event &event) {
  const auto &capture = event.capture;
  if (std::find(captures.begin(), captures.end(), capture) == captures.end()) return CUDA_ERROR_CAPTURED_EVENT;
  if (stream.capture && stream.capture != capture) {
    stream.capture->spoiled = capture->spoiled = true;
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  }
  RETURN_IF(stream.is_null(), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  join_capture(stream, capture, event.last);
  return CUDA_SUCCESS;
}

API(cuStreamWaitEvent, (CUstream stream_handle, CUevent handle, unsigned flags)) {
  ENTER(CONTEXT);
  const Event *event = find(handle);
  Stream *stream = find_stream(*call.context, stream_handle);
  RETURN_IF(!event || !stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(flags, CUDA_ERROR_NOT_SUPPORTED);
  if (event->capture) return wait_captured(*stream, *event);
  if (stream->capture) {
    stream->capture->spoiled = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (!event->stream) return CUDA_SUCCESS;
  Op op{CU_GRAPH_NODE_TYPE_WAIT_EVENT, nullptr, [other = event->stream, position = event->position] {
          return flush(*other, position);
        }};
  return submit(*stream, std::move(op), Wait::NO);
}
