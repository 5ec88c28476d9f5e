#include "library.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "config.h"
#include "report.h"

namespace {

std::vector<std::unique_ptr<Library>> libraries;
Library *loading;  // receives what its constructors register

// A range that is poisoned without need costs less than a call of memset.
const size_t merge_gap = 256;

// A file mapped for reading.
class File {
 public:
  explicit File(const std::string &path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd >= 0 && fstat(fd, &status) == 0) {
      void *map = mmap(nullptr, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
      if (map != MAP_FAILED) data = (const char *)map, bytes = (size_t)status.st_size;
    }
    if (fd >= 0) close(fd);
  }
  ~File() {
    if (data) munmap((void *)data, bytes);
  }
  const char *data = nullptr;
  size_t bytes = 0;
};

// g++ names a static variable of a function _ZZ<n><function>E<m><variable>,
// with more between if the function is not extern "C".
SharedArray parse_name(const char *symbol) {
  SharedArray a{symbol, symbol, "", 0, 0};
  if (strncmp(symbol, "_ZZ", 3)) return a;
  char *at;
  const unsigned long n = strtoul(symbol + 3, &at, 10);
  if (!n || strlen(at) < n + 1) return a;
  const char *rest = at + n;
  if (*rest != 'E') return a;
  a.function.assign(at, n);
  const unsigned long m = strtoul(rest + 1, &at, 10);
  if (m && strlen(at) >= m) a.name.assign(at, m);
  return a;
}

// read_arrays finds the thread-local variables in the symbol table.
void read_arrays(Library &library) {
  const File file(library.path);
  if (!file.data) return;
  const auto *header = (const ElfW(Ehdr) *)file.data;
  const auto *sections = (const ElfW(Shdr) *)(file.data + header->e_shoff);
  for (int i = 0; i < header->e_shnum; i++) {
    const auto &section = sections[i];
    if (section.sh_type != SHT_SYMTAB) continue;
    const char *names = file.data + sections[section.sh_link].sh_offset;
    const auto *symbols = (const ElfW(Sym) *)(file.data + section.sh_offset);
    for (size_t s = 0; s < section.sh_size / sizeof *symbols; s++) {
      const auto &symbol = symbols[s];
      if (ELF64_ST_TYPE(symbol.st_info) != STT_TLS || symbol.st_shndx == SHN_UNDEF || !symbol.st_size) continue;
      SharedArray array = parse_name(names + symbol.st_name);
      array.offset = symbol.st_value;
      array.bytes = symbol.st_size;
      library.arrays.push_back(array);
    }
  }
  std::sort(library.arrays.begin(), library.arrays.end(),
            [](const SharedArray &a, const SharedArray &b) { return a.offset < b.offset; });
}

// may_use tells whether a kernel may use an array, as far as is known. An array of a
// kernel is the kernel's. An array of another function can be used by all kernels of
// the files that the function is compiled in.
bool may_use(const Library &library, const HostKernel &kernel, const SharedArray &array) {
  if (array.function == kernel.name()) return true;
  if (library.kernels.count(array.function)) return false;
  const auto [first, last] = library.units.equal_range(array.symbol);
  return first == last || std::any_of(first, last, [&](const auto &u) { return u.second == kernel.entry->unit; });
}

// assign_arrays tells each kernel which arrays its blocks may use.
void assign_arrays(Library &library) {
  for (auto &[name, kernel] : library.kernels) {
    auto &ranges = kernel.shared;
    if (library.arrays.empty() && library.thread_bytes) ranges.push_back({0, library.thread_bytes});
    for (const SharedArray &a : library.arrays) {
      const bool own = a.function == name;
      if (own) kernel.static_shared_bytes += a.bytes;
      if (!may_use(library, kernel, a)) continue;
      kernel.arrays.push_back(&a);
      if (!ranges.empty() && a.offset - (ranges.back().first + ranges.back().second) <= merge_gap)
        ranges.back().second = a.offset + a.bytes - ranges.back().first;
      else
        ranges.push_back({a.offset, a.bytes});
    }
  }
}

struct Segment {
  const Library *library;
  Library *fill;  // gets begin, end and thread_bytes; null if only storage is wanted
  char *storage;
};

int visit_segments(dl_phdr_info *info, size_t, void *data) {
  auto &wanted = *(Segment *)data;
  if ((const char *)info->dlpi_addr != wanted.library->begin) return 0;
  wanted.storage = (char *)info->dlpi_tls_data;
  for (int i = 0; wanted.fill && i < info->dlpi_phnum; i++) {
    const auto &segment = info->dlpi_phdr[i];
    const char *end = wanted.library->begin + segment.p_vaddr + segment.p_memsz;
    if (segment.p_type == PT_LOAD) wanted.fill->end = std::max(wanted.fill->end, end);
    if (segment.p_type == PT_TLS) wanted.fill->thread_bytes = segment.p_memsz;
  }
  return 1;
}

}  // namespace

EXPORT void sc_register(const sc_kernel *kernel) {
  if (!loading) return;  // linked into the program: it says with SOFTCUDA_KERNELS what to use
  HostKernel &k = loading->kernels[kernel->name];
  if (k.entry) report("%s has two kernels named %s", loading->path.c_str(), kernel->name);
  k.entry = kernel;
  k.library = loading;
}

EXPORT void sc_register_shared(void (*touch)()) {
  if (loading) loading->touch.push_back(touch);
}

EXPORT void sc_register_array(const char *unit, const char *symbol) {
  if (loading) loading->units.insert({symbol, unit});
}

char *Library::thread_storage() const {
  // Looking it up takes microseconds, and nearly all launches are of one library.
  static thread_local const Library *last __attribute__((tls_model("initial-exec"))) = nullptr;
  static thread_local char *storage __attribute__((tls_model("initial-exec"))) = nullptr;
  if (last == this) return storage;
  for (auto f : touch) f();  // the loader allocates it at the first access
  Segment wanted{this, nullptr, nullptr};
  dl_iterate_phdr(visit_segments, &wanted);
  last = this;
  return storage = wanted.storage;
}

void HostKernel::poison_static_shared() const {
  if (shared.empty()) return;
  char *storage = library->thread_storage();
  for (const auto &[offset, bytes] : shared) memset(storage + offset, 0xff, bytes);
}

const Library *load_library(const std::string &path) {
  for (const auto &l : libraries)
    if (l->path == path) return l.get();
  auto library = std::make_unique<Library>();
  library->path = path;
  loading = library.get();
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  loading = nullptr;
  if (!handle) {
    report("%s", dlerror());
    return nullptr;
  }
  link_map *map;
  dlinfo(handle, RTLD_DI_LINKMAP, &map);
  library->begin = (const char *)map->l_addr;
  Segment wanted{library.get(), library.get(), nullptr};
  dl_iterate_phdr(visit_segments, &wanted);
  read_arrays(*library);
  assign_arrays(*library);
  libraries.push_back(std::move(library));
  return libraries.back().get();
}

bool load_libraries() {
  const std::string &paths = config().kernels;
  for (size_t from = 0; from < paths.size();) {
    const size_t to = std::min(paths.find(':', from), paths.size());
    if (to > from && !load_library(paths.substr(from, to - from))) return false;
    from = to + 1;
  }
  return true;
}

const HostKernel *find_kernel(const std::string &name) {
  for (const auto &l : libraries) {
    const auto k = l->kernels.find(name);
    if (k != l->kernels.end()) return &k->second;
  }
  return nullptr;
}
