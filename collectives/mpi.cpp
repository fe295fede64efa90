// The mpi module: the processes that an MPI launcher started, MPI's own collectives in host memory,
// and our algorithms over MPI's messages. Sole includer of <mpi.h>. An error within MPI ends the
// whole job (MPI_ERRORS_ARE_FATAL, its default), since the other ranks could not be told of it.
#include <mpi.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/asking.h"
#include "collectives/library.h"
#include "collectives/timed_collective.h"
#include "collectives/transport.h"
#include "collectives/transport_exchange.h"
#include "collectives/used_transport.h"
#include "results/base/descriptor.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "runner/core/module.h"
#include "version.h"

namespace assay {
namespace {

// This source is built once with each MPI that the build found.
#ifdef OPEN_MPI
constexpr const char* kName = "openmpi";
#else
constexpr const char* kName = "mpich";
#endif

// Waits without burning a core, as MPI_Wait would. The first polls follow each other closely, for
// partners that are about to make the same call. Then it sleeps between polls, an eighth of the
// time that it has waited already and at most 5 ms.
void Wait(MPI_Request request) {
  using std::chrono::duration_cast, std::chrono::microseconds;
  const auto begin = std::chrono::steady_clock::now();
  for (int done = 0;;) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done != 0) return;
    const auto waited = duration_cast<microseconds>(std::chrono::steady_clock::now() - begin);
    if (waited < microseconds(100)) continue;
    std::this_thread::sleep_for(std::min(waited / 8, microseconds(5000)));
  }
}

int Length(const std::string& text) {
  if (text.size() > INT_MAX) throw Error("a text of 2 GiB or more can't be sent through MPI");
  return static_cast<int>(text.size());
}

// The process id of the mpirun that started this process, if it runs on this machine; else -1. The
// daemons that it has elsewhere may serve other jobs.
int LauncherOf(int pid) {
  for (int depth = 0; depth < 8 && pid > 1; ++depth) {
    std::string stat;
    std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), stat);
    // The format is "PID (NAME) STATE PARENT …", where the name may hold anything.
    const std::size_t begin = stat.find('(');
    const std::size_t end = stat.rfind(") ");
    if (begin == std::string::npos || end == std::string::npos) return -1;
    const std::string name = stat.substr(begin + 1, end - begin - 1);
    for (const char* launcher : {"mpirun", "mpiexec", "orterun", "prterun"}) {
      if (name.starts_with(launcher)) return pid;
    }
    pid = std::atoi(stat.c_str() + end + 4);
  }
  return -1;
}

// Ends the mpirun that started this process if it is still there in five seconds. A separate
// process does that, which outlives this one. It is needed since an mpirun that lost its daemon on
// another machine waits for a quarter of an hour, until TCP gives up, for the daemon's word that
// all ranks are gone.
void EndLauncher() {
  const int launcher = LauncherOf(getppid());
  if (launcher < 0) return;
  const Descriptor handle(static_cast<int>(syscall(SYS_pidfd_open, launcher, 0)));
  if (!handle.IsOpen() || fork() != 0) return;
  // Nothing may stay open here whose end mpirun waits for, such as its pipes.
  setsid();
  dup2(handle.Number(), 0);
  close_range(1, ~0U, 0);
  pollfd end = {.fd = 0, .events = POLLIN, .revents = 0};
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (poll(&end, 1, signal == SIGTERM ? 5000 : 2000) != 0) break;
    syscall(SYS_pidfd_send_signal, 0, signal, nullptr, 0);
  }
  _exit(0);
}

