// The ofi module: messages over libfabric (providers efa, verbs, shm, tcp). Sole includer of
// <rdma/*.h>.
#include "collectives/ofi.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "collectives/library.h"
#include "collectives/puts.h"
#include "collectives/transport_exchange.h"
#include "collectives/used_transport.h"
#include "results/base/descriptor.h"
#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/hash.h"
#include "results/base/text.h"
#include "runner/core/group.h"
#include "runner/core/module.h"
#include "version.h"

namespace assay {
namespace {

using SteadyClock = std::chrono::steady_clock;

// The version of libfabric's interface that is asked for, which decides how a newer library
// behaves.
constexpr std::uint32_t kApi = FI_VERSION(1, 14);

struct Freed {
  void operator()(fi_info* info) const { fi_freeinfo(info); }
};
using Info = std::unique_ptr<fi_info, Freed>;

struct Closed {
  template <class Object>
  void operator()(Object* object) const {
    fi_close(&object->fid);
  }
};
template <class Object>
using Handle = std::unique_ptr<Object, Closed>;

std::string Sentence(const char* what, long status) {
  return fmt::format("libfabric's {} failed: {}", what,
                     Clean(fi_strerror(static_cast<int>(-status))));
}

void Check(long status, const char* what) {
  if (status < 0) throw Error(Sentence(what, status));
}

// One of libfabric's values in its own words. For FI_TYPE_VERSION the value doesn't matter, but it
// must not be null.
std::string Described(const void* value, fi_type type) {
  char text[1024] = {};
  fi_tostr_r(text, sizeof(text), value, type);
  return Clean(text);
}

// A provider that we know how to use, with the names that it goes by. A provider without message
// matching has it from the utility provider rxm, and libfabric 1.17 calls the newer tcp "net".
struct Provider {
  const char* name;
  std::vector<std::string_view> names;
  // The largest messages that are sent eagerly, without waiting for the receiver, or that cost none
  // of the other direction's time where they have to wait.
  std::size_t segment_bytes;
  std::size_t in_flight;
  bool is_sockets = false;
};
const std::vector<Provider>& Providers() {
  static const std::vector<Provider> all = {
      {.name = "efa", .names = {"efa"}, .segment_bytes = 64 << 10, .in_flight = 16},
      {.name = "verbs", .names = {"verbs;ofi_rxm"}, .segment_bytes = 64 << 10, .in_flight = 16},
      {.name = "shm", .names = {"shm"}, .segment_bytes = 64 << 10, .in_flight = 4},
      {.name = "tcp",
       .names = {"tcp", "net", "tcp;ofi_rxm"},
       .segment_bytes = 128 << 10,
       .in_flight = 8,
       .is_sockets = true},
  };
  return all;
}

// One way out of this rank: an endpoint that could be opened.
struct Candidate {
  const Provider* provider = nullptr;
  std::size_t name = 0;  // the index among the provider's names
  std::string fabric = {};
  const fi_info* info = nullptr;

