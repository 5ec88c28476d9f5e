// Capture of streams into graphs, and graphs themselves.
#include "graph.h"

#include <algorithm>
#include <unordered_set>

#include "module.h"

std::vector<std::shared_ptr<Capture>> captures;

namespace {

struct GraphExec {
  // Shared with the launches that wait in lazy streams: a change makes a copy.
  std::shared_ptr<std::vector<Op>> ops = std::make_shared<std::vector<Op>>();
  std::unordered_map<const Node *, size_t> place;  // in ops, by the node it was made from
};

Handles<Graph> graphs;
Handles<GraphExec> execs;
std::unordered_set<const Node *> live_nodes;

Node *append(Graph &graph, Op op, std::vector<Node *> after) {
  graph.nodes.push_back(std::unique_ptr<Node>(new Node{std::move(op), std::move(after)}));
  live_nodes.insert(graph.nodes.back().get());
  return graph.nodes.back().get();
}

Node *find_node(CUgraphNode handle) { return live_nodes.count((Node *)handle) ? (Node *)handle : nullptr; }

void forget_nodes(const Graph &graph) {
  for (const auto &node : graph.nodes) live_nodes.erase(node.get());
}

// unjoined tells whether nodes of the capture are left that its origin does not follow.
bool unjoined(const Capture &capture) {
  std::unordered_set<const Node *> joined;
  std::vector<Node *> open = capture.origin->last;
  while (!open.empty()) {
    Node *node = open.back();
    open.pop_back();
    if (joined.insert(node).second) open.insert(open.end(), node->after.begin(), node->after.end());
  }
  return joined.size() != capture.graph.nodes.size();
}

void end_capture(const std::shared_ptr<Capture> &capture) {
  for (Stream *stream : capture->streams) {
    stream->capture.reset();
    stream->last.clear();
  }
  capture->streams.clear();
  captures.erase(std::find(captures.begin(), captures.end(), capture));
}

}  // namespace

