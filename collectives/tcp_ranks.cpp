#include "collectives/tcp_ranks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <list>
#include <map>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/descriptor.h"
#include "collectives/watchdog.h"
#include "results/error.h"
#include "results/hash.h"
#include "results/text.h"
#include "runner/module.h"

namespace assay {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::duration_cast, std::chrono::milliseconds;

constexpr int kMostRanks = 65536;
constexpr std::size_t kHexDigits = 64;  // of a key, a drawn number, a proof: 32 bytes each
constexpr std::size_t kMostFrame = std::size_t{64} << 10;
constexpr std::size_t kMostText = std::size_t{64} << 20;
// Until a rank has proved itself it is read no further than this, and has this long to say it.
constexpr std::size_t kMostGreeting = 512;
constexpr Seconds kGreetingTime(5);
// Strangers that may be halfway through a greeting at once, beside the ranks.
constexpr std::size_t kMostStrangers = 64;
constexpr std::string_view kProtocol = "assay-ranks/1";

// What a frame is for, so that ranks that are out of step notice.
enum Kind : unsigned char {
  kChallenge = 'c',
  kGreeting = 'h',
  kAnswer = 'a',
  kPlace = 'p',
  kBarrier = 'b',
  kBroadcast = 't',
  kGather = 'g',
  kMax = 'm',
};

// A frame is a kind, the length of what follows in four bytes (the highest bit is set where the
// text goes on in the next frame, which only a full one may say), and that many bytes.
constexpr std::size_t kHeader = 5;
constexpr std::uint32_t kGoesOn = 0x80000000U;

struct Message {
  unsigned char kind = 0;
  std::string text = {};
};

// The connection's end, or what makes no sense on it, as a sentence that begins with its name.
class Broken : public Error {
 public:
  using Error::Error;
};

int Remaining(SteadyClock::time_point deadline) {
  const auto left = duration_cast<milliseconds>(deadline - SteadyClock::now()).count();
  return static_cast<int>(std::clamp<long>(left, 0, 1000000));
}

SteadyClock::time_point After(Seconds time) {
  return SteadyClock::now() + duration_cast<SteadyClock::duration>(time);
}

// One connection that never blocks by itself. Reading is bounded: no more than a frame is held
// beside the text that is being put together.
class Peer {
 public:
  Peer(Descriptor socket, std::string name) : socket_(std::move(socket)), name_(std::move(name)) {}

  int Number() const { return socket_.Number(); }
  const std::string& Name() const { return name_; }
  void Rename(std::string name) { name_ = std::move(name); }

  // Sleeps while the other side reads too slowly.
  void Send(Kind kind, std::string_view text) {
    do {
      const std::size_t part = std::min(text.size(), kMostFrame);
      const bool goes_on = part < text.size();
      const auto length = static_cast<std::uint32_t>(part) | (goes_on ? kGoesOn : 0);
      std::string frame(1, static_cast<char>(kind));
      for (int shift = 24; shift >= 0; shift -= 8) {
        frame.push_back(static_cast<char>((length >> shift) & 0xFFU));
      }
      frame += text.substr(0, part);
      SendAll(frame);
      text.remove_prefix(part);
    } while (!text.empty());
  }

  // The next message if it is there; never waits.
  std::optional<Message> Take(std::size_t most_text) {
    for (;;) {
      if (std::optional<Message> message = TakeBuffered(most_text)) return message;
      if (!ReadSome()) return std::nullopt;
    }
  }

  // Waits for the next message, which must be of this kind.
  std::string Receive(Kind kind, std::size_t most_text = kMostText) {
    for (;;) {
      if (std::optional<Message> message = Take(most_text)) return Expect(*message, kind);
      pollfd ready = {.fd = Number(), .events = POLLIN, .revents = 0};
      poll(&ready, 1, -1);
    }
  }
  // The same, but no longer than to the deadline.
  std::string Receive(Kind kind, std::size_t most_text, SteadyClock::time_point deadline) {
    for (;;) {
      if (std::optional<Message> message = Take(most_text)) return Expect(*message, kind);
      pollfd ready = {.fd = Number(), .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, Remaining(deadline)) == 0) {
        throw Broken(name_ + " did not answer in time; is it assay that listens there?");
      }
    }
  }

