#include "runner/cluster/tcp_ranks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <list>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/descriptor.h"
#include "results/base/error.h"
#include "results/base/hash.h"
#include "results/base/text.h"
#include "runner/cluster/meeting_place.h"
#include "runner/cluster/watchdog.h"
#include "runner/core/module.h"

namespace assay {
namespace {

using std::chrono::milliseconds;

constexpr int kMostRanks = 65536;
constexpr std::size_t kHexDigits = 64;  // those of a key, a drawn number or a proof: 32 bytes each
constexpr std::size_t kMostFrame = std::size_t{64} << 10;
constexpr std::size_t kMostText = std::size_t{64} << 20;
// The bytes that are read of a rank, and the time that it has, until it has proved itself.
constexpr std::size_t kMostGreeting = 512;
constexpr Seconds kGreetingTime(5);
// The number of strangers that may be halfway through a greeting at once, besides the ranks.
constexpr std::size_t kMostStrangers = 64;
// The number of descriptors that rank 0 may have besides connections.
constexpr std::size_t kOtherDescriptors = 256;
// The time for which a rank goes on trying after its connection ended before rank 0 knew it.
// Strangers may have crowded it out, or rank 0 has ended.
constexpr Seconds kSecondTry(10);
constexpr std::string_view kProtocol = "assay-ranks/2";

// The purpose of a frame, by which ranks notice that they are out of step.
enum Kind : unsigned char {
  kChallenge = 'c',
  kNonce = 'n',
  kProof = 'r',
  kGreeting = 'h',
  kAnswer = 'a',
  kPlace = 'p',
  kBarrier = 'b',
  kBroadcast = 't',
  kGather = 'g',
  kMax = 'm',
};

// The size of a frame's header. A frame is a kind, a length in four bytes, and that many bytes of
// text. The highest bit of the length is set where the text goes on in the next frame, which only a
// full frame may say. After the proofs a seal follows: an HMAC of the frame, of its sender and of
// the number of frames that this one sent before.
constexpr std::size_t kHeader = 5;
constexpr std::uint32_t kGoesOn = 0x80000000U;

struct Message {
  unsigned char kind = 0;
  std::string text = {};
};

// The error of a connection that ended or said what makes no sense, as a sentence that begins with
// the connection's name.
class Broken : public Error {
 public:
  using Error::Error;
};
// The error of a connection that ended, without any other fault.
class Gone : public Broken {
 public:
  using Broken::Broken;
};

// One non-blocking connection. Reading is bounded: no more than a frame is held besides the text
// that is being put together.
class Peer {
 public:
  Peer(Descriptor socket, std::string name) : socket_(std::move(socket)), name_(std::move(name)) {}

  int Number() const { return socket_.Number(); }
  const std::string& Name() const { return name_; }
  void Rename(std::string name) { name_ = std::move(name); }

  // Seals every later frame, in both directions, by a key of this connection alone. Somebody
  // between the two sides can then do no more than end the connection.
  void Seal(std::string key, bool is_root) {
    key_ = std::move(key);
    sent_ = {.from = is_root ? "root" : "rank"};
    taken_ = {.from = is_root ? "rank" : "root"};
  }

  // Sends a text. Sleeps while the other side reads too slowly.
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
      if (!key_.empty()) frame += SealOf(frame, sent_);
      SendAll(frame);
      text.remove_prefix(part);
    } while (!text.empty());
  }

  // Returns the next message if it is there; never waits.
  std::optional<Message> Take(std::size_t most_text) {
    for (;;) {
      if (std::optional<Message> message = TakeBuffered(most_text)) return message;
      if (!ReadSome()) return std::nullopt;
    }
  }