// The ranks that an MPI launcher started. Every call is a non-blocking one of MPI that is polled
// (Wait), so that a rank that waits doesn't burn its core.
class MpiRanks : public Ranks {
 public:
  MpiRanks() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    any_thread_ = provided >= MPI_THREAD_SERIALIZED;
    MPI_Comm_dup(MPI_COMM_WORLD, &world_);
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);

    // Ranks that can share memory are on one node, which is known by its lowest rank.
    MPI_Comm node = MPI_COMM_NULL;
    MPI_Comm_split_type(world_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &local_rank_);
    int lowest = rank_;
    MPI_Bcast(&lowest, 1, MPI_INT, 0, node);
    MPI_Comm_free(&node);
    std::vector<int> all(static_cast<std::size_t>(size_));
    MPI_Allgather(&lowest, 1, MPI_INT, all.data(), 1, MPI_INT, world_);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    node_ = static_cast<int>(std::lower_bound(all.begin(), all.end(), lowest) - all.begin());
  }
  ~MpiRanks() override {
    MPI_Comm_free(&world_);
    MPI_Finalize();
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;

  int Rank() const override { return rank_; }
  int Size() const override { return size_; }
  int LocalRank() const override { return local_rank_; }
  int Node() const override { return node_; }
  std::string JoinedBy() const override { return "mpi"; }
  bool AnyThread() const override { return any_thread_; }

  // Ends the job. Where MPI itself hangs, its own way to end the job may hang too.
  void Abort(int status) override {
    EndLauncher();
    std::thread([status] {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      _exit(status);
    }).detach();
    MPI_Abort(MPI_COMM_WORLD, status);
    _exit(status);
  }

  void Barrier() override {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibarrier(world_, &request);
    Wait(request);
  }

  std::string Broadcast(const std::string& text) override {
    std::string copy = rank_ == 0 ? text : "";
    int length = Length(copy);
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibcast(&length, 1, MPI_INT, 0, world_, &request);
    Wait(request);
    copy.resize(static_cast<std::size_t>(length));
    MPI_Ibcast(copy.data(), length, MPI_CHAR, 0, world_, &request);
    Wait(request);
    return copy;
  }

  std::vector<std::string> Gather(const std::string& text) override {
    const int length = Length(text);
    const auto size = static_cast<std::size_t>(rank_ == 0 ? size_ : 0);
    std::vector<int> lengths(size);
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Igather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, 0, world_, &request);
    Wait(request);
    std::vector<int> begins(size);
    std::int64_t total = 0;
    for (std::size_t i = 0; i < size; ++i) {
      begins[i] = static_cast<int>(total);
      total += lengths[i];
      if (total > INT_MAX) throw Error("the ranks' texts together are 2 GiB or more");
    }
    std::string all(static_cast<std::size_t>(total), '\0');
    MPI_Igatherv(text.data(), length, MPI_CHAR, all.data(), lengths.data(), begins.data(), MPI_CHAR,
                 0, world_, &request);
    Wait(request);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < size; ++i) {
      texts.push_back(
          all.substr(static_cast<std::size_t>(begins[i]), static_cast<std::size_t>(lengths[i])));
    }
    return texts;
  }

  void Max(std::span<double> values) override {
    for (std::size_t done = 0; done < values.size();) {
      const auto count = static_cast<int>(std::min<std::size_t>(values.size() - done, 1 << 20));
      MPI_Request request = MPI_REQUEST_NULL;
      MPI_Iallreduce(MPI_IN_PLACE, values.data() + done, count, MPI_DOUBLE, MPI_MAX, world_,
                     &request);
      Wait(request);
      done += static_cast<std::size_t>(count);
    }
  }

 private:
  MPI_Comm world_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int node_ = 0;
  bool any_thread_ = false;
};

std::string LibraryVersion() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  return {text, static_cast<std::size_t>(length)};
}

std::string Version() {
  // The text is "Open MPI v4.1.4, package: …" or "MPICH Version:      4.0.2\n…". It is cut off
  // where it names who built the library and on which host.
  const std::string all = LibraryVersion();
  std::istringstream words(all.substr(0, all.find_first_of(",\n")));
  std::string version;
  for (std::string word; words >> word;) {
    if (word != "Version:") version += (version.empty() ? "" : " ") + word;
  }
  return version;
}

