#include "report.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <atomic>

namespace {
// A wrong kernel may do the same wrong thing in every thread.
const int printed_at_most = 200;
std::atomic<int> reports{0};

std::string vformat(const char *format, va_list arguments) {
  char text[2048];
  vsnprintf(text, sizeof text, format, arguments);
  return text;
}
}  // namespace

std::string format(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string s = vformat(format, arguments);
  va_end(arguments);
  return s;
}

void report(const char *format, ...) {
  const int before = reports.fetch_add(1);
  if (before >= printed_at_most) return;
  va_list arguments;
  va_start(arguments, format);
  const std::string text = vformat(format, arguments);
  va_end(arguments);
  // One call, so that lines of several OS threads do not mix.
  fprintf(stderr, "softcuda: %s%s\n", text.c_str(), before + 1 == printed_at_most ? " (later reports are only counted)" : "");
}

std::string source_line(const void *code) {
  Dl_info info;
  if (!dladdr(code, &info) || !info.dli_fname) return format("%p", code);
  const unsigned long offset = (unsigned long)((uintptr_t)code - (uintptr_t)info.dli_fbase);
  // -i also names the functions into which the code was inlined, outwards. The
  // shim's own lines say nothing about the program.
  const std::string command = format("addr2line -s -i -e '%s' 0x%lx 2>/dev/null", info.dli_fname, offset);
  std::string line;
  if (FILE *pipe = popen(command.c_str(), "r")) {
    char text[512];
    while (fgets(text, sizeof text, pipe)) {
      if (!line.empty()) continue;  // read on, so that addr2line can end
      line = text;
      line = line.substr(0, line.find_first_of(" \n"));
      if (line[0] == '?' || line.compare(0, 9, "softcuda_") == 0) line.clear();
    }
    pclose(pipe);
  }
  return line.empty() ? format("%s+0x%lx", info.dli_fname, offset) : line;
}

// softcuda_reports returns how many reports there were since its last call.
EXPORT int softcuda_reports() { return reports.exchange(0); }
