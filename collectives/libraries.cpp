#include "collectives/libraries.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "collectives/asking.h"
#include "collectives/native.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/module.h"
#include "runner/core/threads.h"

namespace assay::collectives {
namespace {

// The collective with the values that `how` gives. Throws Error for a value that none may have.
Collective AsTold(Collective collective, const Params& how) {
  constexpr int kMost = 1'000'000'000;
  for (const auto& [name, value] : how) {
    if (name == "verify") {
      collective.verify = StringOf(how, name);
      const std::vector<std::string> known = {"none", "last", "random", "all"};
      if (std::ranges::find(known, collective.verify) == known.end()) {
        throw Error(
            fmt::format("verify is one of {}, not {}", fmt::join(known, ", "), collective.verify));
      }
    }
    for (const auto& [option, member] : {std::pair("skip", &Collective::skip),
                                         {"graph_operations", &Collective::graph_operations}}) {
      if (name != option) continue;
      const std::int64_t number = IntegerOf(how, name);
      if (number < 0 || number > kMost) {
        throw Error(fmt::format("{} is from 0 to {}, not {}", name, kMost, number));
      }
      collective.*member = static_cast<int>(number);
    }
  }
  return collective;
}

// The number of ranks of each group.
std::vector<int> SizesOf(const AcrossRanks& across) {
  if (across.groups.empty()) return {across.ranks};
  std::map<int, int> sizes;
  for (const int group : across.groups) {
    if (group >= 0) ++sizes[group];
  }
  std::vector<int> all;
  for (const auto& [group, size] : sizes) all.push_back(size);
  return all;
}

std::optional<Skipped> UnfitOf(const Collective& collective, const AcrossRanks& across) {
  for (const int size : SizesOf(across)) {
    if (collective.operation == Operation::kBarrier || Layout(collective, size).SizeBytes() > 0) {
      continue;
    }
    return Skipped{
        .reason = fmt::format("its size, {}, is less than 16 bytes for each of {}",
                              CountText(collective.bytes, "byte"), CountText(size, "rank")),
        .remedy = Asking("bytes", std::to_string(16 * size))};
  }
  if (across.on_devices) return std::nullopt;
  // The estimate is input, output, and the copy that libraries make of it, for each rank of the
  // node.
  const int on_a_node = (across.ranks + across.nodes - 1) / across.nodes;
  const std::int64_t bytes = 3 * collective.bytes * on_a_node;
  const std::optional<std::int64_t> available = AvailableMemory();
  if (!available || bytes <= *available) return std::nullopt;
  return Skipped{.reason = fmt::format("its ranks need {} of memory on this node, which has {} "
                                       "available",
                                       WithPrefix(static_cast<double>(bytes), "B"),
                                       WithPrefix(static_cast<double>(*available), "B")),
                 .remedy = "choose fewer bytes"};
}

}  // namespace

bool HasNvidiaDriver() {
  std::error_code unknown;
  return std::filesystem::exists("/proc/driver/nvidia/version", unknown);
}

const std::vector<KnownLibrary>& KnownLibraries() {
  static const std::vector<KnownLibrary> all = {
      {.name = "mpi", .module = "mpi", .by_mpi = true, .on_one_node = true, .on_several = true},
      {.name = "native", .on_one_node = true, .chooses_buffers = true},
      {.name = "native-mpi",
       .module = "mpi",
       .by_mpi = true,
       .on_several = true,
       .has_transport = true,
       .chooses_buffers = true},
      {.name = "ofi",
       .module = "ofi",
       .on_several = true,
       .has_transport = true,
       .chooses_buffers = true},
      {.name = "nccl",
       .module = "nccl",
       .on_one_node = HasNvidiaDriver(),
       .on_several = HasNvidiaDriver(),
       .queues = true,
       .chooses_buffers = true,
       .kind = "gpu"}};
  return all;
}

const KnownLibrary* FindLibrary(const std::string& name) {
  const auto& all = KnownLibraries();
  const auto found = std::ranges::find(all, name, &KnownLibrary::name);
  return found == all.end() ? nullptr : &*found;
}

bool IsOnGpus(const std::string& library) {
  const KnownLibrary* const known = FindLibrary(library);
  return known != nullptr && known->kind == "gpu";
}

bool IsAny(const KnownLibrary&) { return true; }
bool HasTransport(const KnownLibrary& library) { return library.has_transport; }

std::vector<std::string> LibraryNames(const std::function<bool(const KnownLibrary&)>& has) {
  std::vector<std::string> names;
  for (const KnownLibrary& library : KnownLibraries()) {
    if (has(library)) names.push_back(library.name);
  }
  return names;
}

std::map<std::string, Skipped> FindAbsent(const Libraries& libraries,
                                          const std::vector<std::string>& names) {
  std::map<std::string, Skipped> absent;
  for (const std::string& name : names) {
    if (const std::optional<Skipped> missing = libraries.Missing(name)) {
      absent[name] = *missing;
    } else if (IsOnGpus(name) && !HasNvidiaDriver()) {
      absent[name] = {.reason = kNoNvidiaDriver, .remedy = kNvidiaDriverRemedy};
    }
  }
  return absent;
}

std::optional<Skipped> Libraries::Missing(const std::string& library) const {
  const KnownLibrary* const known = FindLibrary(library);
  if (known == nullptr || known->module.empty()) return std::nullopt;
  if (modules_ == nullptr) return Skipped{.reason = "no modules are loaded"};
  const auto& entries = modules_->Entries();
  const auto entry = std::ranges::find(entries, known->module, &Modules::Entry::name);
  if (entry == entries.end()) return std::nullopt;
  if (entry->module == nullptr) {
    return Skipped{.reason = entry->reason, .remedy = entry->remedy, .module = entry->name};
  }
  return known->by_mpi && no_mpi_ ? no_mpi_() : std::nullopt;
}

Library& Libraries::Opened(const std::string& library, const Ranks& ranks) {
  if (opened_.empty()) {
    opened_.push_back(NativeLibrary());
    for (const Modules::Entry& entry :
         modules_ == nullptr ? std::vector<Modules::Entry>() : modules_->Entries()) {
      if (entry.module == nullptr || entry.module->libraries == nullptr) continue;
      if (entry.module->ranks != nullptr && ranks.JoinedBy() != entry.name) continue;
      for (auto& each : entry.module->libraries()) opened_.push_back(std::move(each));
    }
  }
  for (const std::unique_ptr<Library>& each : opened_) {
    if (each->Name() == library) return *each;
  }
  throw Error(fmt::format("no library {} could be opened", library));
}

std::vector<Case> CasesOver(const std::shared_ptr<Libraries>& libraries, const Setup& setup,
                            const OverLibraries& over) {
  std::vector<Case> cases;
  for (const KnownLibrary& library : KnownLibraries()) {
    if (!over.can(library) || !setup.TakesBackend(library.name)) continue;
    if (setup.backends.empty() && !over.is_usual(library)) continue;
    Case one = over.one;
    one.backend = library.name;
    one.device.kind = library.kind;
    AcrossRanks& across = one.across.value();
    across.bytes = over.collective.bytes;
    across.by_mpi = library.by_mpi;
    across.on_devices = library.kind == "gpu";
    across.missing = [libraries, name = library.name] { return libraries->Missing(name); };
    across.unfit = [missing = across.missing, collective = over.collective,
                    asked = AcrossRanks{.ranks = across.ranks,
                                        .nodes = across.nodes,
                                        .groups = across.groups,
                                        .on_devices = library.kind == "gpu"}] {
      std::optional<Skipped> no = missing();
      return no ? no : UnfitOf(collective, asked);
    };
    across.device = [libraries, name = library.name](Ranks& all) {
      return libraries->Opened(name, all).DeviceOf(all);
    };
    across.join = [libraries, name = library.name, collective = over.collective, join = over.join](
                      Ranks& together, std::uint64_t seed, const Params& how) {
      Library& opened = libraries->Opened(name, together);
      const Collective told = AsTold(collective, how);
      return join ? join(opened, told, together, seed, how) : opened.Prepare(told, together, seed);
    };
    cases.push_back(std::move(one));
  }
  return cases;
}

}  // namespace assay::collectives