// The library's own parameters (control variables of MPI's tool interface).
class ControlVariables {
 public:
  ControlVariables() {
    int provided = 0;
    has_begun_ = MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) == MPI_SUCCESS;
  }
  ~ControlVariables() {
    if (has_begun_) MPI_T_finalize();
  }
  ControlVariables(const ControlVariables&) = delete;
  ControlVariables& operator=(const ControlVariables&) = delete;

  // The names of all variables that exist now.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    int count = 0;
    if (!has_begun_ || MPI_T_cvar_get_num(&count) != MPI_SUCCESS) return names;
    for (int i = 0; i < count; ++i) {
      if (std::string name = InfoOf(i).name; !name.empty()) names.push_back(std::move(name));
    }
    return names;
  }

  // The value of a variable; nothing where this library has no whole number of that name.
  std::optional<std::int64_t> Number(const std::string& name) const {
    std::optional<std::int64_t> number;
    Read(name, [&](const Info& info, MPI_T_cvar_handle handle) {
      int value = 0;
      const bool is_int = info.type == MPI_INT || info.type == MPI_UNSIGNED;
      if (is_int && MPI_T_cvar_read(handle, &value) == MPI_SUCCESS) number = value;
    });
    return number;
  }

  // The name that the value has; "" where this library has no such choice.
  std::string Choice(const std::string& name) const {
    std::string choice;
    Read(name, [&](const Info& info, MPI_T_cvar_handle handle) {
      int number = 0;
      if (info.type != MPI_INT || info.names == MPI_T_ENUM_NULL ||
          MPI_T_cvar_read(handle, &number) != MPI_SUCCESS) {
        return;
      }
      int items = 0;
      MPI_T_enum_get_info(info.names, &items, nullptr, nullptr);
      for (int i = 0; i < items; ++i) {
        char text[256] = {};
        int length = sizeof(text);
        int item = 0;
        MPI_T_enum_get_item(info.names, i, &item, text, &length);
        if (item == number) choice = text;
      }
    });
    return choice;
  }

 private:
  struct Info {
    std::string name = {};  // "": there is no such variable, or not any more
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_T_enum names = MPI_T_ENUM_NULL;
  };
  static Info InfoOf(int index) {
    Info info;
    char text[256] = {};
    int length = sizeof(text);
    int verbosity = 0;
    int binding = 0;
    int scope = 0;
    if (MPI_T_cvar_get_info(index, text, &length, &verbosity, &info.type, &info.names, nullptr,
                            nullptr, &binding, &scope) == MPI_SUCCESS) {
      info.name = text;
    }
    return info;
  }

  void Read(const std::string& name, const auto& read) const {
    int index = 0;
    int count = 0;
    MPI_T_cvar_handle handle = nullptr;
    if (!has_begun_ || MPI_T_cvar_get_index(name.c_str(), &index) != MPI_SUCCESS ||
        MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) != MPI_SUCCESS) {
      return;
    }
    if (count == 1) read(InfoOf(index), handle);
    MPI_T_cvar_handle_free(&handle);
  }

  bool has_begun_;
};

// The places of the ranks that a rank exchanges with.
struct Peers {
  bool on_node = false;
  bool elsewhere = false;
};

// The components of Open MPI that were selected in a framework. A component that wasn't selected is
// closed and takes its variables along, so the ones that still have variables are the selected
// ones.
std::vector<std::string> OpenComponents(const std::vector<std::string>& variables,
                                        const std::string& framework) {
  constexpr std::string_view kOfEach = "_major_version";
  std::vector<std::string> names;
  for (const std::string& variable : variables) {
    if (!variable.starts_with(framework + "_") || !variable.ends_with(kOfEach)) continue;
    const std::size_t begin = framework.size() + 1;
    names.push_back(variable.substr(begin, variable.size() - kOfEach.size() - begin));
  }
  return names;
}

// The transport that a rank's data goes over, in words, and whether that is TCP sockets, as far as
// it is known.
struct Used {
  std::string transport = {};
  bool is_sockets = false;
};

// The transport of Open MPI's ob1, which sends to a peer by the BTL (byte transfer layer) of the
// highest exclusivity that reaches it. BTLs of shared memory reach every peer of a node; which
// peers others reach is known only where there is no choice.
Used BtlFor(bool on_node, const ControlVariables& variables, const std::vector<std::string>& btls) {
  std::vector<std::string> candidates;
  std::string best;  // the most exclusive BTL; shared memory's, unless another is as exclusive
  std::int64_t most = -1;
  for (const std::string& btl : btls) {
    const bool shares_memory = btl == "vader" || btl == "sm" || btl == "smcuda";
    if (btl == "self" || (shares_memory && !on_node)) continue;
    candidates.push_back(btl);
    const std::int64_t exclusivity = variables.Number("btl_" + btl + "_exclusivity").value_or(0);
    if (exclusivity >= most) best = shares_memory && exclusivity > most ? btl : "";
    most = std::max(most, exclusivity);
  }
  if (candidates.size() == 1) best = candidates[0];
  if (!best.empty()) return {.transport = "ob1/" + best, .is_sockets = best == "tcp"};
  std::string all;
  for (const std::string& btl : candidates) all += (all.empty() ? "" : " or ") + btl;
  return {.transport = UnknownTransport("ob1 by " + (all.empty() ? "no BTL" : all))};
}