  std::string_view Name() const { return provider->names[name]; }
};

bool LeadsNowhere(const fi_info& info, bool several_nodes) {
  if (info.src_addr == nullptr) return false;
  if (info.addr_format == FI_SOCKADDR_IN) {
    const auto* address = static_cast<const sockaddr_in*>(info.src_addr);
    return several_nodes && (ntohl(address->sin_addr.s_addr) >> 24U) == IN_LOOPBACKNET;
  }
  if (info.addr_format == FI_SOCKADDR_IN6) {
    // A link-local address means a different link on each host.
    const in6_addr& address = static_cast<const sockaddr_in6*>(info.src_addr)->sin6_addr;
    return IN6_IS_ADDR_LINKLOCAL(&address) || (several_nodes && IN6_IS_ADDR_LOOPBACK(&address));
  }
  return false;
}

Info Offers(bool puts) {
  const Info hints(fi_allocinfo());
  if (!hints) throw Error("libfabric has no memory for its hints");
  hints->caps = puts ? FI_RMA | FI_WRITE | FI_REMOTE_WRITE : FI_TAGGED;
  hints->mode = FI_CONTEXT;
  hints->ep_attr->type = FI_EP_RDM;
  if (!puts) hints->tx_attr->msg_order = hints->rx_attr->msg_order = FI_ORDER_SAS;
  hints->domain_attr->av_type = FI_AV_TABLE;
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
  hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
  hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
  hints->domain_attr->mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  if (puts) {
    hints->domain_attr->mr_mode |= FI_MR_LOCAL | FI_MR_ENDPOINT;
    hints->domain_attr->cq_data_size = sizeof(std::uint32_t);
  }
  fi_info* list = nullptr;
  const int status = fi_getinfo(kApi, nullptr, nullptr, 0, hints.get(), &list);
  if (status != -FI_ENODATA) Check(status, "fi_getinfo");
  return Info(list);
}

// The ways out of this rank, the preferred ones first.
std::vector<Candidate> CandidatesOf(const fi_info* list, const std::string& chosen, bool several,
                                    bool shares_memory) {
  std::vector<Candidate> all;
  for (const Provider& provider : Providers()) {
    if (!chosen.empty() && chosen != provider.name) continue;
    if (!shares_memory && std::string_view(provider.name) == "shm") continue;
    for (std::size_t name = 0; name < provider.names.size(); ++name) {
      for (const fi_info* info = list; info != nullptr; info = info->next) {
        if (provider.names[name] != info->fabric_attr->prov_name) continue;
        if (LeadsNowhere(*info, several)) continue;
        all.push_back({.provider = &provider,
                       .name = name,
                       .fabric = Clean(info->fabric_attr->name),
                       .info = info});
      }
    }
  }
  return all;
}

// The reason why each provider that is absent is so, as far as can be told from here.
std::string Absences(const std::vector<Candidate>& candidates, bool several, bool shares_memory) {
  std::vector<std::string> all;
  for (const Provider& provider : Providers()) {
    const std::string_view name = provider.name;
    if (std::any_of(candidates.begin(), candidates.end(),
                    [&](const Candidate& one) { return one.provider == &provider; })) {
      continue;
    }
    std::error_code missing;
    const bool no_adapter = std::filesystem::is_empty("/sys/class/infiniband", missing) || missing;
    std::string reason = "libfabric offers none here";
    if (no_adapter && (name == "efa" || name == "verbs")) {
      reason = "this node has no RDMA device";
    } else if (name == "shm" && several) {
      reason = "the ranks are on several nodes";
    } else if (name == "shm" && !shares_memory) {
      reason = "the ranks don't share /dev/shm and process numbers";
    } else if (const char* only = std::getenv("FI_PROVIDER")) {
      reason = "FI_PROVIDER=" + Clean(only, 64);
    }
    all.push_back(fmt::format("{}: {}", name, reason));
  }
  return fmt::format("{}", fmt::join(all, ", "));
}

// Makes a number that a kernel gives comparable between ranks, by adding the kernel's boot id.
std::string OfThisKernel(std::string_view what) {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return fmt::format("{} {}", boot, what);
}

std::string Namespace(const char* kind) {
  std::error_code unknown;
  return std::filesystem::read_symlink(fmt::format("/proc/self/ns/{}", kind), unknown).string();
}

// The identity of this rank's shared memory: the file system in which endpoints of provider shm are
// found, and the name space of processes, since shm copies between processes by their numbers.
std::string OwnMemory() {
  struct stat status = {};
  const bool is_there = stat("/dev/shm", &status) == 0;
  const std::string device =
      is_there ? std::to_string(status.st_dev) : fmt::format("none {}", getpid());
  return OfThisKernel(fmt::format("{} {}", device, Namespace("pid")));
}

// Whether all ranks say the same of `own`; where that is "", `usual` is asked.
bool AreAlike(Ranks& ranks, const std::string& own, std::string (*usual)()) {
  const std::vector<std::string> all = GatherToAll(ranks, own.empty() ? usual() : own);
  return std::ranges::all_of(all, [&](const std::string& one) { return one == all.front(); });
}

std::string OwnNetwork() { return OfThisKernel(Namespace("net")); }

// The beginning of what a rank says instead of its part when it failed.
constexpr std::string_view kError = "error ";
constexpr char kDigits[] = "0123456789abcdef";

std::vector<unsigned char> AddressFrom(const std::string& text) {
  std::optional<std::vector<unsigned char>> bytes = FromHex(text);
  if (!bytes) throw Error("a rank's libfabric address is garbled");
  return *std::move(bytes);
}

// The file under /dev/shm by which an endpoint of provider shm is found. libfabric would name it
// after the number of its process, and what a killed rank left would be in the way of the next
// process with that number. This file has a unique name instead, and a lock for as long as the
// object lives, by which other ranks know which files were left behind and remove those.
class SharedFile {
 public:
  SharedFile() {
    RemoveAbandoned();
    std::random_device random;
    name_ = fmt::format("{}{:08x}{:08x}", kPrefix, random(), random());
  }

