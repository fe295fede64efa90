// Ranks as threads, over real connections of this machine's loopback interface.
#include "collectives/tcp_ranks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <random>
#include <thread>

#include "results/error.h"
#include "results/hash.h"
#include "runner/module.h"

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

TEST(TcpRanks, RanksThatWaitLeaveTheirCoresToOthers) {
  OnTcpRanks(2, [](Ranks& ranks) {
    const auto used_s = [] {
      rusage usage = {};
      getrusage(RUSAGE_THREAD, &usage);
      return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
             1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    };
    const double before = used_s();
    if (ranks.Rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    ranks.Barrier();
    EXPECT_LT(used_s() - before, 0.1);
  });
}

TEST(TcpRanks, AWrongKeyIsTurnedAwayAndNamed) {
  const auto errors = OnTcpRanks(
      3, [](Ranks& ranks) { ranks.Barrier(); },
      [](TcpOptions& options) {
        if (options.rank == 2) options.key = std::string(64, 'b');
        options.patience = Seconds(1);
      });
  EXPECT_THAT(errors[0], HasSubstr("rank 2 of 3 did not come"));
  EXPECT_THAT(errors[0], HasSubstr("did not hold this job's key"));
  EXPECT_THAT(errors[1], HasSubstr("rank 0 is gone"));
  EXPECT_THAT(errors[2], HasSubstr("don't hold the same key"));
}

TEST(TcpRanks, ARankDoesNotObeyARankZeroThatHasNoKey) {
  const Listener listener;
  std::thread impostor([&] {
    const int connection = accept(listener.descriptor, nullptr, nullptr);
    const auto say = [&](char kind, const std::string& text) {
      std::string frame = {kind, 0, 0, 0, static_cast<char>(text.size())};
      frame += text;
      send(connection, frame.data(), frame.size(), MSG_NOSIGNAL);
    };
    say('c', "assay-ranks/1 " + std::string(64, '0'));
    say('a', std::string(64, '0') + " yes");
    say('p', "0 1");
    std::array<char, 1024> ignored;
    while (recv(connection, ignored.data(), ignored.size(), 0) > 0) continue;
    close(connection);
  });
  try {
    JoinTcp(OptionsOf(listener, 1, 2));
    ADD_FAILURE() << "an impostor was believed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("don't hold the same key"));
  }
  impostor.join();
  close(listener.descriptor);
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

std::string Proof(const std::string& side, const std::string& root_nonce, const std::string& nonce,
                  const std::string& text) {
  return HmacSha256Hex(kKey,
                       fmt::format("assay-ranks/1 {}\n{}\n{}\n{}", side, root_nonce, nonce, text));
}

const std::string kNonce(64, '1');

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
  // What a connection is answered that greets in this way, knowing the root's nonce.
  std::string Answers(const std::function<std::string(const std::string& root_nonce)>& greeting) {
    const int knocking = Knock(listener_);
    std::string challenge = Hear(knocking);
    EXPECT_EQ(challenge.size(), std::string("assay-ranks/1 ").size() + 64);
    Say(knocking, 'h', greeting(challenge.substr(challenge.rfind(' ') + 1)));
    std::string answer = Hear(knocking);
    EXPECT_TRUE(Ends(knocking, 5000)) << "it was let in";
    close(knocking);
    return answer;
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
  WaitingRoot root(3);
  const std::string proved = Says(2, 3);
  const auto answer = [&](const std::string& said) {
    return root.Answers([&](const std::string& root_nonce) {
      return said + " " + kNonce + " " + Proof("rank", root_nonce, kNonce, proved);
    });
  };
  EXPECT_EQ(answer(Says(1, 3)), "- no") << "another rank";
  EXPECT_EQ(answer(Says(2, 4)), "- no") << "another number of ranks";
  EXPECT_EQ(answer(Says(2, 3, "elsewhere")), "- no") << "another host";
  EXPECT_EQ(answer(fmt::format("2 3 {} {}", Sha256Hex("build"), Sha256Hex("h"))), "- no");
}

TEST(TcpRanks, AProofThatWasSeenOnceIsOfNoUseAgain) {
  WaitingRoot root(2);
  std::string seen;
  // What goes by a wire that somebody listens to: right, but for its last digit.
  root.Answers([&](const std::string& root_nonce) {
    seen = Says(1, 2) + " " + kNonce + " " + Proof("rank", root_nonce, kNonce, Says(1, 2));
    std::string spoilt = seen;
    spoilt.back() = spoilt.back() == '0' ? '1' : '0';
    return spoilt;
  });
  EXPECT_EQ(root.Answers([&](const std::string&) { return seen; }), "- no")
      << "a proof to another nonce of rank 0's";
  EXPECT_EQ(root.Answers([&](const std::string& root_nonce) {
    return Says(1, 2) + " " + std::string(64, '2') + " " +
           Proof("rank", root_nonce, kNonce, Says(1, 2));
  }),
            "- no")
      << "of another nonce of the rank's";
  EXPECT_EQ(root.Answers([&](const std::string& root_nonce) {
    return Says(1, 2) + " " + kNonce + " " + Proof("root", root_nonce, kNonce, Says(1, 2));
  }),
            "- no")
      << "what rank 0 itself would say";
  EXPECT_EQ(root.Answers([&](const std::string& root_nonce) {
    return Says(1, 2) + " 1 " + Proof("rank", root_nonce, "1", Says(1, 2));
  }),
            "- no")
      << "a nonce that is short enough to come again";
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
  const int knocking = Knock(listener);
  const std::string challenge = Hear(knocking);
  const std::string root_nonce = challenge.substr(challenge.rfind(' ') + 1);
  Say(knocking, 'h',
      Says(1, 2) + " " + kNonce + " " + Proof("rank", root_nonce, kNonce, Says(1, 2)));
  EXPECT_EQ(Hear(knocking), Proof("root", root_nonce, kNonce, "yes") + " yes");
  EXPECT_EQ(Hear(knocking), "1 0") << "its node and its number there";
  root.join();
  close(knocking);
  EXPECT_EQ(error, "");
}

TEST(TcpRanks, WhatRankZeroAnsweredOnceIsNoAnswerToAnother) {
  // An impostor that answers as rank 0 would have: to another nonce of the rank's, another nonce of
  // its own, or with another word.
  const std::string root_nonce(64, '0');
  const auto join = [&](const std::function<std::string(const std::string& nonce)>& answer) {
    const Listener listener;
    std::thread impostor([&] {
      const int connection = accept(listener.descriptor, nullptr, nullptr);
      Say(connection, 'c', "assay-ranks/1 " + root_nonce);
      std::string greeting = Hear(connection);
      greeting.resize(greeting.rfind(' '));
      Say(connection, 'a', answer(greeting.substr(greeting.rfind(' ') + 1)));
      Say(connection, 'p', "0 1");
      while (!Hear(connection).empty()) continue;
      close(connection);
    });
    std::string error;
    try {
      JoinTcp(OptionsOf(listener, 1, 2));
    } catch (const Error& thrown) {
      error = thrown.what();
    }
    impostor.join();
    close(listener.descriptor);
    return error;
  };
  EXPECT_EQ(join([&](const std::string& nonce) {
              return Proof("root", root_nonce, nonce, "yes") + " yes";
            }),
            "");
  const auto no_key = HasSubstr("don't hold the same key");
  EXPECT_THAT(
      join([&](const std::string&) { return Proof("root", root_nonce, kNonce, "yes") + " yes"; }),
      no_key);
  EXPECT_THAT(join([&](const std::string& nonce) {
                return Proof("root", std::string(64, '3'), nonce, "yes") + " yes";
              }),
              no_key);
  EXPECT_THAT(join([&](const std::string& nonce) {
                return Proof("root", root_nonce, nonce, "no") + " yes";
              }),
              no_key);
  EXPECT_THAT(join([&](const std::string& nonce) {
                return Proof("rank", root_nonce, nonce, "yes") + " yes";
              }),
              no_key);
}

TEST(TcpRanks, AStrangerIsReadNoFurtherThanAGreeting) {
  WaitingRoot root(2);
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

TEST(TcpRanks, WithoutAKeyOnlyThisMachineIsServed) {
  try {
    JoinTcp({.rank = 0, .size = 2, .address = "0.0.0.0", .patience = Seconds(0.1)});
    ADD_FAILURE() << "listened to the world without a key";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ASSAY_BOOTSTRAP_KEY"));
  }
  EXPECT_THROW(JoinTcp({.rank = 1, .size = 2, .address = "192.0.2.1", .patience = Seconds(0.1)}),
               Error);
  EXPECT_THAT(OnTcpRanks(
                  2, [](Ranks& ranks) { ranks.Barrier(); },
                  [](TcpOptions& options) { options.key.clear(); }),
              testing::Each(""));
}

TEST(TcpRanks, RankZeroMustRunWhereMasterAddrIs) {
  try {
    JoinTcp({.rank = 0, .size = 2, .address = "192.0.2.1", .key = kKey, .patience = Seconds(0.1)});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("must be an address of the machine that rank 0 runs on"));
  }
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
  const std::map<std::string, std::string> good = {
      {"MASTER_ADDR", "10.0.0.1"}, {"RANK", "3"},        {"WORLD_SIZE", "16"},
      {"LOCAL_RANK", "1"},         {"MASTER_PORT", "4"}, {"ASSAY_BOOTSTRAP_KEY", kKey}};
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
  EXPECT_EQ(options.key, kKey);
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
  // What srun tells each task, where nobody said otherwise.
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

}  // namespace
}  // namespace assay