// The transport of Open MPI, from the components that it selected for messages and below.
Used TransportOfOpenMpi(Peers peers, bool by_its_collectives) {
  const ControlVariables variables;
  const std::vector<std::string> names = variables.Names();
  if (by_its_collectives) {
    // These components may bypass the layer for messages (PML) by networks of their own.
    for (const std::string& component : OpenComponents(names, "coll")) {
      for (const char* own : {"hcoll", "ucc", "fca", "portals4"}) {
        if (component != own) continue;
        return {.transport = UnknownTransport("its collectives may go by " + component)};
      }
    }
  }
  std::vector<std::string> pml = OpenComponents(names, "pml");
  std::erase_if(pml, [](const auto& name) { return name == "monitoring" || name == "v"; });
  if (pml.size() != 1) {
    return {.transport = UnknownTransport("which PML was selected is not told")};
  }
  if (pml[0] == "ob1") {
    std::vector<std::string> btls = OpenComponents(names, "btl");
    // Since Open MPI 5 vader is called sm, which has vader's variables as well.
    if (std::ranges::find(btls, "sm") != btls.end()) std::erase(btls, "vader");
    const Used within = peers.on_node ? BtlFor(true, variables, btls) : Used{};
    const Used between = peers.elsewhere ? BtlFor(false, variables, btls) : Used{};
    return {.transport = OnTwoLevels(within.transport, between.transport),
            .is_sockets = within.is_sockets || between.is_sockets};
  }
  if (pml[0] != "cm") return {.transport = pml[0]};
  const std::vector<std::string> mtl = OpenComponents(names, "mtl");
  return {.transport =
              mtl.size() == 1 ? "cm/" + mtl[0] : UnknownTransport("cm by one of several MTLs")};
}

// The transport of MPICH, which tells the device that it was built with: "MPICH Device: ch4:ucx".
// Between nodes that is its only network module; within a node it may use that as well, or shared
// memory.
std::string TransportOfMpich(Peers peers, const std::string& library) {
  constexpr std::string_view kDevice = "MPICH Device:";
  const std::size_t at = library.find(kDevice);
  std::string device;
  if (at != std::string::npos) std::istringstream(library.substr(at + kDevice.size())) >> device;
  if (!device.starts_with("ch4:") || device.find(',') != std::string::npos) {
    return UnknownTransport(device.empty() ? "this MPI tells no device" : "device " + device);
  }
  return OnTwoLevels(
      peers.on_node ? UnknownTransport("device " + device + ": by its network or shared memory")
                    : "",
      peers.elsewhere ? device.substr(device.find(':') + 1) : "");
}

// The list of processors that this process may use, such as "0" where it is pinned to one.
std::string Processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return "unknown";
  std::string text;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) text += (text.empty() ? "" : ",") + std::to_string(i);
  }
  return text;
}

Used TransportOf(Peers peers, bool by_its_collectives) {
  const bool is_open_mpi = std::string_view(kName) == "openmpi";
  if (is_open_mpi) return TransportOfOpenMpi(peers, by_its_collectives);
  return {.transport = TransportOfMpich(peers, LibraryVersion())};
}

// The facts about how MPI moves data. `by_its_collectives`: by MPI's collectives, and not by our
// algorithms over MPI's messages. Called on all ranks together.
Facts FactsOfMpi(Ranks& ranks, Peers peers, bool by_its_collectives) {
  const Used used = TransportOf(peers, by_its_collectives);
  Facts facts = {{"mpi", Version()}, {kTransportFact, used.transport}};
  if (used.is_sockets) facts[kSocketsFact] = true;
  std::string processors;
  for (const std::string& of_rank : ranks.Gather(Processors())) {
    processors += (processors.empty() ? "" : " | ") + of_rank;
  }
  facts["processors_by_rank"] = processors;
  // The mechanism by which Open MPI 4 copies between processes of a node: "cma" is cross-memory
  // attach, which a container's profile may forbid.
  if (std::string copy = ControlVariables().Choice("btl_vader_single_copy_mechanism");
      !copy.empty()) {
    facts["single_copy"] = copy;
  }
  return facts;
}