  // The name that the endpoint must be given before it is enabled.
  const std::string& Name() const { return name_; }
  // Locks the file. REQUIRES: the endpoint is enabled, which makes the file.
  void Lock() {
    file_ = Descriptor(shm_open(name_.c_str(), O_RDONLY | O_CLOEXEC, 0));
    if (file_.IsOpen()) flock(file_.Number(), LOCK_SH | LOCK_NB);
  }

  // Whether the address that a rank told is that of such a file of this user's. libfabric maps and
  // writes whatever lies there.
  static bool IsAt(const std::vector<unsigned char>& address) {
    std::string name(address.begin(), std::find(address.begin(), address.end(), 0));
    // The name is read as libfabric reads it.
    if (const std::size_t at = name.find("://"); at != std::string::npos) name.erase(0, at + 3);
    if (!name.starts_with(kPrefix) || name.size() != kPrefix.size() + 16 ||
        name.find_first_not_of(kDigits, kPrefix.size()) != std::string::npos) {
      return false;
    }
    const Descriptor file(shm_open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0));
    struct stat status = {};
    return file.IsOpen() && fstat(file.Number(), &status) == 0 && S_ISREG(status.st_mode) &&
           status.st_uid == geteuid() && status.st_nlink == 1;
  }

 private:
  static constexpr std::string_view kPrefix = "assay-ofi-";
  // The time for which a file may be without a lock, since one that was just made may have none
  // yet.
  static constexpr std::chrono::seconds kYoung = std::chrono::seconds(60);

  static void RemoveAbandoned() {
    const std::time_t old = std::time(nullptr) - kYoung.count();
    for (const std::filesystem::path& entry : EntriesOf("/dev/shm")) {
      const std::string name = entry.filename();
      if (!name.starts_with(kPrefix)) continue;
      const Descriptor file(shm_open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0));
      struct stat status = {};
      if (file.IsOpen() && fstat(file.Number(), &status) == 0 && status.st_uid == geteuid() &&
          status.st_mtime < old && flock(file.Number(), LOCK_EX | LOCK_NB) == 0) {
        shm_unlink(name.c_str());
      }
    }
  }

  std::string name_ = {};
  Descriptor file_ = {};
};

