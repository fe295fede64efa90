#include "collectives/nccl_device.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "results/base/error.h"
#include "runner/core/cuda.h"
#include "runner/core/group.h"

namespace assay {

RankDevice OwnDevice(Ranks& ranks) {
  int devices = 0;
  RankDevice own;
  std::string says;
  if (const std::optional<Skipped> none = cuda::NoDevice(&devices)) {
    says = fmt::format("{}; try: {}", none->reason, none->remedy);
  } else {
    cudaDeviceProp properties = {};
    own.index = ranks.LocalRank() % devices;
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, own.index);
        error != cudaSuccess) {
      says = fmt::format("device {} can't be asked: {}", own.index, cudaGetErrorString(error));
    }
    own.id = fmt::format("{:04x}:{:02x}:{:02x}", properties.pciDomainID, properties.pciBusID,
                         properties.pciDeviceID);
    own.name = properties.name;
  }
  std::map<std::string, int> taken;  // the rank that has a GPU, by node and id
  std::map<std::string, int> ranks_of;
  std::optional<std::string> shared;
  const std::vector<std::string> all = GatherToAll(
      ranks, says.empty() ? fmt::format("{} {} {}", devices, ranks.Node(), own.id) : says);
  for (int rank = 0; rank < ranks.Size(); ++rank) {
    const std::string& one = all[static_cast<std::size_t>(rank)];
    std::istringstream words(one);
    std::string seen;
    std::string node;
    std::string id;
    words >> seen >> node >> id;
    if (seen.find_first_not_of("0123456789") != std::string::npos) {
      throw Error(fmt::format("rank {} has no GPU: {}", rank, one));
    }
    ++ranks_of[node];
    const auto [other, is_new] = taken.emplace(node + " " + id, rank);
    if (is_new || shared) continue;
    shared = fmt::format("node {} has {} {}, too few for its ranks: {} and {} would share {}", node,
                         seen, seen == "1" ? "GPU" : "GPUs", other->second, rank, id);
  }
  if (shared) {
    throw Error(*shared +
                "; ask for fewer with -g, -t or mpirun -np, and see what "
                "CUDA_VISIBLE_DEVICES hides");
  }
  return own;
}

}  // namespace assay