// MPI's type for a dtype. Where MPI moves elements without looking into them, any type of their
// size will do.
MPI_Datatype TypeOf(const std::string& dtype) {
  const DtypeFacts& facts = ReadDtype(dtype, "dtype", DtypeUse::kCollectives);
  switch (facts.dtype) {
    case Dtype::kF32:
      return MPI_FLOAT;
    case Dtype::kF64:
      return MPI_DOUBLE;
    case Dtype::kI32:
      return MPI_INT32_T;
    case Dtype::kU32:
      return MPI_UINT32_T;
    case Dtype::kI64:
      return MPI_INT64_T;
    case Dtype::kU64:
      return MPI_UINT64_T;
    case Dtype::kInt8:
      return MPI_INT8_T;
    case Dtype::kU8:
    case Dtype::kF16:
    case Dtype::kBf16:
    case Dtype::kFp8E4m3:
    case Dtype::kFp8E5m2:
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kTf32:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
      break;
  }
  return facts.bits == 16 ? MPI_UINT16_T : MPI_UINT8_T;
}

// MPI's predefined reductions know C's types, which have no float of 16 or 8 bits.
bool Reduces(const std::string& dtype) {
  const DtypeFacts* facts = FindDtype(dtype);
  return facts != nullptr && (facts->kind != DtypeKind::kFloat || facts->bits >= 32);
}

// MPI's operation for a reduction; nothing where it has none.
std::optional<MPI_Op> ReductionOf(const std::string& redop) {
  if (redop == "sum") return MPI_SUM;
  if (redop == "prod") return MPI_PROD;
  if (redop == "min") return MPI_MIN;
  if (redop == "max") return MPI_MAX;
  return std::nullopt;
}

// A communicator of exactly these ranks, in their order.
class Comm {
 public:
  explicit Comm(const Ranks& ranks) {
    const std::vector<int> members = ranks.Members();
    MPI_Group world = MPI_GROUP_NULL;
    MPI_Group group = MPI_GROUP_NULL;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, static_cast<int>(members.size()), members.data(), &group);
    MPI_Comm_create_group(MPI_COMM_WORLD, group, /*tag=*/0, &comm_);
    MPI_Group_free(&group);
    MPI_Group_free(&world);
    MPI_Comm node = MPI_COMM_NULL;
    MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    int on_node = 0;
    MPI_Comm_size(node, &on_node);
    MPI_Comm_free(&node);
    peers_ = {.on_node = on_node > 1, .elsewhere = on_node < ranks.Size()};
  }
  ~Comm() { MPI_Comm_free(&comm_); }
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;
  operator MPI_Comm() const { return comm_; }
  Peers WhoElse() const { return peers_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  Peers peers_ = {};
};

// One rank's end of a collective by MPI's own function for it.
class MpiExchange : public Exchange {
 public:
  MpiExchange(const Collective& collective, Ranks& ranks)
      : collective_(collective),
        layout_(collective, ranks.Size()),
        base_(static_cast<int>(layout_.Base())),
        type_(TypeOf(collective.dtype)),
        reduction_(ReductionOf(collective.redop).value_or(MPI_SUM)),
        comm_(ranks),
        ranks_(ranks) {
    // All other operations use an algorithm that MPI doesn't tell.
    if (collective.operation == Operation::kSendRecv) wire_ = WireFactsOf(collective, ranks);
    if (collective.operation != Operation::kAlltoallv) return;
    for (int rank = 0; rank < ranks.Size(); ++rank) {
      const int self = ranks.Rank();
      send_counts_.push_back(static_cast<int>(layout_.Count(self, rank)));
      send_places_.push_back(static_cast<int>(layout_.SendPlace(self, rank)));
      receive_counts_.push_back(static_cast<int>(layout_.Count(rank, self)));
      receive_places_.push_back(static_cast<int>(layout_.ReceivePlace(rank, self)));
    }
  }

  void Align() override { MPI_Barrier(comm_); }

