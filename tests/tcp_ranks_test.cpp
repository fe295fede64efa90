// Ranks as threads, over real connections of this machine's loopback interface.
#include "runner/cluster/tcp_ranks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/base/hash.h"
#include "runner/cluster/join.h"
#include "runner/core/module.h"
#include "tests/other_user.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kKey(64, 'a');

// A listening socket on a free port of the loopback interface, as a launcher hands it to rank 0.
struct Listener {
  Listener() {
    descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(descriptor, 256), 0);
    socklen_t size = sizeof(address);
    getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
  int descriptor = -1;
  int port = 0;
  sockaddr_in address = {};
};

TcpOptions OptionsOf(const Listener& listener, int rank, int size) {
  return {.rank = rank,
          .size = size,
          .port = listener.port,
          .key = kKey,
          .listener = rank == 0 ? listener.descriptor : -1,
          .patience = Seconds(20)};
}

// Joins `size` ranks and runs `body` on each; gives each rank's error, or "".
std::vector<std::string> OnTcpRanks(
    int size, const std::function<void(Ranks&)>& body,
    const std::function<void(TcpOptions&)>& change = [](TcpOptions&) {}) {
  const Listener listener;
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    TcpOptions options = OptionsOf(listener, rank, size);
    change(options);
    threads.emplace_back([options, &body, &error = errors[static_cast<std::size_t>(rank)]] {
      try {
        const std::unique_ptr<Ranks> ranks = JoinTcp(options);
        body(*ranks);
      } catch (const Error& thrown) {
        error = thrown.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

// A connection to the listener by something that isn't assay.
int Knock(const Listener& listener) {
  const int knocking = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(listener.port));
  EXPECT_EQ(connect(knocking, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return knocking;
}

TEST(TcpRanks, TextsAndMaximaReachEveryRankInOrder) {
  for (const int size : {1, 2, 5}) {
    const auto errors = OnTcpRanks(size, [size](Ranks& ranks) {
      EXPECT_EQ(ranks.Size(), size);
      for (const std::size_t bytes : {0, 1, 65535, 65536, 65537, 1 << 20}) {
        const std::string text(bytes, 'x');
        EXPECT_EQ(ranks.Broadcast(ranks.Rank() == 0 ? text : "ignored"), text);
        std::vector<std::string> wanted;
        for (int rank = 0; rank < size; ++rank) wanted.push_back(text + std::to_string(rank));
        const auto all = ranks.Gather(text + std::to_string(ranks.Rank()));
        if (ranks.Rank() == 0) {
          EXPECT_EQ(all, wanted);
        } else {
          EXPECT_THAT(all, IsEmpty());
        }
      }
      std::array values = {static_cast<double>(ranks.Rank()), -1.0 - ranks.Rank(), 0.25};
      ranks.Max(values);
      EXPECT_THAT(values, ElementsAre(size - 1.0, -1.0, 0.25));
      ranks.Max({});
      ranks.Barrier();
    });
    EXPECT_THAT(errors, testing::Each(""));
  }
}

TEST(TcpRanks, ABarrierHoldsUntilTheLastIsThere) {
  std::atomic<int> arrived = 0;
  OnTcpRanks(3, [&](Ranks& ranks) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * ranks.Rank()));
    ++arrived;
    ranks.Barrier();
    EXPECT_EQ(arrived, 3);
  });
}

TEST(TcpRanks, NodesAreToldByTheirHosts) {
  std::array<int, 4> places = {};
  const auto errors = OnTcpRanks(
      4,
      [&](Ranks& ranks) {
        places[static_cast<std::size_t>(ranks.Rank())] = 10 * ranks.Node() + ranks.LocalRank();
      },
      [](TcpOptions& options) { options.host = options.rank % 2 == 0 ? "even" : "odd"; });
  EXPECT_THAT(errors, testing::Each(""));
  EXPECT_THAT(places, ElementsAre(0, 10, 1, 11));
}

TEST(TcpRanks, ALauncherKnowsTheLocalRankBetter) {
  OnTcpRanks(
      2, [](Ranks& ranks) { EXPECT_EQ(ranks.LocalRank(), 1 - ranks.Rank()); },
      [](TcpOptions& options) { options.local_rank = 1 - options.rank; });
}

// The processor time of this thread so far, in seconds.
double UsedSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

TEST(TcpRanks, RanksThatWaitLeaveTheirCoresToOthers) {
  OnTcpRanks(2, [](Ranks& ranks) {
    const double before = UsedSeconds();
    if (ranks.Rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    ranks.Barrier();
    EXPECT_LT(UsedSeconds() - before, 0.1);
  });
}

TEST(TcpRanks, TheFirstWaitForTheLastAsLongAsTheirPatienceLasts) {
  const Listener listener;
  std::array<std::string, 3> errors;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      if (rank == 2) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
      try {
        JoinTcp(OptionsOf(listener, rank, 3))->Barrier();
      } catch (const Error& error) {
        errors[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(errors, testing::Each(""));
}

TEST(TcpRanks, AWrongKeyIsTurnedAwayAndNamed) {
  const auto errors = OnTcpRanks(
      3, [](Ranks& ranks) { ranks.Barrier(); },
      [](TcpOptions& options) {
        if (options.rank == 2) options.key = std::string(64, 'b');
        options.patience = Seconds(1);
      });
  EXPECT_THAT(errors[0], HasSubstr("rank 2 of 3 did not come"));
  EXPECT_THAT(errors[0], HasSubstr("left at rank 0's proof, as one with another "
                                   "ASSAY_BOOTSTRAP_KEY does"));
  EXPECT_THAT(errors[1], HasSubstr("rank 0 is gone"));
  EXPECT_THAT(errors[2], HasSubstr("don't hold the same key"));
}

// ---- Proofs, by somebody who has seen or made some of them

void Say(int connection, char kind, const std::string& text) {
  const auto size = static_cast<unsigned>(text.size());
  std::string frame = {kind, static_cast<char>(size >> 24U), static_cast<char>(size >> 16U),
                       static_cast<char>(size >> 8U), static_cast<char>(size)};
  frame += text;
  send(connection, frame.data(), frame.size(), MSG_NOSIGNAL);
}

// The text of the next frame; "" where the connection ends instead.
std::string Hear(int connection) {
  std::array<unsigned char, 5> header;
  if (recv(connection, header.data(), header.size(), MSG_WAITALL) != 5) return "";
  std::string text(std::size_t{header[3]} << 8U | header[4], '\0');
  const auto size = static_cast<ssize_t>(text.size());
  return recv(connection, text.data(), text.size(), MSG_WAITALL) == size ? text : "";
}

// Whether the other side ends the connection within so long.
bool Ends(int connection, int milliseconds) {
  pollfd ready = {.fd = connection, .events = POLLIN, .revents = 0};
  char byte = 0;
  return poll(&ready, 1, milliseconds) == 1 && recv(connection, &byte, 1, 0) <= 0;
}

std::string Says(int rank, int size, const std::string& host = "h") {
  return fmt::format("{} {} {} {}", rank, size, Sha256Hex(BuildId()), Sha256Hex(host));
}

const std::string kChallenge = "assay-ranks/2 ";

std::string Proof(const std::string& whose, const std::string& root_nonce, const std::string& nonce,
                  const std::string& says) {
  return HmacSha256Hex(kKey,
                       fmt::format("assay-ranks/2 {}\n{}\n{}\n{}", whose, root_nonce, nonce, says));
}

const std::string kNonce(64, '1');

// A connection to rank 0 that has drawn its number, and has had rank 0's proof.
struct Knocking {
  explicit Knocking(const Listener& listener, const std::string& nonce = kNonce)
      : connection(Knock(listener)) {
    const std::string challenge = Hear(connection);
    EXPECT_EQ(challenge.substr(0, kChallenge.size()), kChallenge);
    root_nonce = challenge.substr(kChallenge.size());
    Say(connection, 'n', nonce);
    root_proof = Hear(connection);
  }
  ~Knocking() { close(connection); }
  Knocking(const Knocking&) = delete;
  Knocking& operator=(const Knocking&) = delete;

  int connection;
  std::string root_nonce = {};
  std::string root_proof = {};
};

// Rank 0 of `size` ranks, which waits for the others until the end, when they come and are let in.
class WaitingRoot {
 public:
  explicit WaitingRoot(int size) : size_(size) {
    root_ = std::thread([this] { error_ = Join(0); });
  }
  ~WaitingRoot() {
    std::vector<std::thread> others;
    std::vector<std::string> errors(static_cast<std::size_t>(size_));
    for (int rank = 1; rank < size_; ++rank) {
      others.emplace_back([&, rank] { errors[static_cast<std::size_t>(rank)] = Join(rank); });
    }
    for (std::thread& other : others) other.join();
    root_.join();
    errors.push_back(error_);
    EXPECT_THAT(errors, testing::Each("")) << "a rank's place was taken";
  }
  WaitingRoot(const WaitingRoot&) = delete;
  WaitingRoot& operator=(const WaitingRoot&) = delete;

  const Listener& At() const { return listener_; }
  // Whether a connection is let in that greets in this way, knowing the root's nonce.
  bool LetsIn(const std::function<std::string(const std::string& root_nonce)>& greeting) const {
    const Knocking knocking(listener_);
    Say(knocking.connection, 'h', greeting(knocking.root_nonce));
    return !Ends(knocking.connection, 5000);
  }

 private:
  std::string Join(int rank) {
    try {
      JoinTcp(OptionsOf(listener_, rank, size_))->Barrier();
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  int size_;
  Listener listener_ = {};
  std::string error_ = {};
  std::thread root_ = {};
};

TEST(TcpRanks, AProofIsOfWhatTheRankSays) {
  const WaitingRoot root(3);
  const std::string proved = Says(2, 3);
  const auto lets_in = [&](const std::string& said) {
    return root.LetsIn([&](const std::string& root_nonce) {
      return said + " " + Proof("rank", root_nonce, kNonce, proved);
    });
  };
  EXPECT_FALSE(lets_in(Says(1, 3))) << "another rank";
  EXPECT_FALSE(lets_in(Says(2, 4))) << "another number of ranks";
  EXPECT_FALSE(lets_in(Says(2, 3, "elsewhere"))) << "another host";
  EXPECT_FALSE(lets_in(fmt::format("2 3 {} {}", Sha256Hex("build"), Sha256Hex("h"))));
}

TEST(TcpRanks, AProofThatWasSeenOnceIsOfNoUseAgain) {
  const WaitingRoot root(2);
  std::string seen;
  // The proof is one that was overheard on the wire, with a wrong last digit.
  EXPECT_FALSE(root.LetsIn([&](const std::string& root_nonce) {
    seen = Says(1, 2) + " " + Proof("rank", root_nonce, kNonce, Says(1, 2));
    std::string spoilt = seen;
    spoilt.back() = spoilt.back() == '0' ? '1' : '0';
    return spoilt;
  }));
  EXPECT_FALSE(root.LetsIn([&](const std::string&) { return seen; }))
      << "a proof to another nonce of rank 0's";
  EXPECT_FALSE(root.LetsIn([&](const std::string& root_nonce) {
    return Says(1, 2) + " " + Proof("rank", root_nonce, std::string(64, '2'), Says(1, 2));
  })) << "of another nonce of the rank's";
  for (const char* whose : {"root", "answer"}) {
    EXPECT_FALSE(root.LetsIn([&](const std::string& root_nonce) {
      return Says(1, 2) + " " + Proof(whose, root_nonce, kNonce, Says(1, 2));
    })) << "what rank 0 itself would say";
  }
  const Knocking knocking(root.At(), "1");
  EXPECT_EQ(knocking.root_proof, "") << "a nonce that is short enough to come again";
}

TEST(TcpRanks, AProofOfAllThatIsLetIn) {
  const Listener listener;
  std::string error = "none";
  std::thread root([&] {
    try {
      JoinTcp(OptionsOf(listener, 0, 2));
      error.clear();
    } catch (const Error& thrown) {
      error = thrown.what();
    }
  });
  const Knocking knocking(listener);
  const auto [connection, root_nonce] = std::pair(knocking.connection, knocking.root_nonce);
  EXPECT_EQ(knocking.root_proof, Proof("root", root_nonce, kNonce, ""));
  Say(connection, 'h', Says(1, 2) + " " + Proof("rank", root_nonce, kNonce, Says(1, 2)));
  EXPECT_EQ(Hear(connection), Proof("answer", root_nonce, kNonce, "yes") + " yes");
  EXPECT_EQ(Hear(connection), "1 0") << "its node and its number there";
  std::string seal(64, '\0');
  EXPECT_EQ(recv(connection, seal.data(), seal.size(), MSG_WAITALL), 64);
  EXPECT_EQ(seal, HmacSha256Hex(Proof("seal", root_nonce, kNonce, ""),
                                std::string("root 0\np\0\0\0\0031 0", 15)));
  root.join();
  EXPECT_EQ(error, "");
}

// A listener in rank 0's place, which a rank joins, and which answers as a test likes.
struct Impostor {
  // `first` and `second` make rank 0's two proofs, of the rank's nonce.
  using Says = std::function<std::string(const std::string& nonce)>;
  Impostor(const Says& first, const Says& second) {
    const Listener listener;
    std::thread impostor([&] {
      const int connection = accept(listener.descriptor, nullptr, nullptr);
      Say(connection, 'c', kChallenge + kRootNonce);
      nonce = Hear(connection);
      Say(connection, 'r', first(nonce));
      heard = Hear(connection);
      if (!heard.empty()) Say(connection, 'a', second(nonce));
      if (!heard.empty()) {
        const std::string place("p\0\0\0\0030 1", 8);
        const std::string sealed =
            place + HmacSha256Hex(Proof("seal", kRootNonce, nonce, ""), "root 0\n" + place);
        send(connection, sealed.data(), sealed.size(), MSG_NOSIGNAL);
      }
      while (!Hear(connection).empty()) continue;
      close(connection);
    });
    try {
      JoinTcp(OptionsOf(listener, 1, 2));
    } catch (const Error& thrown) {
      error = thrown.what();
    }
    impostor.join();
    close(listener.descriptor);
  }

  inline static const std::string kRootNonce = std::string(64, '0');
  std::string nonce = {};
  std::string heard = {};  // after it
  std::string error = {};
};

TEST(TcpRanks, ARankTellsNothingBeforeItsRankZeroHasProvedTheKey) {
  const std::string none(64, '0');
  const Impostor impostor([&](const std::string&) { return none; },
                          [&](const std::string&) { return none + " yes"; });
  EXPECT_THAT(impostor.error, HasSubstr("don't hold the same key"));
  EXPECT_EQ(impostor.heard, "") << "its number, size, build, host or a proof by its key";
  EXPECT_THAT(impostor.nonce, testing::MatchesRegex("[0-9a-f]{64}"));
  const Impostor again([&](const std::string&) { return none; },
                       [&](const std::string&) { return none + " yes"; });
  EXPECT_NE(impostor.nonce, again.nonce) << "drawn each time";
}

TEST(TcpRanks, WhatRankZeroAnsweredOnceIsNoAnswerToAnother) {
  // An impostor that answers as rank 0 would have: to another nonce of the rank's, another nonce of
  // its own, or with another word.
  const std::string& root_nonce = Impostor::kRootNonce;
  const auto right = [&](const std::string& nonce) { return Proof("root", root_nonce, nonce, ""); };
  const auto yes = [&](const std::string& nonce) {
    return Proof("answer", root_nonce, nonce, "yes") + " yes";
  };
  EXPECT_EQ(Impostor(right, yes).error, "");
  const auto no_key = HasSubstr("don't hold the same key");
  const std::string another(64, '3');
  for (const Impostor::Says& first :
       {Impostor::Says([&](const std::string&) { return Proof("root", root_nonce, kNonce, ""); }),
        Impostor::Says([&](const auto& nonce) { return Proof("root", another, nonce, ""); }),
        Impostor::Says([&](const auto& nonce) { return Proof("rank", root_nonce, nonce, ""); })}) {
    const Impostor impostor(first, yes);
    EXPECT_THAT(impostor.error, no_key);
    EXPECT_EQ(impostor.heard, "");
  }
  for (const Impostor::Says& second : {Impostor::Says([&](const auto&) {
                                         return Proof("answer", root_nonce, kNonce, "yes") + " yes";
                                       }),
                                       Impostor::Says([&](const auto& nonce) {
                                         return Proof("answer", another, nonce, "yes") + " yes";
                                       }),
                                       Impostor::Says([&](const auto& nonce) {
                                         return Proof("answer", root_nonce, nonce, "no") + " yes";
                                       }),
                                       Impostor::Says([&](const auto& nonce) {
                                         return Proof("rank", root_nonce, nonce, "yes") + " yes";
                                       })}) {
    EXPECT_THAT(Impostor(right, second).error, no_key);
  }
}

// The next frame as it lies on the wire, with the seal that follows the proofs.
std::string FrameOf(int connection, bool is_sealed) {
  std::string frame(5, '\0');
  if (recv(connection, frame.data(), 5, MSG_WAITALL) != 5) return "";
  const auto length =
      static_cast<unsigned char>(frame[3]) * 256U + static_cast<unsigned char>(frame[4]);
  std::string rest(length + (is_sealed ? 64 : 0), '\0');
  const ssize_t n = recv(connection, rest.data(), rest.size(), MSG_WAITALL);
  return frame + rest.substr(0, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
}

// Rank 1 meets rank 0, which tells it its place, "first" and "second", through somebody who passes
// on what both say until they believe each other, and then does as it likes. Gives what rank 1 says
// of it.
std::string SaysThroughAMiddle(const std::function<std::string(Ranks&)>& rank,
                               const std::function<void(int rank, int root)>& middle) {
  const Listener root_at;
  const Listener middle_at;
  std::thread root([&] {
    try {
      const auto ranks = JoinTcp(OptionsOf(root_at, 0, 2));
      ranks->Broadcast("first");
      ranks->Broadcast("second");
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  });
  std::thread between([&] {
    const int to_rank = accept(middle_at.descriptor, nullptr, nullptr);
    const int to_root = Knock(root_at);
    for (const int connection : {to_rank, to_root}) {
      const timeval patience = {.tv_sec = 3, .tv_usec = 0};
      setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    const auto pass_on = [](int from, int to) {
      const std::string frame = FrameOf(from, /*is_sealed=*/false);
      send(to, frame.data(), frame.size(), MSG_NOSIGNAL);
    };
    for (const bool from_root : {true, false, true, false, true}) {
      pass_on(from_root ? to_root : to_rank, from_root ? to_rank : to_root);
    }
    middle(to_rank, to_root);
    close(to_rank);
    close(to_root);
  });
  std::string says;
  try {
    const auto ranks = JoinTcp(OptionsOf(middle_at, 1, 2));
    says = rank(*ranks);
  } catch (const Error& error) {
    says = error.what();
  }
  root.join();
  between.join();
  close(root_at.descriptor);
  close(middle_at.descriptor);
  return says;
}

TEST(TcpRanks, SomebodyInTheMiddleChangesRepeatsAndAddsNothing) {
  using Frames = std::vector<std::string>;  // rank 0's three
  const auto heard_of = [](const std::function<std::string(const Frames&)>& change) {
    return SaysThroughAMiddle(
        [](Ranks& ranks) {
          const std::string first = ranks.Broadcast("");
          return first + ", " + ranks.Broadcast("");
        },
        [&](int rank, int root) {
          Frames frames;
          for (int i = 0; i < 3; ++i) frames.push_back(FrameOf(root, /*is_sealed=*/true));
          const std::string bytes = change(frames);
          send(rank, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        });
  };
  EXPECT_EQ(heard_of([](const Frames& told) { return told[0] + told[1] + told[2]; }),
            "first, second");
  const auto noticed = HasSubstr("what came as from rank 0 is not what it sent");
  EXPECT_THAT(heard_of([](const Frames& told) {
                std::string place = told[0];
                place[5] = '7';
                return place + told[1] + told[2];
              }),
              noticed);
  EXPECT_THAT(heard_of([](const Frames& told) { return told[0] + told[1] + told[1]; }), noticed);
  EXPECT_THAT(heard_of([](const Frames& told) { return told[0] + told[2] + told[1]; }), noticed);
  EXPECT_THAT(heard_of([](const Frames& told) {
                std::string own("t\0\0\0\3own", 8);
                return told[0] + told[1] + own + told[1].substr(10);
              }),
              noticed);
}

TEST(TcpRanks, SomebodyInTheMiddleCannotGiveARankItsOwnWords) {
  EXPECT_THAT(SaysThroughAMiddle(
                  [](Ranks& ranks) {
                    ranks.Gather("");
                    ranks.Barrier();
                    return std::string("passed");
                  },
                  [](int rank, int root) {
                    const std::string place = FrameOf(root, /*is_sealed=*/true);
                    send(rank, place.data(), place.size(), MSG_NOSIGNAL);
                    FrameOf(rank, /*is_sealed=*/true);
                    // The rank's barrier, of the number that rank 0's would have.
                    const std::string own = FrameOf(rank, /*is_sealed=*/true);
                    send(rank, own.data(), own.size(), MSG_NOSIGNAL);
                  }),
              HasSubstr("what came as from rank 0 is not what it sent"));
}

TEST(TcpRanks, AStrangerIsReadNoFurtherThanAGreeting) {
  const WaitingRoot root(2);
  // Headers alone: none of what they announce comes.
  const auto ends = [&](const std::string& header, int milliseconds) {
    const int knocking = Knock(root.At());
    EXPECT_NE(Hear(knocking), "");
    send(knocking, header.data(), header.size(), MSG_NOSIGNAL);
    const bool ended = Ends(knocking, milliseconds);
    close(knocking);
    return ended;
  };
  EXPECT_FALSE(ends(std::string("h\0\0\2\0", 5), 200)) << "512 bytes may come";
  // At once, and not after the five seconds that a greeting may take.
  EXPECT_TRUE(ends(std::string("h\0\0\2\1", 5), 3000)) << "513 bytes";
  EXPECT_TRUE(ends(std::string("h\0\1\0\0", 5), 3000)) << "a whole frame";
  EXPECT_TRUE(ends(std::string("h\x80\1\0\0", 5), 3000)) << "of which there are more";
  EXPECT_TRUE(ends(std::string("h\x7f\xff\xff\xff", 5), 3000)) << "2 GiB";
}

TEST(TcpRanks, TwoRanksThatClaimOneNumberEndTheJob) {
  const auto errors = OnTcpRanks(
      3, [](Ranks& ranks) { ranks.Barrier(); },
      [](TcpOptions& options) {
        if (options.rank == 2) options.rank = 1;
      });
  EXPECT_THAT(errors[0], HasSubstr("two processes came as rank 1"));
  EXPECT_THAT(errors[1] + errors[2], HasSubstr("two processes came as rank 1"));
}

TEST(TcpRanks, RanksThatWereToldOtherSizesEndTheJob) {
  const auto errors = OnTcpRanks(
      2, [](Ranks& ranks) { ranks.Barrier(); },
      [](TcpOptions& options) {
        if (options.rank == 1) options.size = 3;
      });
  EXPECT_THAT(errors[0], HasSubstr("rank 1 was told of 3 ranks and rank 0 of 2"));
  EXPECT_EQ(errors[1], errors[0]);
}

TEST(TcpRanks, AMissingRankIsNamedInTime) {
  const Listener listener;
  TcpOptions options = OptionsOf(listener, 0, 3);
  options.patience = Seconds(0.3);
  const auto begin = std::chrono::steady_clock::now();
  try {
    JoinTcp(options);
    ADD_FAILURE() << "ranks came from nowhere";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ranks 1, 2 of 3 did not come within 300.0 ms"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(TcpRanks, WithoutRankZeroTheOthersGiveUpInTime) {
  const Listener listener;
  close(listener.descriptor);
  TcpOptions options = OptionsOf(listener, 1, 2);
  options.patience = Seconds(0.3);
  try {
    JoinTcp(options);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1 can't reach rank 0 at 127.0.0.1"));
  }
}

TEST(TcpRanks, StrangersAndSlowOnesDoNotKeepRanksOut) {
  const Listener listener;
  std::vector<int> strangers;
  // More than may be halfway through a greeting at once; they stay, and say nothing or nonsense.
  for (int i = 0; i < 100; ++i) {
    strangers.push_back(Knock(listener));
    const std::string says[] = {"", "GET / HTTP/1.1\r\n\r\n", std::string("h\0\0", 3),
                                std::string("h\xff\xff\xff\xff", 5), std::string(100000, 'h')};
    const std::string& text = says[i % 5];
    send(strangers.back(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  std::vector<std::thread> threads;
  std::array<std::string, 3> errors;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        JoinTcp(OptionsOf(listener, rank, 3))->Barrier();
      } catch (const Error& error) {
        errors[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(errors, testing::Each(""));
  for (const int stranger : strangers) close(stranger);
}

TEST(TcpRanks, WhoeverDripsBytesIsCutOffAndTheMissingRankIsNamed) {
  const Listener listener;
  std::atomic<bool> over = false;
  std::thread slow([&] {
    const int knocking = Knock(listener);
    send(knocking, "h\0\0\1\0", 5, MSG_NOSIGNAL);  // a greeting of 256 bytes
    while (!over) {
      send(knocking, "1", 1, MSG_NOSIGNAL);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    close(knocking);
  });
  TcpOptions options = OptionsOf(listener, 0, 2);
  options.patience = Seconds(6.5);
  try {
    JoinTcp(options);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1 of 2 did not come"));
    EXPECT_THAT(error.what(), HasSubstr("1 connection was turned away, the last of which said too "
                                        "little in 5.0 s"));
  }
  over = true;
  slow.join();
}

TEST(TcpRanks, RandomBytesNeverGetInNorBreakAnything) {
  std::mt19937 random(7);
  const Listener listener;
  std::atomic<bool> over = false;
  std::thread noise([&] {
    while (!over) {
      const int knocking = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      // Refused once rank 0 has given up.
      connect(knocking, reinterpret_cast<const sockaddr*>(&listener.address),
              sizeof(listener.address));
      std::string bytes(random() % 700, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      // Half of them begin like a greeting.
      if (bytes.size() > 5 && random() % 2 == 0) bytes.replace(0, 4, std::string("h\0\0\0", 4));
      send(knocking, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      close(knocking);
    }
  });
  TcpOptions options = OptionsOf(listener, 0, 2);
  options.patience = Seconds(1);
  try {
    JoinTcp(options);
    ADD_FAILURE() << "noise was taken for a rank";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 1 of 2 did not come"));
  }
  over = true;
  noise.join();
}

TEST(TcpRanks, ARankThatEndsIsNamedToThoseThatWaitForIt) {
  const auto errors = OnTcpRanks(3, [](Ranks& ranks) {
    if (ranks.Rank() == 2) return;
    ranks.Gather("here");
    ranks.Barrier();
  });
  EXPECT_THAT(errors[0], HasSubstr("rank 2 is gone"));
  EXPECT_THAT(errors[1], HasSubstr("rank 0 is gone"));
}

TEST(TcpRanks, RanksOutOfStepNoticeIt) {
  const auto errors = OnTcpRanks(2, [](Ranks& ranks) {
    if (ranks.Rank() == 0) {
      ranks.Gather("");
    } else {
      ranks.Barrier();
    }
  });
  EXPECT_THAT(errors[0], HasSubstr("rank 1 is out of step"));
}

// ---- Descriptors and ports, of which strangers take what they can

std::string ComplaintOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Does `body` in a process of its own; gives the text that it returns, or the sentence that it
// throws.
class Process {
 public:
  explicit Process(const std::function<std::string()>& body) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      alarm(60);
      std::string text;
      const std::string complaint = ComplaintOf([&] { text = body(); });
      text += complaint;
      _exit(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
    }
    close(ends[1]);
    text_ = ends[0];
  }
  ~Process() { End(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Waits for its end.
  std::string End() {
    if (text_ < 0) return "";
    std::string all;
    std::array<char, 1024> part;
    for (ssize_t n = 0; (n = read(text_, part.data(), part.size())) > 0;) {
      all.append(part.data(), static_cast<std::size_t>(n));
    }
    close(std::exchange(text_, -1));
    int status = 0;
    waitpid(pid_, &status, 0);
    return status == 0 ? all : fmt::format("it ended with status {}", status);
  }

 private:
  pid_t pid_ = -1;
  int text_ = -1;
};

// A limit on descriptors that leaves so many to be opened.
rlim_t LimitFor(int more) {
  std::vector<int> taken;
  for (int i = 0; i < more; ++i) taken.push_back(dup(STDIN_FILENO));
  for (const int descriptor : taken) close(descriptor);
  return static_cast<rlim_t>(taken.back()) + 1;
}

// Rank 0 of `size` ranks, as a process of its own that may open 14 descriptors more; but up to its
// hard limit where that `may_rise`.
Process RankZeroOf(int size, const Listener& listener, bool may_rise) {
  return Process([&listener, size, may_rise] {
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = LimitFor(14);
    if (!may_rise) limit.rlim_max = limit.rlim_cur;
    setrlimit(RLIMIT_NOFILE, &limit);
    JoinTcp(OptionsOf(listener, 0, size))->Barrier();
    return std::string();
  });
}

// The complaints of all other ranks.
std::vector<std::string> OthersOf(int size, const Listener& listener) {
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 1; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      errors[static_cast<std::size_t>(rank)] =
          ComplaintOf([&] { JoinTcp(OptionsOf(listener, rank, size))->Barrier(); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

TEST(TcpRanks, StrangersThatExhaustDescriptorsDoNotKeepRanksOut) {
  const Listener listener;
  Process root = RankZeroOf(3, listener, /*may_rise=*/false);
  std::vector<int> strangers;
  for (int i = 0; i < 60; ++i) strangers.push_back(Knock(listener));
  EXPECT_THAT(OthersOf(3, listener), testing::Each(""));
  EXPECT_EQ(root.End(), "");
  for (const int stranger : strangers) close(stranger);
  close(listener.descriptor);
}

TEST(TcpRanks, TheSoftLimitOnDescriptorsIsRaisedForAllRanks) {
  const Listener listener;
  Process root = RankZeroOf(40, listener, /*may_rise=*/true);
  EXPECT_THAT(OthersOf(40, listener), testing::Each(""));
  EXPECT_EQ(root.End(), "");
  close(listener.descriptor);
}

TEST(TcpRanks, AHardLimitThatIsTooLowForAllRanksIsSaidAtOnceWithTheRemedy) {
  const Listener listener;
  Process root = RankZeroOf(60000, listener, /*may_rise=*/false);
  EXPECT_THAT(root.End(), HasSubstr("raise its hard limit (ulimit -n)"));
  close(listener.descriptor);
}

TEST(TcpRanks, ARankThatIsCrowdedOutBeforeItWasKnownComesAgain) {
  const Listener listener;
  std::string error;
  std::thread rank(
      [&] { error = ComplaintOf([&] { JoinTcp(OptionsOf(listener, 1, 2))->Barrier(); }); });
  close(accept(listener.descriptor, nullptr, nullptr));
  EXPECT_EQ(ComplaintOf([&] { JoinTcp(OptionsOf(listener, 0, 2))->Barrier(); }), "");
  rank.join();
  EXPECT_EQ(error, "");
}

TEST(TcpRanks, ARankZeroThatWasMetAndEndedIsToldOfAsSuch) {
  const Listener listener;
  std::string error;
  std::thread rank([&] {
    TcpOptions options = OptionsOf(listener, 1, 2);
    options.patience = Seconds(1);
    error = ComplaintOf([&] { JoinTcp(options); });
  });
  const int connection = accept(listener.descriptor, nullptr, nullptr);
  close(listener.descriptor);
  close(connection);
  rank.join();
  EXPECT_THAT(error, HasSubstr("rank 0 is gone (it closed the connection); look for its own last "
                               "words"));
}

// From here on a system call fails with `error` in this thread.
bool Fails(std::uint32_t call, int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = std::size(program), .filter = program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(TcpRanks, WhatTheWholeMachineLacksIsWaitedFor) {
  for (const int error : {ENFILE, ENOBUFS, ENOMEM, EMFILE}) {
    const Listener listener;
    const int knocking = Knock(listener);
    Process root([&]() -> std::string {
      if (!Fails(SYS_accept4, error)) return "no filter";
      TcpOptions options = OptionsOf(listener, 0, 2);
      options.patience = Seconds(0.6);
      const double before = UsedSeconds();
      const std::string complaint = ComplaintOf([&] { JoinTcp(options); });
      return UsedSeconds() - before < 0.3 ? complaint : "it used its core meanwhile";
    });
    const std::string outcome = root.End();
    close(knocking);
    close(listener.descriptor);
    if (outcome == "no filter") GTEST_SKIP() << "no seccomp filter may be set here";
    EXPECT_THAT(outcome, HasSubstr(error == EMFILE ? "raise its hard limit (ulimit -n)"
                                                   : "rank 1 of 2 did not come within 600.0 ms"))
        << error;
  }
}

// In a network whose connections may come from two ports alone, of which the first is that to which
// the rank connects while nobody listens there.
TEST(TcpRanks, ARankThatMeetsItselfLeavesThePortToRankZero) {
  if (geteuid() != 0) GTEST_SKIP() << "takes root";
  constexpr int kPort = 42000;
  Process both([&]() -> std::string {
    if (unshare(CLONE_NEWNET) != 0) return "no network";
    const int any = socket(AF_INET, SOCK_DGRAM, 0);
    ifreq loopback = {};
    std::string("lo").copy(loopback.ifr_name, IFNAMSIZ - 1);
    loopback.ifr_flags = IFF_UP;
    if (ioctl(any, SIOCSIFFLAGS, &loopback) != 0) return "no network";
    std::ofstream range("/proc/sys/net/ipv4/ip_local_port_range");
    range << kPort << " " << kPort + 1;
    if (!range.flush()) return "no right to set this network's ports";
    // Whether the kernel does here what the rank is to notice.
    const int self = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(kPort);
    if (connect(self, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return "no connection ends at itself here";
    }
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(self, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(self);
    const auto join = [&](int rank) {
      JoinTcp({.rank = rank, .size = 2, .port = kPort, .key = kKey, .patience = Seconds(10)})
          ->Barrier();
    };
    std::string error;
    std::thread rank([&] { error = ComplaintOf([&] { join(1); }); });
    // The rank holds the port for a moment in each of its tries.
    std::string root = "can't listen";
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    for (int tries = 0; tries < 20 && root.find("can't listen") != std::string::npos; ++tries) {
      root = ComplaintOf([&] { join(0); });
      std::this_thread::sleep_for(std::chrono::milliseconds(7));
    }
    rank.join();
    return root + error;
  });
  const std::string outcome = both.End();
  if (outcome.starts_with("no ")) {
    GTEST_SKIP() << "needs the right to a network of its own: " << outcome;
  }
  EXPECT_EQ(outcome, "");
}

// ---- Without a key

// A port that no other test uses: the number of one of the loopback interface's.
int UnusedPort() {
  const Listener listener;
  close(listener.descriptor);
  return listener.port;
}

TcpOptions KeylessOptions(int port, int rank, Seconds patience = Seconds(20)) {
  return {.rank = rank, .size = 2, .port = port, .patience = patience};
}

// Where the ranks of a user meet that have no key.
std::pair<sockaddr_un, socklen_t> MeetingPlace(uid_t user, int port) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("assay-ranks/{}/{}", user, port);
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

TEST(TcpRanks, WithoutAKeyRanksOfOneUserMeetWhereNoPortIs) {
  const Listener taken;  // by somebody who would be rank 0
  std::string error;
  std::thread root(
      [&] { error = ComplaintOf([&] { JoinTcp(KeylessOptions(taken.port, 0))->Barrier(); }); });
  EXPECT_EQ(ComplaintOf([&] { JoinTcp(KeylessOptions(taken.port, 1))->Barrier(); }), "");
  root.join();
  EXPECT_EQ(error, "");
  pollfd knocked = {.fd = taken.descriptor, .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&knocked, 1, 0), 0) << "a rank came to the port";
  close(taken.descriptor);
}

TEST(TcpRanks, AnotherUserIsNoRankZero) {
  if (!CanBeAnother()) GTEST_SKIP() << "takes root to be another user";
  const int port = UnusedPort();
  const uid_t own = geteuid();
  Process impostor([&]() -> std::string {
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) return "it can't be nobody";
    const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    const auto [address, length] = MeetingPlace(own, port);
    if (bind(listening, reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
        listen(listening, 1) != 0) {
      return "it can't listen";
    }
    const int connection = accept(listening, nullptr, nullptr);
    Say(connection, 'c', kChallenge + kNonce);
    const std::string heard = Hear(connection);
    return heard.empty() ? "nothing" : heard;
  });
  EXPECT_THAT(ComplaintOf([&] { JoinTcp(KeylessOptions(port, 1))->Barrier(); }),
              testing::AllOf(
                  HasSubstr(fmt::format("user 65534 listens where rank 0 of user {} would", own)),
                  HasSubstr("choose another MASTER_PORT"), HasSubstr("openssl rand -hex 32")));
  EXPECT_EQ(impostor.End(), "nothing") << "is what it may hear";
}

TEST(TcpRanks, AnotherUserIsNoRank) {
  if (!CanBeAnother()) GTEST_SKIP() << "takes root to be another user";
  const int port = UnusedPort();
  const uid_t own = geteuid();
  Process stranger([&]() -> std::string {
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) return "it can't be nobody";
    const int knocking = socket(AF_UNIX, SOCK_STREAM, 0);
    const auto [address, length] = MeetingPlace(own, port);
    for (int tries = 0;; ++tries) {
      if (connect(knocking, reinterpret_cast<const sockaddr*>(&address), length) == 0) break;
      if (tries == 500) return "it can't connect";
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    const std::string heard = Hear(knocking);
    return heard.empty() ? "nothing" : heard;
  });
  EXPECT_THAT(ComplaintOf([&] { JoinTcp(KeylessOptions(port, 0, Seconds(2)))->Barrier(); }),
              HasSubstr("1 connection was turned away, the last of which was user 65534's"));
  EXPECT_EQ(stranger.End(), "nothing") << "is what it may hear";
}

TEST(TcpRanks, WithoutAKeyRanksThatFindNobodySayWhereTheyLooked) {
  const std::string user = fmt::format("user {}", geteuid());
  EXPECT_THAT(
      ComplaintOf([&] { JoinTcp(KeylessOptions(UnusedPort(), 1, Seconds(0.1))); }),
      testing::AllOf(HasSubstr("rank 1 has no ASSAY_BOOTSTRAP_KEY, so it looked for rank 0"),
                     HasSubstr(user + "'s processes on this machine, and found none within"),
                     HasSubstr("or give all ranks one"), testing::Not(HasSubstr("firewall"))));
  EXPECT_THAT(ComplaintOf([&] { JoinTcp(KeylessOptions(UnusedPort(), 0, Seconds(0.1))); }),
              HasSubstr("MASTER_PORT, by " + user + " on this machine and without a key?"));
  TcpOptions with_key = KeylessOptions(UnusedPort(), 1, Seconds(0.1));
  with_key.key = kKey;
  EXPECT_THAT(ComplaintOf([&] { JoinTcp(with_key); }),
              HasSubstr("is rank 0 started, with the same ASSAY_BOOTSTRAP_KEY"));
}

TEST(TcpRanks, WithoutAKeyAPlaceThatCannotBeHadIsNoFaultOfMasterAddr) {
  Process root([]() -> std::string {
    if (!Fails(SYS_bind, EACCES)) return "no filter";
    JoinTcp(KeylessOptions(1, 0, Seconds(0.1)));
    return "";
  });
  const std::string outcome = root.End();
  if (outcome == "no filter") GTEST_SKIP() << "no seccomp filter may be set here";
  EXPECT_THAT(outcome, testing::AllOf(HasSubstr("(Permission denied); give the ranks a key"),
                                      testing::Not(HasSubstr("MASTER_ADDR must be"))));
}

// The number of the user nobody stands for every user whom this system doesn't know.
TEST(TcpRanks, NobodyNeedsAKey) {
  if (!CanBeAnother()) GTEST_SKIP() << "takes root to be another user";
  Process nobody([&]() -> std::string {
    if (setgid(kNobody) != 0 || setuid(kNobody) != 0) return "it can't be nobody";
    JoinTcp(KeylessOptions(1, 1, Seconds(0.1)));
    return "";
  });
  EXPECT_THAT(nobody.End(),
              testing::AllOf(HasSubstr("user 65534 may be anybody here"), HasSubstr("openssl")));
}

TEST(TcpRanks, BetweenMachinesRanksNeedAKeyAndAreToldHowToMakeOne) {
  for (const int rank : {0, 1}) {
    for (const char* address : {"0.0.0.0", "192.0.2.1", "::"}) {
      EXPECT_THAT(
          ComplaintOf([&] {
            JoinTcp({.rank = rank, .size = 2, .address = address, .patience = Seconds(0.1)});
          }),
          testing::AllOf(HasSubstr(address), HasSubstr("ranks need a key: make one with "
                                                       "openssl rand -hex 32, and set "
                                                       "ASSAY_BOOTSTRAP_KEY to it")));
    }
  }
}

TEST(TcpRanks, AListenerThatIsHandedInNeedsAKeyAndMustListen) {
  const Listener listener;
  TcpOptions options = OptionsOf(listener, 0, 2);
  options.patience = Seconds(0.1);
  options.key.clear();
  EXPECT_THAT(ComplaintOf([&] { JoinTcp(options); }),
              HasSubstr("ASSAY_BOOTSTRAP_LISTENER needs a key beside it"));
  options.key = kKey;
  const int other = open("/dev/null", O_RDWR | O_CLOEXEC);
  const int deaf = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (const int descriptor : {other, deaf, 1 << 19}) {
    options.listener = descriptor;
    EXPECT_THAT(ComplaintOf([&] { JoinTcp(options); }), HasSubstr("is no socket that listens"));
  }
  for (const int descriptor : {other, deaf, listener.descriptor}) close(descriptor);
}

TEST(TcpRanks, RankZeroMustRunWhereMasterAddrIs) {
  try {
    JoinTcp({.rank = 0, .size = 2, .address = "192.0.2.1", .key = kKey, .patience = Seconds(0.1)});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("must be an address of the machine that rank 0 runs on"));
  }
}

// Makes these the names of hosts that this process knows, and no others. Gives the file, to which
// more can be added; "" where that can't be done.
std::string KnownNames(const std::string& hosts) {
  const auto written = [](std::string path, const std::string& text) {
    close(mkstemp(path.data()));
    std::ofstream(path) << text;
    return path;
  };
  const auto stands_for = [](const std::string& path, const char* known) {
    return mount(path.c_str(), known, nullptr, MS_BIND, nullptr) == 0;
  };
  if (unshare(CLONE_NEWNS) != 0) return "";
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  std::string names = written(testing::TempDir() + "hosts-XXXXXX", hosts);
  const std::string order = written(testing::TempDir() + "order-XXXXXX", "hosts: files\n");
  const bool known = stands_for(names, "/etc/hosts") && stands_for(order, "/etc/nsswitch.conf");
  unlink(order.c_str());
  if (!known) unlink(std::exchange(names, "").c_str());
  return names;
}

constexpr const char* kNoNames = "needs the right to name hosts for itself";

TcpOptions AtAddress(const char* address, int port, int rank, int size = 2) {
  return {.rank = rank,
          .size = size,
          .address = address,
          .port = port,
          .key = kKey,
          .patience = Seconds(10)};
}

TEST(TcpRanks, RankZeroListensAtEveryAddressOfItsMachine) {
  const int port = UnusedPort();
  Process all([&]() -> std::string {
    // One of them twice, and some that are another machine's.
    const std::string names = KnownNames(
        "127.0.0.1 here\n192.0.2.1 here\n127.0.0.2 here\n127.0.0.1 here\n2001:db8::1 here\n");
    if (names.empty()) return kNoNames;
    unlink(names.c_str());
    std::array<std::string, 3> errors;
    std::vector<std::thread> ranks;
    for (const auto& [rank, address] :
         std::map<int, const char*>{{0, "here"}, {1, "127.0.0.1"}, {2, "127.0.0.2"}}) {
      ranks.emplace_back([&errors, options = AtAddress(address, port, rank, 3)] {
        errors[static_cast<std::size_t>(options.rank)] =
            ComplaintOf([&] { JoinTcp(options)->Barrier(); });
      });
    }
    for (std::thread& rank : ranks) rank.join();
    return errors[0] + errors[1] + errors[2];
  });
  const std::string outcome = all.End();
  if (outcome == kNoNames) GTEST_SKIP() << kNoNames;
  EXPECT_EQ(outcome, "");
}

TEST(TcpRanks, RankZeroIsNotAtANameOfWhichSomebodyHasAnAddress) {
  for (const std::string taken : {"127.0.0.1", "127.0.0.2"}) {
    const int port = UnusedPort();
    Process root([&]() -> std::string {
      const std::string names = KnownNames("127.0.0.1 here\n127.0.0.2 here\n");
      if (names.empty()) return kNoNames;
      unlink(names.c_str());
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_port = htons(static_cast<std::uint16_t>(port));
      inet_pton(AF_INET, taken.c_str(), &address.sin_addr);
      const int stranger = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (bind(stranger, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
          listen(stranger, 1) != 0) {
        return "it can't listen";
      }
      JoinTcp(AtAddress("here", port, 0));
      return "";
    });
    const std::string outcome = root.End();
    if (outcome == kNoNames) GTEST_SKIP() << kNoNames;
    EXPECT_THAT(outcome, HasSubstr("(Address already in use); choose another MASTER_PORT"));
  }
}

TEST(TcpRanks, ANameThatIsKnownLaterIsWaitedFor) {
  const int port = UnusedPort();
  Process both([&]() -> std::string {
    const std::string names = KnownNames("127.0.0.1 other\n");
    if (names.empty()) return kNoNames;
    std::string error;
    std::thread rank(
        [&] { error = ComplaintOf([&] { JoinTcp(AtAddress("late", port, 1))->Barrier(); }); });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // in which it finds no such name
    const std::string early = ComplaintOf([&] { JoinTcp(AtAddress("late", port, 0)); });
    std::ofstream(names, std::ios::app) << "127.0.0.1 late\n";
    const std::string root = ComplaintOf([&] { JoinTcp(AtAddress("late", port, 0))->Barrier(); });
    rank.join();
    TcpOptions unknown = AtAddress("never", port, 1);
    unknown.patience = Seconds(0.2);
    const std::string never = ComplaintOf([&] { JoinTcp(unknown); });
    unlink(names.c_str());
    return fmt::format("{}{}\n{}\n{}", error, root, early, never);
  });
  const std::string outcome = both.End();
  if (outcome == kNoNames) GTEST_SKIP() << kNoNames;
  EXPECT_THAT(outcome, testing::StartsWith("\nMASTER_ADDR late is no address that is known here"));
  EXPECT_THAT(outcome, HasSubstr("\nMASTER_ADDR never is no address that is known here"));
}

TEST(TcpRanks, VariablesThatNobodyUsesAreSaidWithTheRemedy) {
  std::map<std::string, std::string> variables = {
      {"MASTER_ADDR", "node0"}, {"RANK", "3"}, {"WORLD_SIZE", "16"}};
  const auto says = [&] {
    return UnjoinedText([&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  };
  EXPECT_THAT(says(),
              testing::AllOf(HasSubstr("RANK 3 of WORLD_SIZE 16"), HasSubstr("--bootstrap tcp")));
  for (const char* name : {"MASTER_ADDR", "RANK", "WORLD_SIZE"}) {
    auto node = variables.extract(name);
    EXPECT_EQ(says(), "") << "without " << name;
    variables.insert(std::move(node));
  }
  variables["WORLD_SIZE"] = "1";
  EXPECT_EQ(says(), "") << "there is nobody to join";
  variables["WORLD_SIZE"] = "2\x1b[31m";
  EXPECT_THAT(says(), testing::Not(HasSubstr("\x1b"))) << "from outside";
}

TEST(TcpRanks, ReadsTheVariablesThatLaunchersSet) {
  const std::string key = RandomHex(32);
  const std::map<std::string, std::string> good = {
      {"MASTER_ADDR", "10.0.0.1"}, {"RANK", "3"},        {"WORLD_SIZE", "16"},
      {"LOCAL_RANK", "1"},         {"MASTER_PORT", "4"}, {"ASSAY_BOOTSTRAP_KEY", key}};
  const auto from = [](const std::map<std::string, std::string>& variables) {
    return TcpOptionsFrom([&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  };
  const TcpOptions options = from(good);
  EXPECT_EQ(options.address, "10.0.0.1");
  EXPECT_EQ(options.port, 4);
  EXPECT_EQ(options.rank, 3);
  EXPECT_EQ(options.size, 16);
  EXPECT_EQ(options.local_rank, 1);
  EXPECT_EQ(options.key, key);
  const auto complaint = [&](const std::string& name, const std::string& value) -> std::string {
    auto bad = good;
    bad[name] = value;
    try {
      from(bad);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(complaint("RANK", "16"), HasSubstr("RANK is a whole number from 0 to 15, not '16'"));
  EXPECT_THAT(complaint("RANK", "1x"), HasSubstr("RANK is a whole number"));
  EXPECT_THAT(complaint("WORLD_SIZE", "99999999999"), HasSubstr("WORLD_SIZE"));
  EXPECT_THAT(complaint("MASTER_PORT", "70000"), HasSubstr("MASTER_PORT"));
  EXPECT_THAT(complaint("MASTER_ADDR", ""), HasSubstr("needs MASTER_ADDR"));
  EXPECT_THAT(complaint("ASSAY_BOOTSTRAP_KEY", "secret"), HasSubstr("64 hex digits"));
  EXPECT_THAT(complaint("ASSAY_BOOTSTRAP_KEY", "secret"), testing::Not(HasSubstr("secret")));
  // One digit, words again and again, numbers that are counted, little behind many zeros.
  std::string counted;
  for (int byte = 0; byte < 32; ++byte) counted += fmt::format("{:02x}", 255 - 7 * byte);
  std::string words;
  while (words.size() < 64) words += "deadbeefcafe0123";
  for (const std::string& trivial :
       {kKey, std::string(64, '0'), words, counted, std::string(48, '0') + "3141592653589793"}) {
    EXPECT_THAT(complaint("ASSAY_BOOTSTRAP_KEY", trivial),
                testing::AllOf(HasSubstr("ASSAY_BOOTSTRAP_KEY can be guessed"),
                               testing::Not(HasSubstr(trivial))));
  }
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(complaint("ASSAY_BOOTSTRAP_KEY", RandomHex(32)), "");
  }
  // The variables that srun sets for each task, where nobody said otherwise.
  const std::map<std::string, std::string> step = {
      {"MASTER_ADDR", "node0"}, {"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}};
  EXPECT_EQ(from(step).rank, 2);
  EXPECT_EQ(from(step).size, 4);
  auto both = good;
  both.insert(step.begin(), step.end());
  EXPECT_EQ(from(both).rank, 3);
  auto portless = good;
  portless.erase("MASTER_PORT");
  EXPECT_EQ(from(portless).port, 29500);
}

TEST(TcpRanks, TheirMeetingMayTakeAsLongAsTheWatchdogSays) {
  Process root([]() -> std::string {
    const int port = UnusedPort();
    for (const auto& [name, value] :
         std::map<std::string, std::string>{{"MASTER_ADDR", "127.0.0.1"},
                                            {"MASTER_PORT", std::to_string(port)},
                                            {"RANK", "0"},
                                            {"WORLD_SIZE", "2"},
                                            {"ASSAY_BOOTSTRAP_KEY", RandomHex(32)}}) {
      setenv(name.c_str(), value.c_str(), 1);
    }
    JoinRanks(Modules(), "tcp", /*watchdog=*/Seconds(0.3));
    return "joined";
  });
  EXPECT_THAT(root.End(), HasSubstr("rank 1 of 2 did not come within 300.0 ms"));
}

}  // namespace
}  // namespace assay