CUresult capture_op(Stream &stream, Op op) {
  RETURN_IF(stream.capture->spoiled, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  stream.last = {append(stream.capture->graph, std::move(op), stream.last)};
  return CUDA_SUCCESS;
}

void join_capture(Stream &stream, const std::shared_ptr<Capture> &capture, const std::vector<Node *> &nodes) {
  if (!stream.capture) {
    stream.capture = capture;
    capture->streams.push_back(&stream);
  }
  for (Node *node : nodes)
    if (std::find(stream.last.begin(), stream.last.end(), node) == stream.last.end()) stream.last.push_back(node);
}

void leave_capture(Stream &stream) {
  const auto capture = stream.capture;
  if (!capture) return;
  capture->spoiled = true;
  if (capture->origin == &stream) {
    forget_nodes(capture->graph);
    end_capture(capture);
    return;
  }
  auto &streams = capture->streams;
  streams.erase(std::find(streams.begin(), streams.end(), &stream));
  stream.capture.reset();
}

API(cuStreamBeginCapture_v2, (CUstream handle, CUstreamCaptureMode mode)) {
  ENTER(CONTEXT);
  Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(stream->is_null(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  RETURN_IF(stream->capture, CUDA_ERROR_ILLEGAL_STATE);
  auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  captures.push_back(capture);
  join_capture(*stream, capture, {});
  return CUDA_SUCCESS;
}

API(cuStreamEndCapture, (CUstream handle, CUgraph *result)) {
  ENTER(CONTEXT);
  Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!result, CUDA_ERROR_INVALID_VALUE);
  const auto capture = stream->capture;
  RETURN_IF(!capture, CUDA_ERROR_ILLEGAL_STATE);
  RETURN_IF(capture->origin != stream, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  RETURN_IF(capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id(),
            CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  *result = nullptr;
  CUresult error = CUDA_SUCCESS;
  if (capture->spoiled)
    error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  else if (unjoined(*capture))
    error = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  end_capture(capture);
  if (error) {
    forget_nodes(capture->graph);
    return error;
  }
  *result = (CUgraph)graphs.add(std::make_unique<Graph>(std::move(capture->graph)));
  return CUDA_SUCCESS;
}

static CUstreamCaptureStatus capture_status(const Stream &stream) {
  if (!stream.capture) return CU_STREAM_CAPTURE_STATUS_NONE;
  return stream.capture->spoiled ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

API(cuStreamIsCapturing, (CUstream handle, CUstreamCaptureStatus *status)) {
  ENTER(CONTEXT);
  const Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!status, CUDA_ERROR_INVALID_VALUE);
  *status = capture_status(*stream);
  return CUDA_SUCCESS;
}

// The nodes that the next one will follow: of a stream that did not wait for
// another, the one that its last call made.
API(cuStreamGetCaptureInfo_v2, (CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                                const CUgraphNode **dependencies, size_t *count)) {
  ENTER(CONTEXT);
  const Stream *stream = find_stream(*call.context, handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  RETURN_IF(!status || graph, CUDA_ERROR_INVALID_VALUE);
  *status = capture_status(*stream);
  RETURN_IF(*status != CU_STREAM_CAPTURE_STATUS_ACTIVE, CUDA_SUCCESS);
  if (id) *id = (cuuint64_t)(uintptr_t)stream->capture.get();
  if (dependencies) *dependencies = (const CUgraphNode *)stream->last.data();
  if (count) *count = stream->last.size();
  return CUDA_SUCCESS;
}

// Graphs.

API(cuGraphCreate, (CUgraph * result, unsigned flags)) {
  ENTER(INIT);
  RETURN_IF(!result || flags, CUDA_ERROR_INVALID_VALUE);
  *result = (CUgraph)graphs.add(std::make_unique<Graph>());
  return CUDA_SUCCESS;
}

API(cuGraphDestroy, (CUgraph handle)) {
  ENTER(INIT);
  const Graph *graph = graphs.find(handle);
  RETURN_IF(!graph, CUDA_ERROR_INVALID_VALUE);
  forget_nodes(*graph);
  graphs.remove(handle);
  return CUDA_SUCCESS;
}

// With nodes null, *count becomes the number of nodes; otherwise at most *count
// nodes are written, null behind the last.
API(cuGraphGetNodes, (CUgraph handle, CUgraphNode *nodes, size_t *count)) {
  ENTER(INIT);
  const Graph *graph = graphs.find(handle);
  RETURN_IF(!graph || !count, CUDA_ERROR_INVALID_VALUE);
  const size_t all = graph->nodes.size();
  for (size_t i = 0; nodes && i < *count; i++) nodes[i] = i < all ? (CUgraphNode)graph->nodes[i].get() : nullptr;
  *count = nodes ? std::min(*count, all) : all;
  return CUDA_SUCCESS;
}

API(cuGraphNodeGetType, (CUgraphNode handle, CUgraphNodeType *type)) {
  ENTER(INIT);
  const Node *node = find_node(handle);
  RETURN_IF(!node || !type, CUDA_ERROR_INVALID_VALUE);
  *type = node->op.type;
  return CUDA_SUCCESS;
}

// CUDA_KERNEL_NODE_PARAMS: CUDA 12 made the structure longer.
struct KernelParams {
  CUfunction function;
  unsigned grid[3], block[3], shared_bytes;
  void **values, **extra;
};
struct KernelParams2 : KernelParams {
  void *kernel;
  CUcontext context;
};

static CUresult get_params(CUgraphNode handle, KernelParams *params) {
  const Node *node = find_node(handle);
  RETURN_IF(!node || !node->op.launch || !params, CUDA_ERROR_INVALID_VALUE);
  const Launch &l = *node->op.launch;
  *params = {(CUfunction)l.function,
             {l.grid.x, l.grid.y, l.grid.z},
             {l.block.x, l.block.y, l.block.z},
             l.shared_bytes,
             const_cast<void **>(l.arguments.data()),
             nullptr};
  return CUDA_SUCCESS;
}

API(cuGraphKernelNodeGetParams, (CUgraphNode node, KernelParams *params)) {
  ENTER(INIT);
  return get_params(node, params);
}

API(cuGraphKernelNodeGetParams_v2, (CUgraphNode node, KernelParams2 *params)) {
  ENTER(INIT);
  if (CUresult error = get_params(node, params)) return error;
  params->kernel = nullptr;
  params->context = nullptr;
  return CUDA_SUCCESS;
}

static CUresult make_launch(Context &context, const KernelParams *p, std::shared_ptr<const Launch> *launch) {
  RETURN_IF(!p, CUDA_ERROR_INVALID_VALUE);
  RETURN_IF(p->extra, CUDA_ERROR_NOT_SUPPORTED);
  return make_launch(context, p->function, {p->grid[0], p->grid[1], p->grid[2]}, {p->block[0], p->block[1], p->block[2]},
                     p->shared_bytes, p->values, launch);
}

static CUresult set_params(Context &context, CUgraphNode handle, const KernelParams *params) {
  Node *node = find_node(handle);
  RETURN_IF(!node || !node->op.launch, CUDA_ERROR_INVALID_VALUE);
  return make_launch(context, params, &node->op.launch);
}

API(cuGraphKernelNodeSetParams, (CUgraphNode node, const KernelParams *params)) {
  ENTER(CONTEXT);
  return set_params(*call.context, node, params);
}

API(cuGraphKernelNodeSetParams_v2, (CUgraphNode node, const KernelParams2 *params)) {
  ENTER(CONTEXT);
  return set_params(*call.context, node, params);
}

// Graphs made ready to launch.

static CUresult instantiate(CUgraphExec *result, CUgraph handle) {
  const Graph *graph = graphs.find(handle);
  RETURN_IF(!graph || !result, CUDA_ERROR_INVALID_VALUE);
  auto exec = std::make_unique<GraphExec>();
  for (const auto &node : graph->nodes) {
    exec->place[node.get()] = exec->ops->size();
    exec->ops->push_back(node->op);
  }
  *result = (CUgraphExec)execs.add(std::move(exec));
  return CUDA_SUCCESS;
}

API(cuGraphInstantiateWithFlags, (CUgraphExec * result, CUgraph graph, unsigned long long)) {
  ENTER(CONTEXT);
  return instantiate(result, graph);
}

// The form of CUDA 11, which reports a failed node in a text.
API(cuGraphInstantiate_v2, (CUgraphExec * result, CUgraph graph, CUgraphNode *failed, char *log, size_t log_bytes)) {
  ENTER(CONTEXT);
  if (failed) *failed = nullptr;
  if (log && log_bytes) *log = 0;
  return instantiate(result, graph);
}

API(cuGraphExecDestroy, (CUgraphExec handle)) {
  ENTER(INIT);
  return execs.remove(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API(cuGraphUpload, (CUgraphExec handle, CUstream stream)) {
  ENTER(CONTEXT);
  RETURN_IF(!execs.find(handle), CUDA_ERROR_INVALID_VALUE);
  return find_stream(*call.context, stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

API(cuGraphLaunch, (CUgraphExec handle, CUstream stream_handle)) {
  ENTER(CONTEXT);
  const GraphExec *exec = execs.find(handle);
  RETURN_IF(!exec, CUDA_ERROR_INVALID_VALUE);
  Stream *stream = find_stream(*call.context, stream_handle);
  RETURN_IF(!stream, CUDA_ERROR_INVALID_HANDLE);
  Op op{CU_GRAPH_NODE_TYPE_GRAPH, nullptr, [ops = exec->ops] {
          for (const Op &o : *ops)
            if (CUresult error = o.run()) return error;
          return CUDA_SUCCESS;
        }};
  return submit(*stream, std::move(op), Wait::NO);
}

// change gives the exec's op at a node a new launch. What was launched before keeps
// the old one.
static CUresult change(Context &context, CUgraphExec handle, CUgraphNode node, const KernelParams *params) {
  GraphExec *exec = execs.find(handle);
  RETURN_IF(!exec || !find_node(node), CUDA_ERROR_INVALID_VALUE);
  const auto place = exec->place.find((Node *)node);
  RETURN_IF(place == exec->place.end() || !(*exec->ops)[place->second].launch, CUDA_ERROR_INVALID_VALUE);
  std::shared_ptr<const Launch> launch;
  if (CUresult error = make_launch(context, params, &launch)) return error;
  if (exec->ops.use_count() > 1) exec->ops = std::make_shared<std::vector<Op>>(*exec->ops);
  (*exec->ops)[place->second].launch = launch;
  return CUDA_SUCCESS;
}

API(cuGraphExecKernelNodeSetParams, (CUgraphExec exec, CUgraphNode node, const KernelParams *params)) {
  ENTER(CONTEXT);
  return change(*call.context, exec, node, params);
}

API(cuGraphExecKernelNodeSetParams_v2, (CUgraphExec exec, CUgraphNode node, const KernelParams2 *params)) {
  ENTER(CONTEXT);
  return change(*call.context, exec, node, params);
}