  // Waits for the next message, which must be of this kind, and returns its text.
  std::string Receive(Kind kind, std::size_t most_text = kMostText) {
    for (;;) {
      if (std::optional<Message> message = Take(most_text)) return Expect(*message, kind);
      pollfd ready = {.fd = Number(), .events = POLLIN, .revents = 0};
      poll(&ready, 1, -1);
    }
  }
  // Waits as above, but not beyond the deadline.
  std::string Receive(Kind kind, std::size_t most_text, SteadyClock::time_point deadline) {
    for (;;) {
      if (std::optional<Message> message = Take(most_text)) return Expect(*message, kind);
      if (!IsReadyBy(deadline, Number(), POLLIN)) {
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
  // One direction of a sealed connection.
  struct Way {
    const char* from = "";
    std::uint64_t frames = 0;
  };

  std::string SealOf(std::string_view frame, Way& way) const {
    return HmacSha256Hex(key_, fmt::format("{} {}\n{}", way.from, way.frames++, frame));
  }

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
    const std::size_t seal = key_.empty() ? 0 : kHexDigits;
    if (received_.size() < kHeader + length + seal) return std::nullopt;
    const std::string_view frame(received_.data(), kHeader + length);
    if (seal > 0 && !SameProof(received_.substr(frame.size(), seal), SealOf(frame, taken_))) {
      throw Broken(
          fmt::format("what came as from {} is not what it sent; look for who can change "
                      "what passes between it and this rank",
                      name_));
    }
    message_.kind = kind;
    message_.text.append(frame, kHeader, length);
    received_.erase(0, kHeader + length + seal);
    if (goes_on) return TakeBuffered(most_text);
    return std::exchange(message_, {});
  }

  // Reads what is there. Returns false where there is nothing more now.
  bool ReadSome() {
    std::array<char, kMostFrame> buffer;
    const ssize_t n = recv(Number(), buffer.data(), buffer.size(), 0);
    if (n > 0) received_.append(buffer.data(), static_cast<std::size_t>(n));
    if (n == 0) Fail("it closed the connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR) Fail(std::strerror(errno));
    return n > 0;
  }

  [[noreturn]] void Fail(const char* why) const {
    throw Gone(fmt::format("{} is gone ({}); look for its own last words", name_, why));
  }

  Descriptor socket_;
  std::string name_;
  std::string received_ = {};
  Message message_ = {};  // the message that is being put together, with its text so far
  std::string key_ = {};  // empty: nothing is sealed yet
  Way sent_ = {};
  Way taken_ = {};
};

// ---- Proofs ----

bool IsHex(const std::string& text) {
  return text.size() == kHexDigits && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isxdigit(c) != 0;
         });
}

// Whether a key was typed rather than drawn. A random key has about 30 different bytes, and as many
// different steps from one byte to the next; it has fewer than 16 of either once in 10^16 keys. A
// key in which digits are repeated, counted up or filled with zeros always has fewer.
bool IsTyped(const std::string& key) {
  std::set<int> bytes;
  std::set<int> steps;
  int before = 0;
  for (std::size_t at = 0; at < key.size(); at += 2) {
    const int byte = std::stoi(key.substr(at, 2), nullptr, 16);
    bytes.insert(byte);
    steps.insert((byte - before) & 0xFF);
    before = byte;
  }
  return std::min(bytes.size(), steps.size()) < 16;
}

// The proof of what one side says to the other. Each side draws a number, and then they talk:
//   rank 0   c  PROTOCOL NUMBER
//   rank     n  NUMBER
//   rank 0   r  PROOF (root, of nothing)
//   rank     h  RANK SIZE BUILD HOST PROOF (rank, of what stands before it)
//   rank 0   a  PROOF ANSWER (answer, of it): "yes", or why not
// A proof that never travels (seal, of nothing) is the key that seals what they say from then on.
std::string Proof(const std::string& key, std::string_view whose, const std::string& root_nonce,
                  const std::string& rank_nonce, std::string_view says) {
  return HmacSha256Hex(
      key, fmt::format("{} {}\n{}\n{}\n{}", kProtocol, whose, root_nonce, rank_nonce, says));
}

// CutLast splits a text into all before its last word, and that word; CutFirst into its first word,
// and all behind it.
std::pair<std::string, std::string> CutLast(const std::string& text) {
  const std::size_t at = text.rfind(' ');
  if (at == std::string::npos) return {"", text};
  return {text.substr(0, at), text.substr(at + 1)};
}
std::pair<std::string, std::string> CutFirst(const std::string& text) {
  const std::size_t at = text.find(' ');
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
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
  std::string own_nonce = {};  // the stranger's number; empty until it has told it
};

// Raises this process's limit on descriptors to one for each rank and stranger, as far as the hard
// limit allows. Throws Error where that is too low for the ranks alone.
void RaiseLimit(int ranks) {
  const auto needed = static_cast<rlim_t>(ranks);
  const rlim_t wanted = 2 * needed + kMostStrangers + kOtherDescriptors;
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(limit.rlim_max, wanted);
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur > needed) return;
  throw Error(
      fmt::format("rank 0 may have {} descriptors, and needs one for each of {} ranks; raise its "
                  "hard limit (ulimit -n)",
                  limit.rlim_cur, ranks));
}