  void Run(const std::byte* input, std::byte* output) override {
    const bool in_place = collective_.in_place;
    const int root = collective_.root;
    const bool is_root = ranks_.Rank() == root;
    switch (collective_.operation) {
      case Operation::kAllReduce:
        MPI_Allreduce(in_place ? MPI_IN_PLACE : input, output, base_, type_, reduction_, comm_);
        return;
      case Operation::kAllGather:
        MPI_Allgather(in_place ? MPI_IN_PLACE : input, base_, type_, output, base_, type_, comm_);
        return;
      case Operation::kReduceScatter:
        MPI_Reduce_scatter_block(input, output, base_, type_, reduction_, comm_);
        return;
      case Operation::kBroadcast:
        // MPI_Bcast has a single buffer; the copy to the other one is part of what was asked for.
        if (is_root && !in_place) std::memcpy(output, input, Bytes());
        MPI_Bcast(output, base_, type_, root, comm_);
        return;
      case Operation::kReduce:
        MPI_Reduce(in_place && is_root ? MPI_IN_PLACE : input, output, base_, type_, reduction_,
                   root, comm_);
        return;
      case Operation::kAlltoall:
        MPI_Alltoall(input, base_, type_, output, base_, type_, comm_);
        return;
      case Operation::kAlltoallv:
        MPI_Alltoallv(input, send_counts_.data(), send_places_.data(), type_, output,
                      receive_counts_.data(), receive_places_.data(), type_, comm_);
        return;
      case Operation::kGather:
        MPI_Gather(in_place && is_root ? MPI_IN_PLACE : input, base_, type_, output, base_, type_,
                   root, comm_);
        return;
      case Operation::kScatter:
        if (in_place && is_root) {
          MPI_Scatter(input, base_, type_, MPI_IN_PLACE, base_, type_, root, comm_);
        } else {
          MPI_Scatter(input, base_, type_, output, base_, type_, root, comm_);
        }
        return;
      case Operation::kSendRecv: {
        const int next = (ranks_.Rank() + 1) % ranks_.Size();
        const int before = (ranks_.Rank() + ranks_.Size() - 1) % ranks_.Size();
        MPI_Sendrecv(input, base_, type_, next, 0, output, base_, type_, before, 0, comm_,
                     MPI_STATUS_IGNORE);
        return;
      }
      case Operation::kBarrier:
        MPI_Barrier(comm_);
        return;
    }
  }

  Facts Describe() const override {
    Facts facts = FactsOfMpi(ranks_, comm_.WhoElse(), /*by_its_collectives=*/true);
    facts.insert(wire_.begin(), wire_.end());
    return facts;
  }

 private:
  std::size_t Bytes() const {
    return static_cast<std::size_t>(layout_.Base() * ElementBytes(collective_.dtype));
  }

  Collective collective_;
  Layout layout_;
  int base_;
  MPI_Datatype type_;
  MPI_Op reduction_;
  Comm comm_;
  Ranks& ranks_;
  Facts wire_ = {};
  std::vector<int> send_counts_ = {}, send_places_ = {};  // alltoallv
  std::vector<int> receive_counts_ = {}, receive_places_ = {};
};

class MpiLibrary : public Library {
 public:
  std::string Name() const override { return "mpi"; }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) override {
    if (std::optional<Skipped> no = Refusal(collective, ranks.Size())) return *no;
    return PrepareTimedCollective(collective, ranks,
                                  std::make_unique<MpiExchange>(collective, ranks), seed);
  }

 private:
  static std::optional<Skipped> Refusal(const Collective& collective, int ranks) {
    const OperationFacts& facts = FactsOf(collective.operation);
    if (collective.bytes / ElementBytes(collective.dtype) > INT_MAX) {
      return Skipped{.reason = "MPI counts elements in an int",
                     .remedy = "choose fewer than 2^31 elements"};
    }
    if (collective.algorithm != "auto" || collective.buffers != "plain") {
      return Skipped{.reason = "MPI chooses its algorithms and knows plain buffers alone",
                     .remedy = Asking("algo", "auto") + " with " + Asking("buffers", "plain") +
                               ", or --backend native"};
    }
    if (facts.reduces && !ReductionOf(collective.redop)) {
      return Skipped{.reason = "MPI has no reduction " + collective.redop,
                     .remedy = Asking("redop", "sum")};
    }
    if (facts.reduces && !Reduces(collective.dtype)) {
      return Skipped{.reason = "MPI reduces no " + collective.dtype,
                     .remedy = "--backend native, or " + Asking("dtype", "f32")};
    }
    if (collective.operation == Operation::kReduceScatter && collective.in_place) {
      return Skipped{.reason =
                         "MPI leaves every rank's share at the begin of its buffer, where "
                         "in place means its own part of it",
                     .remedy = "placement out_of_place, which it has"};
    }
    [[maybe_unused]] const Layout layout(collective, ranks);  // throws for an impossible collective
    return std::nullopt;
  }
};

