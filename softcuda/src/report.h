// Messages about what is wrong with the program under test.
#pragma once
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

// report prints a line to stderr and counts it. softcuda_reports returns the count.
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

// format is printf into a string.
std::string format(const char *format, ...) __attribute__((format(printf, 1, 2)));

// source_line names the source line of an address in code as "file:line", or as
// "library+offset" where there is no debug information or no addr2line.
std::string source_line(const void *code);