// Receives all ranks but 0, by rank, with the hosts of all.
class Reception {
 public:
  Reception(const TcpOptions& options, std::string own_host)
      : options_(options),
        listeners_(Listen(options)),
        peers_(static_cast<std::size_t>(options.size)),
        hosts_(static_cast<std::size_t>(options.size)) {
    hosts_[0] = std::move(own_host);
    RaiseLimit(options.size);
  }

  void Receive() {
    const SteadyClock::time_point deadline = After(options_.patience);
    while (missing_ > 0) {
      const SteadyClock::time_point now = SteadyClock::now();
      if (now >= deadline) throw Error(WhoIsMissing());
      SteadyClock::time_point next = deadline;
      std::vector<pollfd> ready;
      for (const Descriptor& listener : listeners_) {
        ready.push_back({.fd = listener.Number(), .events = POLLIN, .revents = 0});
      }
      for (const Stranger& stranger : strangers_) {
        ready.push_back({.fd = stranger.peer.Number(), .events = POLLIN, .revents = 0});
        next = std::min(next, stranger.deadline);
      }
      if (poll(ready.data(), ready.size(), Remaining(next) + 1) < 0) continue;
      std::size_t at = listeners_.size();
      for (auto each = strangers_.begin(); each != strangers_.end(); ++at) {
        const auto stranger = each++;
        if (ready[at].revents != 0) {
          Hear(stranger);
        } else if (SteadyClock::now() >= stranger->deadline) {
          SendAway(stranger, "said too little in " + Duration(kGreetingTime.count()));
        }
      }
      for (std::size_t i = 0; i < listeners_.size(); ++i) {
        if (ready[i].revents != 0) Accept(listeners_[i]);
      }
    }
  }

  std::vector<std::optional<Peer>> peers() { return std::move(peers_); }
  const std::vector<std::string>& hosts() const { return hosts_; }