// A transport by MPI's point-to-point messages, on its own communicator.
class MpiTransport : public Transport {
 public:
  explicit MpiTransport(Ranks& ranks) : ranks_(ranks), comm_(ranks) {
    std::vector<double> nodes = {static_cast<double>(ranks.Node())};
    ranks.Max(nodes);
    // The segments' size. Between hosts it is what Open MPI sends eagerly over TCP, its header
    // included: beyond 64 KiB the receiver's clear-to-send queues behind the data that the receiver
    // sends, so that the two directions of a link take turns. Within a host a message costs a
    // system call or two, which 128 KiB pay for, and the few that are under way still fit the L2
    // cache.
    several_nodes_ = nodes[0] > 0;
  }

  int Rank() const override { return ranks_.Rank(); }
  int Size() const override { return ranks_.Size(); }
  Ticket Send(int to, const void* data, std::size_t bytes, int tag) override {
    const Ticket ticket = Free();
    MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, comm_, &requests_[ticket]);
    return ticket;
  }
  Ticket Receive(int from, void* data, std::size_t bytes, int tag) override {
    const Ticket ticket = Free();
    MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag, comm_, &requests_[ticket]);
    return ticket;
  }
  void Wait(Ticket ticket) override {
    // The core is yielded now and then, since on a busy machine the next process may be the one
    // that we wait for.
    for (int done = 0, looks = 0;; ++looks) {
      MPI_Test(&requests_[ticket], &done, MPI_STATUS_IGNORE);
      if (done != 0) break;
      if (looks % 64 == 63) sched_yield();
    }
    free_.push_back(ticket);
  }
  std::size_t SegmentBytes() const override { return several_nodes_ ? 60 << 10 : 128 << 10; }
  std::size_t SegmentsInFlight() const override { return several_nodes_ ? 16 : 4; }
  Facts Describe() const override {
    return FactsOfMpi(ranks_, comm_.WhoElse(), /*by_its_collectives=*/false);
  }

 private:
  Ticket Free() {
    if (free_.empty()) {
      requests_.push_back(MPI_REQUEST_NULL);
      return requests_.size() - 1;
    }
    const Ticket ticket = free_.back();
    free_.pop_back();
    return ticket;
  }

  Ranks& ranks_;
  Comm comm_;
  bool several_nodes_ = false;
  std::vector<MPI_Request> requests_ = {};  // [ticket]; reused, so that there are few
  std::vector<Ticket> free_ = {};
};

class NativeMpiLibrary : public Library {
 public:
  std::string Name() const override { return "native-mpi"; }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) override {
    if (std::optional<Skipped> no = RefusalOver(collective, ranks)) return *no;
    return PrepareTimedCollective(
        collective, ranks, ExchangeOver(std::make_unique<MpiTransport>(ranks), ranks, collective),
        seed);
  }
};

std::vector<std::unique_ptr<Library>> Libraries() {
  std::vector<std::unique_ptr<Library>> libraries;
  libraries.push_back(std::make_unique<MpiLibrary>());
  libraries.push_back(std::make_unique<NativeMpiLibrary>());
  return libraries;
}

std::unique_ptr<Ranks> Join() { return std::make_unique<MpiRanks>(); }

constexpr Module kModule = {.build_id = ASSAY_BUILD_ID,
                            .name = kName,
                            .backends = nullptr,
                            .libraries = Libraries,
                            .ranks = Join,
                            .version = Version};

}  // namespace
}  // namespace assay

extern "C" const assay::Module* assay_module() { return &assay::kModule; }