  std::string Expect(Message& message, Kind kind) const {
    if (message.kind == kind) return std::move(message.text);
    throw Broken(
        fmt::format("{} is out of step with this rank (its message is of kind {}, not '{}'); "
                    "report this as a bug",
                    name_, static_cast<int>(message.kind), static_cast<char>(kind)));
  }

 private:
  void SendAll(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(Number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
      } else if (n < 0 && errno == EAGAIN) {
        pollfd ready = {.fd = Number(), .events = POLLOUT, .revents = 0};
        poll(&ready, 1, -1);
      } else if (n < 0 && errno != EINTR) {
        Fail(std::strerror(errno));
      }
    }
  }

  std::optional<Message> TakeBuffered(std::size_t most_text) {
    if (received_.size() < kHeader) return std::nullopt;
    std::uint32_t length = 0;
    for (std::size_t i = 1; i < kHeader; ++i) {
      length = length << 8U | static_cast<unsigned char>(received_[i]);
    }
    const bool goes_on = (length & kGoesOn) != 0;
    length &= ~kGoesOn;
    const auto kind = static_cast<unsigned char>(received_[0]);
    if (length > kMostFrame || (goes_on && length != kMostFrame) ||
        message_.text.size() + length > most_text ||
        (!message_.text.empty() && kind != message_.kind)) {
      throw Broken(name_ + " sent something that assay never sends; look for what else uses port " +
                   "and key of this job");
    }
    if (received_.size() < kHeader + length) return std::nullopt;
    message_.kind = kind;
    message_.text.append(received_, kHeader, length);
    received_.erase(0, kHeader + length);
    if (goes_on) return TakeBuffered(most_text);
    return std::exchange(message_, {});
  }

  // False where nothing more is there now.
  bool ReadSome() {
    std::array<char, kMostFrame> buffer;
    const ssize_t n = recv(Number(), buffer.data(), buffer.size(), 0);
    if (n > 0) received_.append(buffer.data(), static_cast<std::size_t>(n));
    if (n == 0) Fail("it closed the connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR) Fail(std::strerror(errno));
    return n > 0;
  }

  [[noreturn]] void Fail(const char* why) const {
    throw Broken(fmt::format("{} is gone ({}); look for its own last words", name_, why));
  }

  Descriptor socket_;
  std::string name_;
  std::string received_ = {};
  Message message_ = {};  // its text so far
};

// ---- Addresses ----

struct Place {
  sockaddr_storage address = {};
  socklen_t length = 0;
};

bool IsLoopback(const Place& place) {
  if (place.address.ss_family == AF_INET) {
    sockaddr_in v4 = {};
    std::memcpy(&v4, &place.address, sizeof(v4));
    return (ntohl(v4.sin_addr.s_addr) >> 24U) == 127;
  }
  sockaddr_in6 v6 = {};
  std::memcpy(&v6, &place.address, sizeof(v6));
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

// Every address of MASTER_ADDR that may be used. Throws Error where there is none.
std::vector<Place> PlacesOf(const TcpOptions& options) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status =
      getaddrinfo(options.address.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (status != 0) {
    throw Error(
        fmt::format("MASTER_ADDR {} is no address that is known here ({}); name rank 0's "
                    "host or its IP address",
                    Clean(options.address, 256), gai_strerror(status)));
  }
  std::vector<Place> places;
  bool refused = false;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Place place = {.length = each->ai_addrlen};
    std::memcpy(&place.address, each->ai_addr, each->ai_addrlen);
    if (options.key.empty() && !IsLoopback(place)) {
      refused = true;
    } else {
      places.push_back(place);
    }
  }
  freeaddrinfo(found);
  if (places.empty()) {
    throw Error(fmt::format(
        "MASTER_ADDR {} can be reached from other machines{}, so ranks need a key: set "
        "ASSAY_BOOTSTRAP_KEY on all of them to the same 64 hex digits (openssl rand -hex 32)",
        Clean(options.address, 256), refused ? "" : " or from none"));
  }
  return places;
}

