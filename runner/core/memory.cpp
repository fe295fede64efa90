#include "runner/core/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/size.h"

namespace assay {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::string Word(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

}  // namespace

Pages::Pages(std::size_t bytes) : bytes_(bytes + kHugePage) {
  mapped_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped_ == MAP_FAILED) {
    throw Error(fmt::format("{} bytes of memory can't be had ({}); give smaller bytes", bytes,
                            std::strerror(errno)));
  }
  madvise(mapped_, bytes_, MADV_HUGEPAGE);  // HugePagePercent shows whether it was granted
  const auto address = reinterpret_cast<std::uintptr_t>(mapped_);
  begin_ = static_cast<std::byte*>(mapped_) + (kHugePage - address % kHugePage) % kHugePage;
}
Pages::~Pages() {
  if (mapped_ != nullptr) munmap(mapped_, bytes_);
}

std::optional<std::int64_t> Pages::HugePagePercent() const {
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped_);
  std::ifstream smaps("/proc/self/smaps");
  std::int64_t huge = 0;
  std::int64_t resident = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    std::int64_t kibibytes = 0;
    if (std::sscanf(line.c_str(), "%zx-%zx ", &from, &to) == 2) {
      ours = from < begin + bytes_ && begin < to;
    } else if (ours && std::sscanf(line.c_str(), "Rss: %zd kB", &kibibytes) == 1) {
      resident += kibibytes;
    } else if (ours && std::sscanf(line.c_str(), "AnonHugePages: %zd kB", &kibibytes) == 1) {
      huge += kibibytes;
    }
  }
  if (resident == 0) return std::nullopt;
  return 100 * huge / resident;
}

Descriptor MemoryFile(const char* name) {
  // The seal, since Linux 6.3, of memory that is never run as a program. A system may be set to
  // allow no other memory.
  constexpr unsigned kNoExecSeal = 0x8;  // MFD_NOEXEC_SEAL
  Descriptor made(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExecSeal));
  if (made.IsOpen() || errno != EINVAL) return made;
  return Descriptor(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

std::int64_t LastLevelCacheBytes(const std::string& root) {
  namespace fs = std::filesystem;
  int last = 0;
  std::map<std::string, std::int64_t> caches;  // last-level caches, by the CPUs that share them
  for (const fs::path& cpu : EntriesOf(fs::path(root) / "sys/devices/system/cpu")) {
    for (const fs::path& index : EntriesOf(cpu / "cache")) {
      const std::string type = Word(index / "type");
      const int level = std::atoi(Word(index / "level").c_str());
      if (type == "Instruction" || level == 0 || level < last) continue;
      const std::string size = Word(index / "size");  // "32768K"; a machine may not tell it
      if (size.empty()) continue;
      if (level > last) caches.clear();
      last = level;
      caches[Word(index / "shared_cpu_list")] = ParseSize(size, (index / "size").string());
    }
  }
  return std::accumulate(caches.begin(), caches.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& cache) { return sum + cache.second; });
}

}  // namespace assay
