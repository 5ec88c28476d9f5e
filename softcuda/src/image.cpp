// Reads PTX and cubin files: the kernels' names and parameters, and for which
// driver and device they are.
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "config.h"
#include "module.h"
#include "report.h"

namespace {

// The CUDA version, as 1000 * major + 10 * minor, that brought a version of PTX
// (PTX ISA, release notes).
int cuda_version_of_ptx(int major, int minor) {
  if (major >= 9) return 1000 * (major + 4) + 10 * minor;  // 9.0: 13.0
  if (major == 8) return 12000 + 10 * (minor >= 6 ? minor + 1 : minor);  // 8.5: 12.5, 8.6: 12.7
  if (major == 7) return 11000 + 10 * minor;
  if (major == 6 && minor >= 3) return 10000 + 10 * (minor - 3);
  return 9000;
}

std::string without_comments(const char *at) {
  std::string text;
  while (*at) {
    if (!strncmp(at, "//", 2)) {
      at += strcspn(at, "\n");
    } else if (!strncmp(at, "/*", 2)) {
      const char *end = strstr(at, "*/");
      at = end ? end + 2 : at + strlen(at);
    } else {
      text += *at++;
    }
  }
  return text;
}

// The next word or punctuation mark; empty at the end.
std::string next_token(const char *&at) {
  at += strspn(at, " \t\r\n");
  const size_t word = strcspn(at, " \t\r\n()[]{},;");
  const std::string token(at, word ? word : *at != 0);
  at += token.size();
  return token;
}

// The size of ".u64" or ".b8"; 0 if it is no type with a size.
uint32_t type_bytes(const std::string &token) {
  if (token.size() < 3 || token[0] != '.' || !strchr("busf", token[1])) return 0;
  char *end;
  const unsigned long bits = strtoul(token.c_str() + 2, &end, 10);
  return *end ? 0 : (uint32_t)(bits / 8);
}

// Parameters: ( .param .u64 name, .param .align 8 .b8 name[24] ).
bool parse_parameters(const char *&at, ImageKernel &kernel) {
  uint32_t bytes = 0, count = 1;
  for (;;) {
    const std::string token = next_token(at);
    if (token.empty()) return false;
    if (token == ".align") {
      next_token(at);
    } else if (uint32_t n = type_bytes(token)) {
      bytes = n;
    } else if (token == "[") {
      count = (uint32_t)strtoul(next_token(at).c_str(), nullptr, 10);
    } else if (token == "," || token == ")") {
      if (bytes) kernel.sizes.push_back(bytes * count);
      bytes = 0, count = 1;
      if (token == ")") return true;
    }
  }
}

// What stands between the parameters and the body: .maxntid 256, 1, 1.
bool parse_directives(const char *&at, ImageKernel &kernel) {
  std::string token = next_token(at);
  while (token != "{") {
    if (token.empty()) return false;
    if (token != ".maxntid") {
      token = next_token(at);
      continue;
    }
    kernel.max_threads = 1;
    do {
      kernel.max_threads *= (uint32_t)strtoul(next_token(at).c_str(), nullptr, 10);
      token = next_token(at);
    } while (token == ",");
  }
  return true;
}

CUresult check_ptx_versions(const char *ptx) {
  int major = 0, minor = 0, sm = 0;
  const char *version = strstr(ptx, ".version "), *target = strstr(ptx, ".target sm_");
  if (!version || sscanf(version, ".version %d.%d", &major, &minor) != 2 || !target ||
      sscanf(target, ".target sm_%d", &sm) != 1) {
    report("PTX without .version or .target");
    return CUDA_ERROR_INVALID_PTX;
  }
  if (cuda_version_of_ptx(major, minor) > config().driver_version) {
    report("PTX %d.%d needs a driver of version %d, this one has %d", major, minor, cuda_version_of_ptx(major, minor),
           config().driver_version);
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  if (sm > config().compute_capability) {
    report("PTX for sm_%d, the device is sm_%d", sm, config().compute_capability);
    return CUDA_ERROR_INVALID_PTX;
  }
  return CUDA_SUCCESS;
}

CUresult parse_ptx(const char *image, std::vector<ImageKernel> *kernels) {
  const std::string ptx = without_comments(image);
  if (CUresult error = check_ptx_versions(ptx.c_str())) return error;
  for (const char *at = ptx.c_str(); (at = strstr(at, ".entry"));) {
    at += strlen(".entry");
    ImageKernel kernel;
    kernel.name = next_token(at);
    const char *mark = at;
    const bool parameters = next_token(mark) == "(";
    if (parameters) at = mark;
    if ((parameters && !parse_parameters(at, kernel)) || !parse_directives(at, kernel)) {
      report("PTX ends within kernel %s", kernel.name.c_str());
      return CUDA_ERROR_INVALID_PTX;
    }
    kernels->push_back(std::move(kernel));
  }
  return CUDA_SUCCESS;
}

// The device that a cubin is for, as 10 * major + minor. Since version 8 of the
// format it stands one byte higher.
int cubin_sm(const Elf64_Ehdr &header) {
  return header.e_ident[EI_ABIVERSION] >= 8 ? header.e_flags >> 8 & 0xff : header.e_flags & 0xff;
}

const unsigned cuda_machine = 190;  // EM_CUDA

// Attributes of a kernel, from its section .nv.info.NAME. The format is NVIDIA's
// and not documented; the numbers are those that cuobjdump -elf prints.
void parse_attributes(const char *at, const char *end, ImageKernel &kernel) {
  const uint8_t with_size = 4, parameter_info = 0x17, max_threads = 0x05;
  while (end - at >= 4) {
    const uint8_t format = (uint8_t)at[0], attribute = (uint8_t)at[1];
    uint16_t bytes;
    memcpy(&bytes, at + 2, 2);
    at += 4;
    if (format != with_size) continue;  // the two bytes are the value
    if (bytes > end - at) return;
    uint32_t words[3] = {};
    memcpy(words, at, std::min<size_t>(bytes, sizeof words));
    if (attribute == max_threads) kernel.max_threads = words[0] * words[1] * words[2];
    if (attribute == parameter_info) {
      const uint32_t ordinal = words[1] & 0xffff, size = words[2] >> 18;
      if (kernel.sizes.size() <= ordinal) kernel.sizes.resize(ordinal + 1);
      kernel.sizes[ordinal] = size;
    }
    at += bytes;
  }
}

CUresult parse_cubin(const char *image, std::vector<ImageKernel> *kernels) {
  const auto &header = *(const Elf64_Ehdr *)image;
  if (header.e_machine != cuda_machine) {
    report("the image is an ELF file for machine %u, not a cubin", header.e_machine);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  const int sm = cubin_sm(header), cc = config().compute_capability;
  if (sm / 10 != cc / 10 || sm > cc) {
    report("cubin for sm_%d, the device is sm_%d", sm, cc);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  const auto *sections = (const Elf64_Shdr *)(image + header.e_shoff);
  const char *names = image + sections[header.e_shstrndx].sh_offset;
  for (int i = 0; i < header.e_shnum; i++) {
    const char *name = names + sections[i].sh_name;
    if (strncmp(name, ".nv.info.", 9)) continue;
    ImageKernel kernel;
    kernel.name = name + 9;
    const char *data = image + sections[i].sh_offset;
    parse_attributes(data, data + sections[i].sh_size, kernel);
    kernels->push_back(std::move(kernel));
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult parse_image(const char *image, std::vector<ImageKernel> *kernels) {
  if (!memcmp(image, ELFMAG, SELFMAG)) return parse_cubin(image, kernels);
  if (strstr(image, ".version")) return parse_ptx(image, kernels);
  report("the image is neither PTX nor a cubin");
  return CUDA_ERROR_INVALID_IMAGE;
}