Descriptor NewSocket(const Place& place) {
  Descriptor made(
      socket(place.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (made.Number() < 0) {
    throw Error(fmt::format("no TCP socket can be made here: {}", std::strerror(errno)));
  }
  return made;
}

// Small messages leave at once, and a cut link is noticed within a minute.
void Tune(int socket) {
  const auto set = [socket](int level, int name, int value) {
    setsockopt(socket, level, name, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
}

Descriptor Listen(const TcpOptions& options) {
  if (options.listener >= 0) {
    fcntl(options.listener, F_SETFD, FD_CLOEXEC);
    fcntl(options.listener, F_SETFL, O_NONBLOCK);
    return Descriptor(options.listener);
  }
  int error = 0;
  for (const Place& place : PlacesOf(options)) {
    Descriptor made = NewSocket(place);
    const int on = 1;
    setsockopt(made.Number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(made.Number(), reinterpret_cast<const sockaddr*>(&place.address), place.length) == 0 &&
        listen(made.Number(), SOMAXCONN) == 0) {
      return made;
    }
    error = errno;
  }
  throw Error(fmt::format(
      "rank 0 can't listen on MASTER_ADDR {} port {} ({}); {}", Clean(options.address, 256),
      options.port, std::strerror(error),
      error == EADDRINUSE ? "choose another MASTER_PORT"
                          : "MASTER_ADDR must be an address of the machine that rank 0 runs on"));
}

Descriptor Connect(const TcpOptions& options, SteadyClock::time_point deadline) {
  int error = 0;
  // Rank 0 may come later than this one.
  do {
    for (const Place& place : PlacesOf(options)) {
      Descriptor made = NewSocket(place);
      if (connect(made.Number(), reinterpret_cast<const sockaddr*>(&place.address), place.length) ==
          0) {
        return made;
      }
      error = errno;
      if (error != EINPROGRESS) continue;
      pollfd ready = {.fd = made.Number(), .events = POLLOUT, .revents = 0};
      error = ETIMEDOUT;
      if (poll(&ready, 1, Remaining(deadline)) <= 0) continue;
      socklen_t size = sizeof(error);
      getsockopt(made.Number(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error == 0) return made;
    }
    std::this_thread::sleep_for(milliseconds(20));
  } while (SteadyClock::now() < deadline);
  throw Error(
      fmt::format("rank {} can't reach rank 0 at {} port {} within {} ({}); is rank 0 "
                  "started, and does a firewall let the port through?",
                  options.rank, Clean(options.address, 256), options.port,
                  Duration(options.patience.count()), std::strerror(error)));
}

// ---- Proofs ----

// What a rank says of itself, and each side's proof over what the other has just drawn.
std::string RankProof(const std::string& key, const std::string& root_nonce,
                      const std::string& rank_nonce, const std::string& says) {
  return HmacSha256Hex(key,
                       fmt::format("{} rank\n{}\n{}\n{}", kProtocol, root_nonce, rank_nonce, says));
}
std::string RootProof(const std::string& key, const std::string& root_nonce,
                      const std::string& rank_nonce, const std::string& answer) {
  return HmacSha256Hex(
      key, fmt::format("{} root\n{}\n{}\n{}", kProtocol, root_nonce, rank_nonce, answer));
}

std::string ThisHost() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return boot + "\n" + HostName();
}

std::string SaysOf(const TcpOptions& options) {
  const std::string host = options.host.empty() ? ThisHost() : options.host;
  return fmt::format("{} {} {} {}", options.rank, options.size, Sha256Hex(BuildId()),
                     Sha256Hex(host));
}

// ---- Rank 0's end ----

struct Stranger {
  Peer peer;
  std::string nonce;
  SteadyClock::time_point deadline;
};

// All ranks but 0, by rank, with the hosts of all.
class Reception {
 public:
  Reception(const TcpOptions& options, std::string own_host)
      : options_(options),
        listener_(Listen(options)),
        peers_(static_cast<std::size_t>(options.size)),
        hosts_(static_cast<std::size_t>(options.size)) {
    hosts_[0] = std::move(own_host);
  }

  void Receive() {
    const SteadyClock::time_point deadline = After(options_.patience);
    while (missing_ > 0) {
      const SteadyClock::time_point now = SteadyClock::now();
      if (now >= deadline) throw Error(WhoIsMissing());
      SteadyClock::time_point next = deadline;
      std::vector<pollfd> ready = {{.fd = listener_.Number(), .events = POLLIN, .revents = 0}};
      for (const Stranger& stranger : strangers_) {
        ready.push_back({.fd = stranger.peer.Number(), .events = POLLIN, .revents = 0});
        next = std::min(next, stranger.deadline);
      }
      if (poll(ready.data(), ready.size(), Remaining(next) + 1) < 0) continue;
      std::size_t at = 1;
      for (auto each = strangers_.begin(); each != strangers_.end(); ++at) {
        const auto stranger = each++;
        if (ready[at].revents != 0) {
          Hear(stranger);
        } else if (SteadyClock::now() >= stranger->deadline) {
          SendAway(stranger, "said too little in " + Duration(kGreetingTime.count()));
        }
      }
      if (ready[0].revents != 0) Accept();
    }
  }

  std::vector<std::optional<Peer>> peers() { return std::move(peers_); }
  const std::vector<std::string>& hosts() const { return hosts_; }

 private:
  void Accept() {
    Descriptor made(accept4(listener_.Number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (made.Number() < 0 && (errno == EMFILE || errno == ENFILE)) {
      throw Error(
          fmt::format("rank 0 may not open a connection for each of {} ranks ({}); raise "
                      "its limit with ulimit -n",
                      options_.size, std::strerror(errno)));
    }
    if (made.Number() < 0) return;
    Tune(made.Number());
    if (strangers_.size() >= kMostStrangers + peers_.size()) {
      SendAway(strangers_.begin(), "was crowded out by others");
    }
    strangers_.push_back({.peer = Peer(std::move(made), "somebody"),
                          .nonce = RandomHex(32),
                          .deadline = After(kGreetingTime)});
    const auto stranger = std::prev(strangers_.end());
    try {
      stranger->peer.Send(kChallenge, fmt::format("{} {}", kProtocol, stranger->nonce));
    } catch (const Broken&) {
      SendAway(stranger, "left at once");
    }
  }

  void Hear(std::list<Stranger>::iterator stranger) {
    try {
      std::optional<Message> message = stranger->peer.Take(kMostGreeting);
      if (!message) return;
      Greet(stranger, stranger->peer.Expect(*message, kGreeting));
    } catch (const Broken&) {
      SendAway(stranger, "said something that assay never says");
    }
  }

  // "RANK SIZE BUILD HOST NONCE PROOF". Until the proof is seen to hold, nothing of it counts.
  void Greet(std::list<Stranger>::iterator stranger, const std::string& text) {
    std::istringstream words(text);
    int rank = -1;
    int size = -1;
    std::string build;
    std::string host;
    std::string nonce;
    std::string proof;
    words >> rank >> size >> build >> host >> nonce >> proof;
    const std::string says = fmt::format("{} {} {} {}", rank, size, build, host);
    if (!words || nonce.size() != kHexDigits ||
        !SameProof(proof, RankProof(options_.key, stranger->nonce, nonce, says))) {
      stranger->peer.Send(kAnswer, "- no");
      SendAway(stranger, "did not hold this job's key (ASSAY_BOOTSTRAP_KEY)");
      return;
    }
    std::string refusal;
    const auto at = static_cast<std::size_t>(rank);
    if (size != options_.size) {
      refusal = fmt::format(
          "rank {} was told of {} ranks and rank 0 of {}: set the same "
          "WORLD_SIZE on all",
          rank, size, options_.size);
    } else if (rank < 1 || rank >= size) {
      refusal = fmt::format(
          "a rank came as number {}, and there are 1 to {} beside rank 0: "
          "set RANK to each number once",
          rank, size - 1);
    } else if (build != Sha256Hex(BuildId())) {
      refusal = fmt::format(
          "rank {} runs another build of assay than rank 0: install the same "
          "one everywhere",
          rank);
    } else if (peers_[at]) {
      refusal = fmt::format("two processes came as rank {}: set RANK to each number once", rank);
    }
    const std::string answer = refusal.empty() ? "yes" : refusal;
    stranger->peer.Send(kAnswer,
                        RootProof(options_.key, stranger->nonce, nonce, answer) + " " + answer);
    // It knows the key, so it is one of ours, and the job can't come to be.
    if (!refusal.empty()) throw Error(refusal);
    stranger->peer.Rename(fmt::format("rank {}", rank));
    peers_[at] = std::move(stranger->peer);
    hosts_[at] = host;
    strangers_.erase(stranger);
    --missing_;
  }

  void SendAway(std::list<Stranger>::iterator stranger, const std::string& why) {
    ++sent_away_;
    last_sent_away_ = why;
    strangers_.erase(stranger);
  }

  std::string WhoIsMissing() const {
    std::vector<int> missing;
    for (int rank = 1; rank < options_.size; ++rank) {
      if (!peers_[static_cast<std::size_t>(rank)]) missing.push_back(rank);
    }
    const std::size_t all = missing.size();
    if (all > 8) missing.resize(8);
    std::string strangers;
    if (sent_away_ > 0) {
      strangers = fmt::format("; {} connection{} turned away, the last of which {}", sent_away_,
                              sent_away_ == 1 ? " was" : "s were", last_sent_away_);
    }
    return fmt::format(
        "rank{} {}{} of {} did not come within {}{}; is every rank started, with "
        "its RANK, and rank 0's MASTER_ADDR and MASTER_PORT?",
        all == 1 ? "" : "s", fmt::join(missing, ", "), all > 8 ? " …" : "", options_.size,
        Duration(options_.patience.count()), strangers);
  }

  const TcpOptions& options_;
  Descriptor listener_;
  std::vector<std::optional<Peer>> peers_;
  std::vector<std::string> hosts_;
  std::list<Stranger> strangers_ = {};
  int missing_ = options_.size - 1;
  int sent_away_ = 0;
  std::string last_sent_away_ = {};
};

// Node and local rank of each rank: nodes are numbered by their lowest rank.
std::vector<std::pair<int, int>> Places(const std::vector<std::string>& hosts) {
  std::map<std::string, std::pair<int, int>> seen;  // its number, and how many ranks so far
  std::vector<std::pair<int, int>> places;
  for (const std::string& host : hosts) {
    auto& [node, ranks] = seen.try_emplace(host, static_cast<int>(seen.size()), 0).first->second;
    places.emplace_back(node, ranks++);
  }
  return places;
}

// ---- The ranks ----

class TcpRanks : public Ranks {
 public:
  explicit TcpRanks(const TcpOptions& options) : rank_(options.rank), size_(options.size) {
    if (rank_ == 0) {
      const std::string says = SaysOf(options);
      Reception reception(options, /*own_host=*/says.substr(says.rfind(' ') + 1));
      reception.Receive();
      peers_ = reception.peers();
      const auto places = Places(reception.hosts());
      for (std::size_t rank = 1; rank < peers_.size(); ++rank) {
        peers_[rank]->Send(kPlace, fmt::format("{} {}", places[rank].first, places[rank].second));
      }
    } else {
      JoinRoot(options);
    }
    local_rank_ = options.local_rank.value_or(local_rank_);
  }

  int Rank() const override { return rank_; }
  int Size() const override { return size_; }
  int LocalRank() const override { return local_rank_; }
  int Node() const override { return node_; }
  std::string JoinedBy() const override { return "tcp"; }

  void Barrier() override {
    Collect(kBarrier, "");
    Spread(kBarrier, "");
  }
  std::string Broadcast(const std::string& text) override { return Spread(kBroadcast, text); }
  std::vector<std::string> Gather(const std::string& text) override {
    return Collect(kGather, text);
  }
  void Max(std::span<double> values) override {
    const std::size_t bytes = values.size() * sizeof(double);
    std::string own(bytes, '\0');
    if (bytes > 0) std::memcpy(own.data(), values.data(), bytes);
    // Numbers travel as they lie in memory: all ranks are of one build.
    const auto take_larger = [&](const std::string& text) {
      if (text.size() != bytes) {
        throw Broken("the ranks are out of step over a maximum; report this as a bug");
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        double value = 0;
        std::memcpy(&value, text.data() + i * sizeof(double), sizeof(double));
        values[i] = std::max(values[i], value);
      }
    };
    for (const std::string& text : Collect(kMax, own)) take_larger(text);
    if (bytes > 0) std::memcpy(own.data(), values.data(), bytes);
    take_larger(Spread(kMax, own));
  }

 private:
  void JoinRoot(const TcpOptions& options) {
    const SteadyClock::time_point deadline = After(options.patience);
    Descriptor made = Connect(options, deadline);
    Tune(made.Number());
    Peer root(std::move(made), "rank 0");
    std::istringstream challenge(root.Receive(kChallenge, kMostGreeting, deadline));
    std::string protocol;
    std::string root_nonce;
    challenge >> protocol >> root_nonce;
    if (protocol != kProtocol || root_nonce.size() != kHexDigits) {
      throw Error(fmt::format("what listens at MASTER_ADDR port {} isn't rank 0 of this assay",
                              options.port));
    }
    const std::string says = SaysOf(options);
    const std::string nonce = RandomHex(32);
    root.Send(kGreeting, fmt::format("{} {} {}", says, nonce,
                                     RankProof(options.key, root_nonce, nonce, says)));
    const std::string text = root.Receive(kAnswer, kMostGreeting, deadline);
    const std::string proof = text.substr(0, text.find(' '));
    const std::string answer = text.substr(std::min(text.size(), proof.size() + 1));
    if (!SameProof(proof, RootProof(options.key, root_nonce, nonce, answer))) {
      throw Error(
          fmt::format("rank {} and rank 0 don't hold the same key: set "
                      "ASSAY_BOOTSTRAP_KEY to the same 64 hex digits on all ranks",
                      options.rank));
    }
    if (answer != "yes") throw Error(answer);
    // The last rank may come as late as the deadline by rank 0's clock, which began at another
    // time.
    std::istringstream place(
        root.Receive(kPlace, kMostGreeting, After(options.patience + Seconds(5))));
    place >> node_ >> local_rank_;
    if (!place) throw Error("rank 0 did not say where this rank is; report this as a bug");
    peers_.emplace_back(std::move(root));
  }

  // Every rank's text in rank order on rank 0, whichever comes first; empty elsewhere.
  std::vector<std::string> Collect(Kind kind, const std::string& text) {
    if (rank_ != 0) {
      peers_[0]->Send(kind, text);
      return {};
    }
    std::vector<std::string> texts(static_cast<std::size_t>(size_));
    texts[0] = text;
    std::vector<std::size_t> waiting;
    for (std::size_t rank = 1; rank < texts.size(); ++rank) waiting.push_back(rank);
    while (!waiting.empty()) {
      std::vector<pollfd> ready;
      for (const std::size_t rank : waiting) {
        ready.push_back({.fd = peers_[rank]->Number(), .events = POLLIN, .revents = 0});
      }
      std::erase_if(waiting, [&](std::size_t rank) {
        std::optional<Message> message = peers_[rank]->Take(kMostText);
        if (message) texts[rank] = peers_[rank]->Expect(*message, kind);
        return message.has_value();
      });
      if (ready.size() == waiting.size()) poll(ready.data(), ready.size(), -1);
    }
    return texts;
  }

  std::string Spread(Kind kind, const std::string& text) {
    if (rank_ != 0) return peers_[0]->Receive(kind);
    if (text.size() > kMostText) throw Error("a text of over 64 MiB can't be sent to the ranks");
    for (std::size_t rank = 1; rank < peers_.size(); ++rank) peers_[rank]->Send(kind, text);
    return text;
  }

  int rank_;
  int size_;
  int local_rank_ = 0;
  int node_ = 0;
  std::vector<std::optional<Peer>> peers_ = {};  // on rank 0 by rank; elsewhere rank 0 alone
};

int IntegerOf(const char* name, const char* text, int least, int most) {
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stopped != end || value < least || value > most) {
    throw Error(fmt::format("{} is a whole number from {} to {}, not '{}'", name, least, most,
                            Clean(text, 32)));
  }
  return value;
}

}  // namespace

TcpOptions TcpOptionsFrom(const std::function<const char*(const char*)>& variable) {
  // In a step of Slurm its own variables serve where these aren't set.
  const auto needed = [&](const char* name, const char* slurms) {
    const char* value = variable(name);
    if ((value == nullptr || *value == '\0') && slurms != nullptr) value = variable(slurms);
    if (value == nullptr || *value == '\0') {
      throw Error(
          fmt::format("--bootstrap tcp needs {}: set MASTER_ADDR, RANK and WORLD_SIZE on "
                      "every rank (MASTER_PORT is 29500 without)",
                      name));
    }
    return value;
  };
  TcpOptions options;
  options.address = needed("MASTER_ADDR", nullptr);
  options.size =
      IntegerOf("WORLD_SIZE", needed("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"), 1, kMostRanks);
  options.rank = IntegerOf("RANK", needed("RANK", "SLURM_PROCID"), 0, options.size - 1);
  if (const char* port = variable("MASTER_PORT")) {
    options.port = IntegerOf("MASTER_PORT", port, 1, 65535);
  }
  if (const char* local = variable("LOCAL_RANK")) {
    options.local_rank = IntegerOf("LOCAL_RANK", local, 0, options.size - 1);
  }
  if (const char* key = variable("ASSAY_BOOTSTRAP_KEY")) {
    options.key = key;
    const auto is_hex = [](unsigned char c) { return std::isxdigit(c) != 0; };
    if (options.key.size() != kHexDigits ||
        !std::all_of(options.key.begin(), options.key.end(), is_hex)) {
      throw Error("ASSAY_BOOTSTRAP_KEY is 64 hex digits (openssl rand -hex 32); this one isn't");
    }
  }
  if (const char* listener = variable("ASSAY_BOOTSTRAP_LISTENER"); listener && options.rank == 0) {
    options.listener = IntegerOf("ASSAY_BOOTSTRAP_LISTENER", listener, 3, 1 << 20);
  }
  return options;
}

std::string UnjoinedText(const std::function<const char*(const char*)>& variable) {
  const char* rank = variable("RANK");
  const char* size = variable("WORLD_SIZE");
  const char* address = variable("MASTER_ADDR");
  if (rank == nullptr || size == nullptr || address == nullptr || std::string_view(size) == "1") {
    return "";
  }
  return fmt::format(
      "RANK {} of WORLD_SIZE {} is set, as torchrun does it, and not used: each of these processes "
      "measures alone, beside the others; --bootstrap tcp joins them",
      Clean(rank, 16), Clean(size, 16));
}

std::unique_ptr<Ranks> JoinTcp(const TcpOptions& options) {
  return std::make_unique<TcpRanks>(options);
}

}  // namespace assay
