#pragma once
#include <chrono>
#include <memory>
#include <vector>

#include "stream.h"

struct Event : std::enable_shared_from_this<Event> {
  Context *context = nullptr;
  unsigned flags = 0;
  std::shared_ptr<Stream> stream;  // it was recorded in; null if never
  uint64_t position = 0;           // stream->done when it has happened
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<Capture> capture;  // if recorded during one
  std::vector<Node *> last;          // the nodes that it stands for

  bool happened() const { return !stream || stream->done >= position; }
};

void release_events(Context &context);