 private:
  void Accept(const Descriptor& listener) {
    Descriptor made = NextConnection(listener);
    while (made.Number() < 0 && (errno == EMFILE || errno == ENFILE) && !strangers_.empty()) {
      SendAway(strangers_.begin(), "had to go, since rank 0 may open no more (ulimit -n)");
      made = NextConnection(listener);
    }
    if (made.Number() < 0) {
      if (errno == EMFILE) {
        throw Error(
            fmt::format("rank 0 may not open a connection for each of {} ranks ({}); raise "
                        "its hard limit (ulimit -n)",
                        options_.size, std::strerror(errno)));
      }
      // Other processes have used up what the whole machine has, and may give it back.
      if (errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        std::this_thread::sleep_for(kPause);
      }
      return;
    }
    if (options_.key.empty()) {
      const uid_t user = UserOf(made.Number());
      if (user != geteuid()) return TurnAway(fmt::format("was user {}'s", user));
    }
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

  // Accepts the next connection. It is invalid, with the reason in errno, where there is none now.
  static Descriptor NextConnection(const Descriptor& listener) {
    return Descriptor(accept4(listener.Number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }

  void Hear(std::list<Stranger>::iterator stranger) {
    try {
      while (std::optional<Message> message = stranger->peer.Take(kMostGreeting)) {
        if (!stranger->own_nonce.empty()) {
          return Greet(stranger, stranger->peer.Expect(*message, kGreeting));
        }
        std::string nonce = stranger->peer.Expect(*message, kNonce);
        if (!IsHex(nonce)) return SendAway(stranger, "said something that assay never says");
        stranger->peer.Send(kProof, Proof(options_.key, "root", stranger->nonce, nonce, ""));
        stranger->own_nonce = std::move(nonce);
      }
    } catch (const Gone&) {
      SendAway(stranger,
               stranger->own_nonce.empty()
                   ? "left before it said anything"
                   : "left at rank 0's proof, as one with another ASSAY_BOOTSTRAP_KEY does");
    } catch (const Broken&) {
      SendAway(stranger, "said something that assay never says");
    }
  }

  // Takes what a stranger says, none of which counts until its proof has been checked.
  void Greet(std::list<Stranger>::iterator stranger, const std::string& text) {
    const auto [says, proof] = CutLast(text);
    const std::string& nonce = stranger->own_nonce;
    if (!SameProof(proof, Proof(options_.key, "rank", stranger->nonce, nonce, says))) {
      return SendAway(stranger, "did not hold this job's key (ASSAY_BOOTSTRAP_KEY)");
    }
    std::istringstream words(says);
    int rank = -1;
    int size = -1;
    std::string build;
    std::string host;
    words >> rank >> size >> build >> host;
    std::string refusal;
    const auto at = static_cast<std::size_t>(rank);
    if (build != Sha256Hex(BuildId())) {
      refusal = fmt::format(
          "rank {} runs another build of assay than rank 0: install the same "
          "one everywhere",
          rank);
    } else if (size != options_.size) {
      refusal = fmt::format(
          "rank {} was told of {} ranks and rank 0 of {}: set the same "
          "WORLD_SIZE on all",
          rank, size, options_.size);
    } else if (rank < 1 || rank >= size) {
      refusal = fmt::format(
          "a rank came as number {}, and there are 1 to {} beside rank 0: "
          "set RANK to each number once",
          rank, size - 1);
    } else if (peers_[at]) {
      refusal = fmt::format("two processes came as rank {}: set RANK to each number once", rank);
    }
    const std::string answer = refusal.empty() ? "yes" : refusal;
    stranger->peer.Send(
        kAnswer, Proof(options_.key, "answer", stranger->nonce, nonce, answer) + " " + answer);
    // A stranger that knows the key is one of our ranks, so the job can't start.
    if (!refusal.empty()) throw Error(refusal);
    stranger->peer.Seal(Proof(options_.key, "seal", stranger->nonce, nonce, ""), /*is_root=*/true);
    stranger->peer.Rename(fmt::format("rank {}", rank));
    peers_[at] = std::move(stranger->peer);
    hosts_[at] = host;
    strangers_.erase(stranger);
    --missing_;
  }

  void TurnAway(std::string why) {
    ++sent_away_;
    last_sent_away_ = std::move(why);
  }
  void SendAway(std::list<Stranger>::iterator stranger, std::string why) {
    TurnAway(std::move(why));
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
    const std::string key =
        options_.key.empty()
            ? fmt::format("MASTER_PORT, by user {} on this machine and without a key", geteuid())
            : "MASTER_ADDR, MASTER_PORT and ASSAY_BOOTSTRAP_KEY";
    return fmt::format(
        "rank{} {}{} of {} did not come within {}{}; is every rank started, with its RANK, and "
        "rank 0's {}?",
        all == 1 ? "" : "s", fmt::join(missing, ", "), all > 8 ? " …" : "", options_.size,
        Duration(options_.patience.count()), strangers, key);
  }

  const TcpOptions& options_;
  std::vector<Descriptor> listeners_;
  std::vector<std::optional<Peer>> peers_;
  std::vector<std::string> hosts_;
  std::list<Stranger> strangers_ = {};
  int missing_ = options_.size - 1;
  int sent_away_ = 0;
  std::string last_sent_away_ = {};
};

// The node and the local rank of each rank. Nodes are numbered by their lowest rank.
std::vector<std::pair<int, int>> Places(const std::vector<std::string>& hosts) {
  std::map<std::string, std::pair<int, int>> seen;  // a host's number, and its ranks so far
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
    // Numbers travel as they lie in memory, since all ranks are of one build.
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
    Peer root = Introduced(options);
    // The last rank may come as late as the deadline by rank 0's clock, which began at another time
    // than this one's.
    std::istringstream place(
        root.Receive(kPlace, kMostGreeting, After(options.patience + Seconds(5))));
    place >> node_ >> local_rank_;
    if (!place) throw Error("rank 0 did not say where this rank is; report this as a bug");
    peers_.emplace_back(std::move(root));
  }

  // Connects to rank 0 and returns the connection once rank 0 has taken this rank in.
  static Peer Introduced(const TcpOptions& options) {
    const SteadyClock::time_point deadline = After(options.patience);
    std::optional<Gone> lost;  // the end of the connection in the try before, if there was one
    for (Seconds patience = options.patience;;) {
      Peer root(Reached(options, patience, lost), "rank 0");
      Tune(root.Number());
      try {
        Introduce(options, root, deadline);
        return root;
      } catch (const Gone& gone) {
        lost = gone;
        const Seconds left = deadline - SteadyClock::now();
        if (left <= kPause) throw;
        std::this_thread::sleep_for(kPause);
        patience = std::min(left, kSecondTry);
      }
    }
  }

  // Connects as Connect does. Where rank 0 can't be reached again after a connection was lost, it
  // has ended, and the loss is the error.
  static Descriptor Reached(const TcpOptions& options, Seconds patience,
                            const std::optional<Gone>& lost) {
    try {
      return Connect(options, patience);
    } catch (const Error&) {
      if (lost) throw Gone(*lost);
      throw;
    }
  }

  // Introduces this rank. Returns when rank 0 has taken it in, after each side has proved itself.
  static void Introduce(const TcpOptions& options, Peer& root, SteadyClock::time_point deadline) {
    const auto challenge = CutFirst(root.Receive(kChallenge, kMostGreeting, deadline));
    const std::string& root_nonce = challenge.second;
    if (challenge.first != kProtocol || !IsHex(root_nonce)) {
      throw Error(fmt::format("what listens at MASTER_ADDR port {} isn't rank 0 of this assay",
                              options.port));
    }
    const std::string nonce = RandomHex(32);
    const auto expect_proof = [&](const std::string& proof, const char* whose,
                                  const std::string& says) {
      if (SameProof(proof, Proof(options.key, whose, root_nonce, nonce, says))) return;
      throw Error(
          fmt::format("rank {} and rank 0 don't hold the same key: set "
                      "ASSAY_BOOTSTRAP_KEY to the same 64 hex digits on all ranks",
                      options.rank));
    };
    root.Send(kNonce, nonce);
    expect_proof(root.Receive(kProof, kMostGreeting, deadline), "root", "");
    const std::string says = SaysOf(options);
    root.Send(kGreeting,
              fmt::format("{} {}", says, Proof(options.key, "rank", root_nonce, nonce, says)));
    const auto [proof, answer] = CutFirst(root.Receive(kAnswer, kMostGreeting, deadline));
    expect_proof(proof, "answer", answer);
    if (answer != "yes") throw Error(answer);
    root.Seal(Proof(options.key, "seal", root_nonce, nonce, ""), /*is_root=*/false);
  }

  // Collects every rank's text, in rank order on rank 0 whichever comes first; empty elsewhere.
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
  std::vector<std::optional<Peer>> peers_ = {};  // on rank 0 all, by rank; elsewhere rank 0 alone
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
  // In a step of Slurm, Slurm's own variables serve where these aren't set.
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
    if (!IsHex(options.key)) {
      throw Error("ASSAY_BOOTSTRAP_KEY is 64 hex digits (openssl rand -hex 32); this one isn't");
    }
    if (IsTyped(options.key)) {
      throw Error(fmt::format("ASSAY_BOOTSTRAP_KEY can be guessed, as it isn't random: {}",
                              kHowToMakeAKey));
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
