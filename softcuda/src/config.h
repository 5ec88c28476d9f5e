// What the environment variables say. README.md lists them.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>

struct Config {
  int workers;         // OS threads that run blocks
  size_t stack_bytes;  // of each thread of a block
  bool lazy;           // work waits in its stream until something waits for it
  bool poison;         // fresh memory and shared memory are filled with 0xff
  size_t align;        // of allocations, in bytes
  // The order in which a block's threads run: "asc", "desc", or "r" and a seed.
  bool descending;
  uint32_t shuffle_seed;  // 0: not shuffled
  int devices;
  size_t memory;  // bytes per device
  int multiprocessors;
  int driver_version;      // as cuDriverGetVersion says it: 12040
  int compute_capability;  // 90
  uint64_t fail_call;      // the driver call to fail; 0 for none
  int fail_code;
  std::string trace;    // the file that gets each call's number and name; "" for none
  std::string kernels;  // kernel libraries, separated by colons
};

// config is read once, at the first call. A value that cannot be read ends the
// process with a message.
const Config &config();
