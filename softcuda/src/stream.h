// Streams, and the work in them.
#pragma once
#include <cuda.h>
#include <stdint.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "driver.h"
#include "launch.h"

struct Capture;
struct Node;

// Op is one piece of work: of a stream, or of a node of a graph.
struct Op {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  std::shared_ptr<const Launch> launch;  // of a kernel node
  std::function<CUresult()> work;        // of any other

  CUresult run() const { return launch ? ::run(*launch) : work ? work() : CUDA_SUCCESS; }
};

struct Stream : std::enable_shared_from_this<Stream> {
  Context *context = nullptr;
  unsigned flags = 0;
  int priority = 0;
  std::deque<Op> queue;  // what waits; empty unless the driver is lazy
  uint64_t done = 0;     // ops that ran
  std::shared_ptr<Capture> capture;  // null unless it is being captured
  std::vector<Node *> last;          // nodes of the capture that the next one follows

  bool is_null() const { return context->null_stream.get() == this; }
  bool blocks() const { return !(flags & CU_STREAM_NON_BLOCKING); }  // waits for the null stream, and it for this
};

// find_stream finds a stream of the context, null for none. 0 is the null stream;
// so are CU_STREAM_LEGACY and CU_STREAM_PER_THREAD.
Stream *find_stream(const Context &context, CUstream handle);

// submit runs an op, or queues it where the driver is lazy, or makes it a node of
// the graph being captured. With wait, the op has run when submit returns, and its
// error is returned; otherwise it is found in the context, as it would be later.
enum class Wait { NO, YES };
CUresult submit(Stream &stream, Op op, Wait wait);

// flush runs what waits in a stream, or its ops up to number until.
CUresult flush(Stream &stream, uint64_t until = UINT64_MAX);
CUresult flush_all(Context &context);
// progress runs one op, for a program that polls.
void progress(Stream &stream);

// synchronize is flush for a program that waits: it may not wait for a capture.
CUresult synchronize(Stream &stream, uint64_t until = UINT64_MAX);

// refuse_while_capturing returns an error, and spoils the captures, where a call
// that may wait for the device meets a capture whose mode forbids it.
CUresult refuse_while_capturing(Context &context);

void release_streams(Context &context);