// One rank's end of the network. It is opened, connected to all others, and polled for completions.
class OfiEndpoint {
 public:
  OfiEndpoint(const Ranks& ranks, const Candidate& candidate, std::string absent, Seconds patience)
      : rank_(ranks.Rank()),
        size_(ranks.Size()),
        info_(fi_dupinfo(candidate.info)),
        provider_(*candidate.provider),
        absent_(std::move(absent)),
        patience_(std::chrono::duration_cast<SteadyClock::duration>(patience)) {
    fid_fabric* fabric = nullptr;
    Check(fi_fabric(info_->fabric_attr, &fabric, nullptr), "fi_fabric");
    fabric_.reset(fabric);
    fid_domain* domain = nullptr;
    Check(fi_domain(fabric, info_.get(), &domain, nullptr), "fi_domain");
    domain_.reset(domain);
    fi_av_attr peers = {};
    peers.type = FI_AV_TABLE;
    peers.count = static_cast<std::size_t>(size_);
    fid_av* av = nullptr;
    Check(fi_av_open(domain, &peers, &av, nullptr), "fi_av_open");
    peers_.reset(av);
    fi_cq_attr completions = {};
    completions.format = FI_CQ_FORMAT_TAGGED;
    completions.wait_obj = FI_WAIT_NONE;
    fid_cq* cq = nullptr;
    Check(fi_cq_open(domain, &completions, &cq, nullptr), "fi_cq_open");
    completions_.reset(cq);
    fid_ep* endpoint = nullptr;
    Check(fi_endpoint(domain, info_.get(), &endpoint, nullptr), "fi_endpoint");
    endpoint_.reset(endpoint);
    Check(fi_ep_bind(endpoint, &av->fid, 0), "fi_ep_bind");
    Check(fi_ep_bind(endpoint, &cq->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
    if (std::string_view(provider_.name) == "shm") {
      std::string name = file_.emplace().Name();
      Check(fi_setname(&endpoint->fid, name.data(), name.size() + 1), "fi_setname");
    }
    Check(fi_enable(endpoint), "fi_enable");
    if (file_) file_->Lock();
  }
  OfiEndpoint(const OfiEndpoint&) = delete;
  OfiEndpoint& operator=(const OfiEndpoint&) = delete;

  std::vector<unsigned char> Address() const {
    std::vector<unsigned char> address(512);
    std::size_t bytes = address.size();
    Check(fi_getname(&endpoint_->fid, address.data(), &bytes), "fi_getname");
    address.resize(bytes);
    return address;
  }

  void Connect(const std::vector<std::vector<unsigned char>>& addresses) {
    for (const std::vector<unsigned char>& address : addresses) {
      if (file_ && !SharedFile::IsAt(address)) {
        throw Error(
            fmt::format("what rank {} told as its memory in /dev/shm is no endpoint of user "
                        "{}'s: start all ranks as one user",
                        addresses_.size(), geteuid()));
      }
      fi_addr_t peer = FI_ADDR_UNSPEC;
      if (fi_av_insert(peers_.get(), address.data(), 1, &peer, 0, nullptr) != 1) {
        throw Error(fmt::format("libfabric's provider {} takes no address of rank {}",
                                provider_.name, addresses_.size()));
      }
      addresses_.push_back(peer);
    }
  }

  int Rank() const { return rank_; }
  int Size() const { return size_; }
  const fi_info& Offer() const { return *info_; }
  const Provider& Via() const { return provider_; }
  fid_domain* Domain() const { return domain_.get(); }
  fid_ep* Get() const { return endpoint_.get(); }
  fi_addr_t AddressOf(int rank) const { return addresses_.at(static_cast<std::size_t>(rank)); }

  Facts Describe() const {
    Facts facts;
    facts["libfabric"] = Described(&kApi, FI_TYPE_VERSION);
    facts[kTransportFact] = std::string(provider_.name);
    if (provider_.is_sockets) facts[kSocketsFact] = true;
    // libfabric's name of a provider may be layered, or an older one: "tcp;ofi_rxm", "net".
    const std::string provider = Clean(info_->fabric_attr->prov_name);
    if (provider != provider_.name) facts["provider"] = provider;
    facts["protocol"] = Described(&info_->ep_attr->protocol, FI_TYPE_PROTOCOL);
    facts["domain"] = Clean(info_->domain_attr->name);
    facts["inject_bytes"] = static_cast<std::int64_t>(info_->tx_attr->inject_size);
    facts["mr_mode"] = Described(&info_->domain_attr->mr_mode, FI_TYPE_MR_MODE);
    if (!absent_.empty()) facts["providers_absent"] = absent_;
    return facts;
  }

  // Repeats a call until libfabric's queues have room for it. They are full until some of their
  // operations are done, which are given to `take`.
  template <class Call, class Take>
  void Post(const char* what, Call call, Take take) {
    Hope();
    for (long status = 0; (status = call()) != 0;) {
      if (status != -FI_EAGAIN) throw Error(Sentence(what, status));
      Look(take);
    }
  }

  // Begins a wait. From now on Look counts for how long nothing at all has happened.
  void Hope() { idle_ = 0; }

  // Polls for completions and gives them to `take`. Every provider that we use moves data only
  // while somebody polls.
  template <class Take>
  void Look(Take take) {
    fi_cq_tagged_entry entries[16];
    const ssize_t count = fi_cq_read(completions_.get(), entries, std::size(entries));
    if (count > 0) {
      idle_ = 0;
      for (ssize_t i = 0; i < count; ++i) take(entries[i]);
      return;
    }
    if (count == -FI_EAVAIL) FailByQueue();
    if (count != -FI_EAGAIN) Check(count, "fi_cq_read");
    if (++idle_ % 1024 != 0) return;
    sched_yield();
    const SteadyClock::time_point now = SteadyClock::now();
    if (idle_ == 1024) idle_since_ = now;
    if (now - idle_since_ > patience_) {
      throw Error(
          fmt::format("rank {} of {} waited {} in vain for any message over {}: a rank is gone, "
                      "stopped or cut off",
                      rank_, size_, Duration(Seconds(patience_).count()), provider_.name));
    }
  }

 private:
  [[noreturn]] void FailByQueue() {
    fi_cq_err_entry entry = {};
    Check(fi_cq_readerr(completions_.get(), &entry, 0), "fi_cq_readerr");
    throw Error(fmt::format(
        "rank {} of {} can't move a message over {}: {} ({})", rank_, size_, provider_.name,
        Clean(fi_strerror(entry.err)),
        Clean(fi_cq_strerror(completions_.get(), entry.prov_errno, entry.err_data, nullptr, 0))));
  }

  int rank_;
  int size_;
  Info info_;
  const Provider& provider_;
  std::string absent_;
  SteadyClock::duration patience_;
  std::optional<SharedFile> file_ = {};  // must outlive the endpoint, which removes the file
  Handle<fid_fabric> fabric_ = {};
  Handle<fid_domain> domain_ = {};
  Handle<fid_av> peers_ = {};
  Handle<fid_cq> completions_ = {};
  Handle<fid_ep> endpoint_ = {};  // declared behind its resources, so that it is closed first
  std::vector<fi_addr_t> addresses_ = {};
  std::uint64_t idle_ = 0;  // the polls since anything was done
  SteadyClock::time_point idle_since_ = {};
};

// A transport by tagged messages, which the receiver matches.
class OfiTransport : public Transport {
 public:
  explicit OfiTransport(std::unique_ptr<OfiEndpoint> endpoint) : endpoint_(std::move(endpoint)) {}

  int Rank() const override { return endpoint_->Rank(); }
  int Size() const override { return endpoint_->Size(); }

  Ticket Send(int to, const void* data, std::size_t bytes, int tag) override {
    Request& request = Begin(bytes, /*receives=*/false);
    iovec part = {.iov_base = const_cast<void*>(data), .iov_len = bytes};
    fi_msg_tagged message = {};
    message.msg_iov = &part;
    message.iov_count = 1;
    message.addr = endpoint_->AddressOf(to);
    message.tag = TagOf(Rank(), tag);
    message.context = &request.context;
    // Small messages are copied at once, but have a completion too: a message that is merely queued
    // makes progress only while its sender polls, which nobody does after the last Wait.
    const std::uint64_t flags =
        FI_COMPLETION | (bytes <= endpoint_->Offer().tx_attr->inject_size ? FI_INJECT : 0);
    Post("fi_tsendmsg", [&] { return fi_tsendmsg(endpoint_->Get(), &message, flags); });
    return request.number;
  }

  Ticket Receive(int from, void* data, std::size_t bytes, int tag) override {
    Request& request = Begin(bytes, /*receives=*/true);
    // The tag includes the sender, so that a provider needn't match by address.
    Post("fi_trecv", [&] {
      return fi_trecv(endpoint_->Get(), data, bytes, nullptr, FI_ADDR_UNSPEC, TagOf(from, tag), 0,
                      &request.context);
    });
    return request.number;
  }

  void Wait(Ticket ticket) override {
    Request& request = requests_.at(ticket);
    endpoint_->Hope();
    while (!request.over) endpoint_->Look([&](const auto& entry) { Finish(entry); });
    free_.push_back(ticket);
  }

  std::size_t SegmentBytes() const override { return endpoint_->Via().segment_bytes; }
  std::size_t SegmentsInFlight() const override { return endpoint_->Via().in_flight; }

  Facts Describe() const override {
    Facts facts = endpoint_->Describe();
    facts["messages"] = "tagged";
    return facts;
  }

 private:
  // A message under way. libfabric keeps its own notes in `context`, and names the message by it.
  struct Request {
    fi_context2 context = {};
    Ticket number = 0;
    std::size_t bytes = 0;
    bool receives = false;
    bool over = true;
  };

  static std::uint64_t TagOf(int rank, int tag) {
    return static_cast<std::uint64_t>(rank) << 16U | static_cast<std::uint64_t>(tag);
  }

  Request& Begin(std::size_t bytes, bool receives) {
    if (free_.empty()) {
      free_.push_back(requests_.size());
      requests_.emplace_back().number = free_.back();
    }
    Request& request = requests_[free_.back()];
    free_.pop_back();
    request.bytes = bytes;
    request.receives = receives;
    request.over = false;
    return request;
  }

  template <class Call>
  void Post(const char* what, Call call) {
    endpoint_->Post(what, call, [&](const auto& entry) { Finish(entry); });
  }

  void Finish(const fi_cq_tagged_entry& entry) {
    auto& request = *static_cast<Request*>(entry.op_context);
    if (request.receives && entry.len != request.bytes) {
      throw Error(fmt::format("rank {} received {} over {} where {} were to come", Rank(),
                              CountText(entry.len, "byte"), endpoint_->Via().name, request.bytes));
    }
    request.over = true;
  }

  std::unique_ptr<OfiEndpoint> endpoint_;
  std::deque<Request> requests_ = {};  // a deque, since requests must not move
  std::vector<Ticket> free_ = {};
};

// Returns, on every rank, what `decide` makes of every rank's text on rank 0.
template <class Decide>
std::string Agree(Ranks& ranks, const std::string& own, Decide decide) {
  const std::vector<std::string> all = ranks.Gather(own);
  std::string decision;
  if (ranks.Rank() == 0) {
    for (std::size_t rank = 0; rank < all.size() && decision.empty(); ++rank) {
      if (all[rank].starts_with(kError)) decision = fmt::format("{} (rank {})", all[rank], rank);
    }
    if (decision.empty()) decision = decide(all);
  }
  decision = ranks.Broadcast(decision);
  if (decision.starts_with(kError)) throw Error(decision.substr(kError.size()));
  return decision;
}

// One-sided writes into registered memory, each with 32 bits of immediate data that reach its
// target as a completion. They may arrive in any order.
class OfiPuts : public PutNetwork {
 public:
  explicit OfiPuts(std::unique_ptr<OfiEndpoint> endpoint) : endpoint_(std::move(endpoint)) {}

  int Rank() const override { return endpoint_->Rank(); }
  int Size() const override { return endpoint_->Size(); }

  void Expose(Ranks& ranks, std::span<std::byte> memory) override {
    while (under_way_ > 0) Look();
    region_.reset();
    std::string own;
    try {
      Register(memory);
      // Where the provider doesn't want virtual addresses, offsets count from the region's begin.
      const bool by_address = (Mode() & FI_MR_VIRT_ADDR) != 0;
      own = fmt::format("{} {}", by_address ? reinterpret_cast<std::uintptr_t>(memory.data()) : 0,
                        fi_mr_key(region_.get()));
    } catch (const Error& error) {
      own = std::string(kError) + error.what();
    }
    std::istringstream all(Agree(ranks, own, [](const std::vector<std::string>& texts) {
      return fmt::format("{}", fmt::join(texts, " "));
    }));
    targets_.assign(static_cast<std::size_t>(Size()), {});
    for (Target& target : targets_) all >> target.address >> target.key;
    if (!all) throw Error("the keys of the ranks' memory got lost on their way");
  }

  void Put(int to, const std::byte* from, std::size_t at, std::size_t bytes, std::uint32_t notice,
           std::uint64_t done) override {
    if (free_.empty()) free_.push_back(&writes_.emplace_back());
    Write& write = *free_.back();
    free_.pop_back();
    write.done = done;
    const Target& target = targets_.at(static_cast<std::size_t>(to));
    endpoint_->Post(
        "fi_writedata",
        [&] {
          return fi_writedata(endpoint_->Get(), from, bytes, fi_mr_desc(region_.get()), notice,
                              endpoint_->AddressOf(to), target.address + at, target.key,
                              &write.context);
        },
        [&](const auto& entry) { TakeEntry(entry); });
    ++under_way_;
  }

  std::optional<Event> Next(bool waits) override {
    endpoint_->Hope();
    if (events_.empty()) Look();
    while (waits && events_.empty()) Look();
    if (events_.empty()) return std::nullopt;
    const Event event = events_.front();
    events_.pop_front();
    return event;
  }

  std::size_t SegmentBytes() const override { return endpoint_->Via().segment_bytes; }
  std::size_t SegmentsInFlight() const override { return endpoint_->Via().in_flight; }

  Facts Describe() const override {
    Facts facts = endpoint_->Describe();
    facts["messages"] = "writes with an immediate";
    return facts;
  }

 private:
  // A write under way; see OfiTransport::Request.
  struct Write {
    fi_context2 context = {};
    std::uint64_t done = 0;
  };
  // Another rank's memory.
  struct Target {
    std::uint64_t address = 0;
    std::uint64_t key = 0;
  };

  int Mode() const { return endpoint_->Offer().domain_attr->mr_mode; }

  void Register(std::span<std::byte> memory) {
    // The provider chooses a region's key, or leaves it to us.
    const std::uint64_t key = (Mode() & FI_MR_PROV_KEY) != 0 ? 0 : ++last_key_;
    fid_mr* region = nullptr;
    Check(fi_mr_reg(endpoint_->Domain(), memory.data(), memory.size(), FI_WRITE | FI_REMOTE_WRITE,
                    0, key, 0, &region, nullptr),
          "fi_mr_reg");
    region_.reset(region);
    if ((Mode() & FI_MR_ENDPOINT) == 0) return;
    Check(fi_mr_bind(region, &endpoint_->Get()->fid, 0), "fi_mr_bind");
    Check(fi_mr_enable(region), "fi_mr_enable");
  }

  void Look() {
    endpoint_->Look([&](const auto& entry) { TakeEntry(entry); });
  }

  void TakeEntry(const fi_cq_tagged_entry& entry) {
    if ((entry.flags & FI_REMOTE_CQ_DATA) != 0) {
      events_.push_back({.kind = Event::Kind::kNotice, .value = entry.data});
      return;
    }
    auto* write = static_cast<Write*>(entry.op_context);
    events_.push_back({.kind = Event::Kind::kDone, .value = write->done});
    free_.push_back(write);
    --under_way_;
  }

  std::unique_ptr<OfiEndpoint> endpoint_;
  Handle<fid_mr> region_ = {};  // declared behind the memory, so that it is closed before that
  std::uint64_t last_key_ = 0;
  std::vector<Target> targets_ = {};  // [rank]
  std::deque<Write> writes_ = {};     // a deque, since writes must not move
  std::vector<Write*> free_ = {};
  std::size_t under_way_ = 0;
  std::deque<Event> events_ = {};
};

// The text by which ranks tell each other their candidates: lines of "NAME FABRIC", each once.
// Fabrics with the same name are one network.
std::string ToText(const std::vector<Candidate>& candidates) {
  std::string text;
  for (const Candidate& one : candidates) {
    const std::string line = fmt::format("{} {}\n", one.Name(), one.fabric);
    if (text.find(line) == std::string::npos) text += line;
  }
  return text;
}

// Chooses the first of rank 0's lines that all ranks have; else the first provider that all have,
// whose networks must then lead to each other; "" where there is none.
std::string Choose(const std::vector<std::string>& all) {
  const auto in_all = [&](const std::string& text) {
    return std::all_of(all.begin(), all.end(), [&](const std::string& lines) {
      return ("\n" + lines).find("\n" + text) != std::string::npos;
    });
  };
  std::string name;
  std::istringstream lines(all.front());
  for (std::string line; std::getline(lines, line);) {
    const std::string own_name = line.substr(0, line.find(' '));
    // The same provider on several networks is preferred to another provider.
    if (!name.empty() && name != own_name) break;
    if (in_all(line + "\n")) return line;
    if (in_all(own_name + " ")) name = own_name;
  }
  return name;
}

// The absences of the rank with the fewest ways out, from texts of the form "WAYS_OUT ABSENCES".
std::string WhatIsLacking(const std::vector<std::string>& all) {
  const auto ways = [](const std::string& text) { return std::atoi(text.c_str()); };
  const auto least = std::min_element(
      all.begin(), all.end(), [&](const auto& a, const auto& b) { return ways(a) < ways(b); });
  return fmt::format("rank {} has no {}", least - all.begin(), least->substr(least->find(' ') + 1));
}

// Picks this rank's own candidate among those that fit what was chosen. The ranks of a node take
// its adapters in turn.
const Candidate& Pick(const std::vector<Candidate>& candidates, const std::string& chosen,
                      int local_rank) {
  std::vector<const Candidate*> fitting;
  for (const Candidate& one : candidates) {
    const std::string line = fmt::format("{} {}", one.Name(), one.fabric);
    if (line == chosen || one.Name() == chosen) fitting.push_back(&one);
  }
  const std::string_view provider = fitting.at(0)->provider->name;
  const bool has_adapters = provider == "efa" || provider == "verbs";
  return *fitting[has_adapters ? static_cast<std::size_t>(local_rank) % fitting.size() : 0];
}

}  // namespace

std::variant<std::unique_ptr<Transport>, Skipped> JoinOfi(Ranks& ranks, const OfiOptions& options) {
  double last_node[] = {static_cast<double>(ranks.Node())};
  ranks.Max(last_node);
  // Two ranks with one host name need not share memory or a network (NCCL compares the device of
  // its shared memory, too). Without this test they would wait for each other in memory that they
  // don't share, or at a loopback address that is each one's own.
  const bool one_memory = AreAlike(ranks, options.memory, OwnMemory);
  const bool one_network = AreAlike(ranks, options.network, OwnNetwork);
  const bool several = last_node[0] > 0 || !one_network;
  const bool shares_memory = last_node[0] == 0 && one_memory;

  Info offers;
  std::vector<Candidate> candidates;
  std::string own;
  try {
    offers = Offers(options.puts);
    candidates = CandidatesOf(offers.get(), options.provider, several, shares_memory);
    own = ToText(candidates);
  } catch (const Error& error) {
    own = std::string(kError) + error.what();
  }
  const std::string chosen = Agree(ranks, own, Choose);
  std::string absent = Absences(candidates, last_node[0] > 0, shares_memory);
  if (chosen.empty()) {
    const std::string lacks =
        Agree(ranks, fmt::format("{} {}", std::count(own.begin(), own.end(), '\n'), absent),
              WhatIsLacking);
    return Skipped{.reason = "the ranks have no libfabric provider in common (" + lacks + ")",
                   .remedy =
                       "see what `fi_info -l` lists on each node (apt-get install "
                       "libfabric-bin)"};
  }

  std::unique_ptr<OfiEndpoint> endpoint;
  try {
    endpoint = std::make_unique<OfiEndpoint>(ranks, Pick(candidates, chosen, ranks.LocalRank()),
                                             std::move(absent), options.patience);
    own = ToHex(endpoint->Address());
  } catch (const Error& error) {
    own = std::string(kError) + error.what();
  }
  std::istringstream addresses(Agree(ranks, own, [](const std::vector<std::string>& all) {
    return fmt::format("{}", fmt::join(all, " "));
  }));
  own.clear();
  try {
    std::vector<std::vector<unsigned char>> all;
    for (std::string word; addresses >> word;) all.push_back(AddressFrom(word));
    if (all.size() != static_cast<std::size_t>(ranks.Size())) {
      throw Error("the ranks' libfabric addresses got lost on their way");
    }
    endpoint->Connect(all);
  } catch (const Error& error) {
    own = std::string(kError) + error.what();
  }
  Agree(ranks, own, [](const std::vector<std::string>&) { return std::string(); });
  if (options.puts) return MessagesByPuts(std::make_unique<OfiPuts>(std::move(endpoint)));
  return std::make_unique<OfiTransport>(std::move(endpoint));
}

namespace {

class OfiLibrary : public Library {
 public:
  std::string Name() const override { return "ofi"; }
  Prepared Prepare(const Collective& collective, Ranks& ranks, std::uint64_t seed) override {
    if (std::optional<Skipped> no = RefusalOver(collective, ranks, /*registers=*/true)) {
      return *no;
    }
    // The transport is made once for all cases, since opening an adapter and connecting take longer
    // than most of them.
    if (members_ != ranks.Members()) {
      tagged_.reset();
      putting_.reset();
      members_ = ranks.Members();
    }
    const bool puts = collective.buffers == "registered";
    std::shared_ptr<Transport>& transport = puts ? putting_ : tagged_;
    if (!transport) {
      auto joined = JoinOfi(ranks, {.puts = puts});
      if (const Skipped* skipped = std::get_if<Skipped>(&joined)) return *skipped;
      transport = std::get<std::unique_ptr<Transport>>(std::move(joined));
    }
    return PrepareTimedCollective(collective, ranks, ExchangeOver(transport, ranks, collective),
                                  seed);
  }

 private:
  std::vector<int> members_ = {};  // the ranks that the transports connect
  std::shared_ptr<Transport> tagged_ = {};
  std::shared_ptr<Transport> putting_ = {};
};

std::vector<std::unique_ptr<Library>> Libraries() {
  std::vector<std::unique_ptr<Library>> libraries;
  libraries.push_back(std::make_unique<OfiLibrary>());
  return libraries;
}

std::string Version() { return "libfabric " + Described(&kApi, FI_TYPE_VERSION); }

constexpr Module kModule = {.build_id = ASSAY_BUILD_ID,
                            .name = "ofi",
                            .backends = nullptr,
                            .libraries = Libraries,
                            .ranks = nullptr,
                            .version = Version};

}  // namespace
}  // namespace assay

extern "C" const assay::Module* assay_module() { return &assay::kModule; }
