// Graphs: recorded work.
#pragma once
#include <cuda.h>

#include <memory>
#include <thread>
#include <vector>

#include "stream.h"

struct Node {
  Op op;
  std::vector<Node *> after;  // the nodes that it follows
};

struct Graph {
  // In the order of capture, so that each node stands behind those it follows.
  std::vector<std::unique_ptr<Node>> nodes;
};

struct Capture {
  Graph graph;
  Stream *origin = nullptr;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread;          // that began it
  bool spoiled = false;            // by a call that cannot be captured
  std::vector<Stream *> streams;   // in it, the origin first
};

// captures are those that go on.
extern std::vector<std::shared_ptr<Capture>> captures;

// capture_op appends a node to the graph of a stream that is being captured.
CUresult capture_op(Stream &stream, Op op);
// join_capture makes the stream continue behind nodes of the capture.
void join_capture(Stream &stream, const std::shared_ptr<Capture> &capture, const std::vector<Node *> &nodes);
// leave_capture takes a stream that ceases to be out of its capture.
void leave_capture(Stream &stream);
