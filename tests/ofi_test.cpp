// Messages over the real libfabric: ranks are threads with an endpoint each, by every provider that
// works without special hardware.
#include "collectives/ofi.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <span>
#include <thread>

#include "collectives/algorithms.h"
#include "collectives/fabric.h"
#include "collectives/library.h"
#include "collectives/timed_collective.h"
#include "collectives/transport_exchange.h"
#include "collectives/used_transport.h"
#include "results/base/error.h"
#include "runner/core/group.h"
#include "runner/core/module.h"
#include "tests/layout_check.h"
#include "tests/other_user.h"
#include "tests/thread_ranks.h"

extern "C" const assay::Module* assay_module();

namespace assay {
namespace {

using testing::HasSubstr;

std::unique_ptr<Transport> Joined(Ranks& ranks, const OfiOptions& options) {
  auto joined = JoinOfi(ranks, options);
  if (const Skipped* skipped = std::get_if<Skipped>(&joined)) throw Error(skipped->reason);
  return std::get<std::unique_ptr<Transport>>(std::move(joined));
}

// Both ways of moving messages, by each provider.
struct Way {
  const char* provider = "";
  bool puts = false;
};
class Ofi : public testing::TestWithParam<Way> {
 protected:
  static OfiOptions Options(Seconds patience = Seconds(20)) {
    return {.provider = GetParam().provider, .puts = GetParam().puts, .patience = patience};
  }
};
INSTANTIATE_TEST_SUITE_P(Providers, Ofi,
                         testing::Values(Way{"tcp"}, Way{"shm"}, Way{"tcp", true},
                                         Way{"shm", true}),
                         [](const auto& one) {
                           return std::string(one.param.provider) + (one.param.puts ? "_puts" : "");
                         });

// One message of a plan that all ranks know.
struct Message {
  int from = 0;
  int to = 0;
  int tag = 0;
  std::size_t bytes = 0;
  unsigned first = 0;  // of its bytes, which go on from there
};

std::byte ByteAt(const Message& message, std::size_t i) {
  return static_cast<std::byte>((message.first + i * 7U + i / 251U) & 255U);
}

// Seeded sizes, tags, pairs and orders of waiting; every message has bytes of its own, so that one
// that is lost, doubled, overtaken or torn shows.
TEST_P(Ofi, RandomMessagesArriveWholeAndInOrder) {
  constexpr std::size_t kSizes[] = {0, 1, 7, 64, 65, 4095, 4097, 16384, 65536, 300'000};
  for (const int size : {1, 2, 3, 5}) {
    OnRanks(size, [&](ThreadRanks& ranks) {
      const auto transport = Joined(ranks, Options());
      EXPECT_EQ(transport->Size(), size);
      EXPECT_EQ(transport->Rank(), ranks.Rank());
      for (unsigned seed = 1; seed <= 12; ++seed) {
        std::mt19937 plan_random(seed);
        std::vector<Message> plan(40);
        for (Message& message : plan) {
          message.from = static_cast<int>(plan_random() % static_cast<unsigned>(size));
          message.to = static_cast<int>(plan_random() % static_cast<unsigned>(size));
          message.tag = static_cast<int>(plan_random() % 3 * 16383);
          message.bytes = kSizes[plan_random() % std::size(kSizes)];
          message.first = static_cast<unsigned>(plan_random());
        }
        std::mt19937 own_random(seed * 100 + static_cast<unsigned>(ranks.Rank()));
        std::size_t all_bytes = 1;
        for (Message& message : plan) {
          if (GetParam().puts) message.bytes = std::max<std::size_t>(1, message.bytes);
          all_bytes += message.bytes;
        }
        std::vector<std::byte> anywhere(GetParam().puts ? 0 : all_bytes);
        const std::span<std::byte> window = transport->Window(ranks, all_bytes);
        EXPECT_EQ(window.empty(), !GetParam().puts);
        std::byte* free = window.empty() ? anywhere.data() : window.data();
        std::vector<std::span<std::byte>> memory;
        for (const Message& message : plan) {
          memory.emplace_back(free, message.bytes);
          free += message.bytes;
        }
        std::vector<Transport::Ticket> tickets;
        // Messages start in the order of the plan, but receives and sends in separate stretches.
        const bool receives_first = own_random() % 2 == 0;
        for (const bool receiving : {receives_first, !receives_first}) {
          for (std::size_t i = 0; i < plan.size(); ++i) {
            const Message& message = plan[i];
            const std::span<std::byte> bytes = memory[i];
            if (receiving && message.to == ranks.Rank() && message.from != ranks.Rank()) {
              std::fill(bytes.begin(), bytes.end(), std::byte{0x5a});
              tickets.push_back(
                  transport->Receive(message.from, bytes.data(), message.bytes, message.tag));
            } else if (!receiving && message.from == ranks.Rank() && message.to != ranks.Rank()) {
              for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = ByteAt(message, at);
              tickets.push_back(
                  transport->Send(message.to, bytes.data(), message.bytes, message.tag));
            }
          }
        }
        std::shuffle(tickets.begin(), tickets.end(), own_random);
        for (const Transport::Ticket ticket : tickets) transport->Wait(ticket);
        for (std::size_t i = 0; i < plan.size(); ++i) {
          if (plan[i].to != ranks.Rank() || plan[i].from == ranks.Rank()) continue;
          for (std::size_t at = 0; at < plan[i].bytes; ++at) {
            ASSERT_EQ(memory[i][at], ByteAt(plan[i], at))
                << "seed " << seed << ", message " << i << ", byte " << at;
          }
        }
      }
      ranks.Barrier();
    });
  }
}

TEST_P(Ofi, SaysWhatItRunsOn) {
  OnRanks(2, [&](ThreadRanks& ranks) {
    const auto transport = Joined(ranks, Options());
    const Facts facts = transport->Describe();
    EXPECT_THAT(std::get<std::string>(facts.at("libfabric")), testing::MatchesRegex("[0-9.]+"));
    EXPECT_EQ(NotOver(std::get<std::string>(facts.at("transport")), GetParam().provider),
              std::nullopt);
    EXPECT_THAT(std::get<std::string>(facts.at("protocol")), HasSubstr("FI_PROTO_"));
    EXPECT_GT(std::get<std::int64_t>(facts.at("inject_bytes")), 0);
    EXPECT_EQ(facts.at("messages"), Fact(GetParam().puts ? "writes with an immediate" : "tagged"));
    EXPECT_EQ(facts.contains("sockets"), std::string_view(GetParam().provider) == "tcp");
    EXPECT_GE(transport->SegmentBytes(), 4096u);
    ranks.Barrier();
  });
}

// Memory for a message or two, where the transport wants it.
struct Room {
  Room(Transport& transport, Ranks& ranks) : window(transport.Window(ranks, anywhere.size())) {}
  std::byte* At(std::size_t place) {
    return (window.empty() ? anywhere.data() : window.data()) + place;
  }
  std::array<std::byte, 200> anywhere = {};
  std::span<std::byte> window;
};

TEST_P(Ofi, ARankThatIsGoneEndsTheOthersInTime) {
  OnRanks(2, [&](ThreadRanks& ranks) {
    auto transport = Joined(ranks, Options(Seconds(1)));
    Room room(*transport, ranks);
    if (ranks.Rank() == 0) {
      transport->Wait(transport->Send(1, room.At(0), 4, 1));
    } else {
      transport->Wait(transport->Receive(0, room.At(0), 4, 1));
    }
    if (ranks.Rank() == 1) {
      transport.reset();
      return;
    }
    const auto begin = std::chrono::steady_clock::now();
    try {
      transport->Wait(transport->Receive(1, room.At(100), 4, 2));
      ADD_FAILURE() << "a message came from nowhere";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("rank 0 of 2"));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  });
}

TEST_P(Ofi, AMessageOfAnotherSizeThanItsReceiveIsAnError) {
  OnRanks(2, [&](ThreadRanks& ranks) {
    const auto transport = Joined(ranks, Options(Seconds(1)));
    Room room(*transport, ranks);
    if (ranks.Rank() == 1) {
      EXPECT_THROW(transport->Wait(transport->Receive(0, room.At(0), 100, 1)), Error);
    } else if (GetParam().puts) {
      // The sender knows first.
      EXPECT_THROW(transport->Wait(transport->Send(1, room.At(0), 50, 1)), Error);
    } else {
      transport->Wait(transport->Send(1, room.At(0), 50, 1));
    }
    ranks.Barrier();
  });
}

// Fabric patterns have tags, and memory of their own.
class OfiTagged : public Ofi {};
INSTANTIATE_TEST_SUITE_P(Providers, OfiTagged, testing::Values(Way{"tcp"}, Way{"shm"}),
                         [](const auto& one) { return std::string(one.param.provider); });

TEST_P(OfiTagged, FabricPatternsBringEveryByte) {
  for (const std::string& pattern : FabricPatterns()) {
    for (const std::int64_t bytes : {1, 13, 5000, 1 << 20}) {
      OnRanks(2, [&](ThreadRanks& ranks) {
        const Collective collective = FabricCollective(pattern, bytes);
        ASSERT_TRUE(IsFabric(collective));
        Prepared prepared = PrepareTimedCollective(
            collective, ranks, MakeFabricExchange(collective, Joined(ranks, Options())),
            /*seed=*/5, {.rotate_bytes = 1 << 20});
        Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
        for (int batch = 0; batch < 3; ++batch) {
          const Batch done = workload.Run(7);
          const Checked checked = workload.Verify();
          if (ranks.Rank() != 0) continue;
          EXPECT_GT(done.time, Seconds(0));
          EXPECT_EQ(checked.wrong, 0) << pattern << " " << bytes << *checked.what;
          EXPECT_GE(checked.checked, 2 * bytes);
        }
        const Facts facts = workload.Describe();  // on all ranks together
        if (ranks.Rank() == 0) {
          EXPECT_EQ(std::get<std::int64_t>(facts.at("in_flight")),
                    pattern == "pingpong" ? 1 : FabricWindow(bytes));
        }
        ranks.Barrier();
      });
    }
  }
}

TEST_P(Ofi, EveryOperationIsRightByEveryAlgorithm) {
  for (const int ranks : {2, 3}) {
    std::mutex mutex;
    std::vector<std::string> wrong;
    std::set<std::string> done;
    OnRanks(ranks, [&](ThreadRanks& own) {
      const std::shared_ptr<Transport> transport = Joined(own, Options());
      for (const OperationFacts& facts : Operations()) {
        for (const std::string& algorithm : AlgorithmsOf(facts.operation)) {
          for (const std::int64_t bytes : {4, 5004, 1'500'000}) {
            const Collective collective = {.operation = facts.operation,
                                           .bytes = bytes,
                                           .in_place = facts.in_place && bytes == 5004,
                                           .root = facts.rooted ? ranks - 1 : 0,
                                           .algorithm = algorithm};
            if (RefusalOver(collective, own, /*registers=*/true)) continue;
            const auto exchange = ExchangeOver(transport, own, collective);
            const std::string what = WhatIsWrong(collective, own.Rank(), ranks, *exchange, 2);
            const std::lock_guard lock(mutex);
            if (!what.empty()) wrong.push_back(NameOf(collective, ranks) + ": " + what);
            done.emplace(facts.name);
          }
        }
      }
      own.Barrier();
    });
    EXPECT_THAT(wrong, testing::IsEmpty());
    EXPECT_EQ(done.size(), Operations().size());
  }
}

TEST_P(Ofi, OneToNineRanksAreRight) {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    std::mutex mutex;
    std::vector<std::string> wrong;
    OnRanks(ranks, [&](ThreadRanks& own) {
      const std::shared_ptr<Transport> transport = Joined(own, Options());
      for (const OperationFacts& facts : Operations()) {
        const Collective collective = {
            .operation = facts.operation, .dtype = "int8", .bytes = 70'001};
        const auto exchange = ExchangeOver(transport, own, collective);
        const std::string what = WhatIsWrong(collective, own.Rank(), ranks, *exchange, 1);
        const std::lock_guard lock(mutex);
        if (!what.empty()) wrong.push_back(NameOf(collective, ranks) + ": " + what);
      }
      own.Barrier();
    });
    EXPECT_THAT(wrong, testing::IsEmpty());
  }
}

TEST(Fabric, CountsMessagesOrBytesOfAllWindows) {
  EXPECT_EQ(FabricWork("pingpong", 8).ops, 2);
  EXPECT_EQ(FabricWork("pingpong", 8).bytes, std::nullopt);
  EXPECT_EQ(FabricWork("stream", 4096).bytes, 64 * 4096);
  EXPECT_EQ(FabricWork("bidirectional", 4096).bytes, 2 * 64 * 4096);
  // At most 16 MiB in flight, and at least one message.
  EXPECT_EQ(FabricWork("stream", 1 << 20).bytes, 16 << 20);
  EXPECT_EQ(FabricWork("stream", 64 << 20).bytes, 64 << 20);
}

TEST(Fabric, OtherAlgorithmsArentItsOwn) {
  for (const char* algorithm : {"auto", "ring", "stream", "stream:", "stream:0", "stream:-1",
                                "stream:8x", "streams:8", "pingpong:99999999999999999999"}) {
    EXPECT_FALSE(IsFabric({.algorithm = algorithm})) << algorithm;
  }
}

TEST(OfiJoin, WithoutACommonProviderEveryRankSaysWhy) {
  OnRanks(2, [](ThreadRanks& ranks) {
    const auto joined = JoinOfi(ranks, {.provider = ranks.Rank() == 0 ? "tcp" : "shm"});
    ASSERT_TRUE(std::holds_alternative<Skipped>(joined));
    EXPECT_THAT(std::get<Skipped>(joined).reason, HasSubstr("no libfabric provider in common"));
    EXPECT_THAT(std::get<Skipped>(joined).reason, HasSubstr("verbs: this node has no RDMA device"));
  });
}

// The files of endpoints over shared memory that a process maps.
std::set<std::filesystem::path> FilesMappedBy(pid_t process) {
  std::ifstream maps(fmt::format("/proc/{}/maps", process));
  std::set<std::filesystem::path> files;
  for (std::string line; std::getline(maps, line);) {
    const std::size_t at = line.find("/dev/shm/assay-ofi-");
    if (at != std::string::npos) files.insert(line.substr(at));
  }
  return files;
}

// The files that are left by a separate process which has such an endpoint and is killed.
std::set<std::filesystem::path> LeftByAKilledRank() {
  int ready[2] = {-1, -1};
  EXPECT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    Ranks alone;
    const auto transport = Joined(alone, {.provider = "shm"});
    if (write(ready[1], "!", 1) == 1) pause();
    _exit(1);
  }
  close(ready[1]);
  char text = 0;
  EXPECT_EQ(read(ready[0], &text, 1), 1);
  close(ready[0]);
  auto files = FilesMappedBy(child);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return files;
}

TEST(OfiSharedMemory, WhatAKilledRankLeftIsRemovedAndWhatIsInUseIsNot) {
  const auto left = LeftByAKilledRank();
  ASSERT_EQ(left.size(), 1U);
  Ranks alone;
  const auto first = Joined(alone, {.provider = "shm"});
  const auto used = FilesMappedBy(getpid());
  ASSERT_EQ(used.size(), 1U);
  EXPECT_TRUE(std::filesystem::exists(*left.begin())) << "it might have been made just now";

  for (const auto& file : {*left.begin(), *used.begin()}) {
    std::filesystem::last_write_time(
        file, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  }
  const auto second = Joined(alone, {.provider = "shm"});
  EXPECT_FALSE(std::filesystem::exists(*left.begin()));
  EXPECT_TRUE(std::filesystem::exists(*used.begin()));
}

// libfabric's own name for an endpoint is PID:UID:NUMBER, and it finds whose process lives in use.
TEST(OfiSharedMemory, AFileWithTheNameOfThisProcessIsNotInTheWay) {
  const auto name = [](int number) {
    return std::filesystem::path(fmt::format("/dev/shm/{}:{}:{}", getpid(), getuid(), number));
  };
  constexpr int kEndpoints = 500;
  for (int i = 0; i < kEndpoints; ++i) std::ofstream(name(i)) << std::string(4096, 'x');
  Ranks alone;
  EXPECT_NO_THROW(Joined(alone, {.provider = "shm"}));
  for (int i = 0; i < kEndpoints; ++i) EXPECT_TRUE(std::filesystem::remove(name(i))) << i;
}

// Ranks of which some are on another node, as far as they say.
class SpreadRanks : public Ranks {
 public:
  explicit SpreadRanks(Ranks& ranks) : ranks_(ranks) {}
  int Rank() const override { return ranks_.Rank(); }
  int Size() const override { return ranks_.Size(); }
  int Node() const override { return ranks_.Rank(); }
  void Barrier() override { ranks_.Barrier(); }
  std::string Broadcast(const std::string& text) override { return ranks_.Broadcast(text); }
  std::vector<std::string> Gather(const std::string& text) override { return ranks_.Gather(text); }
  void Max(std::span<double> values) override { ranks_.Max(values); }

 private:
  Ranks& ranks_;
};

// Ranks whose rank 0 tells the others another address than its own.
class MisledRanks : public Ranks {
 public:
  MisledRanks(Ranks& ranks, const std::string& name) : ranks_(ranks), name_(ToHex(name)) {}
  int Rank() const override { return ranks_.Rank(); }
  int Size() const override { return ranks_.Size(); }
  void Barrier() override { ranks_.Barrier(); }
  std::vector<std::string> Gather(const std::string& text) override { return ranks_.Gather(text); }
  void Max(std::span<double> values) override { ranks_.Max(values); }
  std::string Broadcast(const std::string& text) override {
    std::string told = ranks_.Broadcast(text);
    if (told.find(ToHex("assay-ofi-")) != std::string::npos) told.replace(0, told.find(' '), name_);
    return told;
  }

 private:
  static std::string ToHex(const std::string& text) {
    std::string hex;
    for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return hex;
  }

  Ranks& ranks_;
  std::string name_;
};

TEST(OfiSharedMemory, AnAddressOfAnyOtherFileIsRefusedAndTheFileUntouched) {
  if (!std::filesystem::is_directory("/dev/shm")) GTEST_SKIP() << "no /dev/shm";
  // A file of another name, one of another user's, a link, and one with a second name.
  std::vector<std::string> names = {fmt::format("assay-{}", getpid())};
  for (const char* end : {"1", "2", "3"}) {
    names.push_back(fmt::format("assay-ofi-{:08x}{:0>8}", getpid(), end));
  }
  const auto path = [](const std::string& name) { return "/dev/shm/" + name; };
  const std::string kept(1 << 16, 'x');
  std::ofstream(path(names[0])) << kept;
  if (CanBeAnother()) {
    std::ofstream(path(names[1])) << kept;
    ASSERT_EQ(chown(path(names[1]).c_str(), kNobody, kNobody), 0);
  }
  std::filesystem::create_symlink(path(names[0]), path(names[2]));
  std::filesystem::create_hard_link(path(names[0]), path(names[3]));
  for (const std::string& name : names) {
    OnRanks(2, [&](ThreadRanks& ranks) {
      MisledRanks misled(ranks, name + '\0');
      try {
        Joined(misled, {.provider = "shm"});
        ADD_FAILURE() << name << " was taken for an endpoint";
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("what rank 0 told as its memory in /dev/shm is no "));
      }
    });
  }
  for (const std::string& name : names) {
    std::ifstream file(path(name));
    if (file.is_open()) {
      EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), kept) << name;
    }
    std::filesystem::remove(path(name));
  }
}

TEST(OfiJoin, RanksOnSeveralNodesShareNoMemory) {
  OnRanks(2, [](ThreadRanks& ranks) {
    SpreadRanks spread(ranks);
    const auto joined = JoinOfi(spread, {.provider = "shm"});
    ASSERT_TRUE(std::holds_alternative<Skipped>(joined));
    EXPECT_THAT(std::get<Skipped>(joined).reason, HasSubstr("shm: the ranks are on several nodes"));
  });
}

TEST(OfiJoin, TheRankThatLacksAWayOutIsNamedOnAll) {
  OnRanks(3, [](ThreadRanks& ranks) {
    const auto joined = JoinOfi(ranks, {.provider = ranks.Rank() == 2 ? "gone" : "tcp"});
    ASSERT_TRUE(std::holds_alternative<Skipped>(joined));
    EXPECT_THAT(std::get<Skipped>(joined).reason, HasSubstr("rank 2 has no efa"));
    EXPECT_THAT(std::get<Skipped>(joined).reason, HasSubstr("tcp: "));
  });
}

TEST(OfiJoin, EachGroupOfRanksIsConnectedAndAgainWhenItChanges) {
  setenv("FI_PROVIDER", "tcp", 1);
  OnRanks(4, [](ThreadRanks& ranks) {
    const auto libraries = assay_module()->libraries();
    for (const bool even : {true, false}) {  // two ranks each, then one and three
      Group group(ranks, even ? ranks.Rank() % 2 : std::min(ranks.Rank(), 1));
      const Prepared prepared = libraries[0]->Prepare({.bytes = 5000}, group, /*seed=*/1);
      ASSERT_EQ(prepared.index(), 0u);
      std::get<0>(prepared)->Run(2);
      EXPECT_EQ(std::get<0>(prepared)->Verify().wrong, 0);
      group.Rest();
    }
  });
  unsetenv("FI_PROVIDER");
}

TEST(OfiShm, RanksThatShareNoMemoryGoByTcpWhateverTheirHostIsCalled) {
  OnRanks(2, [](ThreadRanks& ranks) {
    const std::string own = std::to_string(ranks.Rank());
    const auto joined = JoinOfi(ranks, {.memory = own});
    const auto* transport = std::get_if<std::unique_ptr<Transport>>(&joined);
    ASSERT_NE(transport, nullptr);
    const Facts facts = (*transport)->Describe();
    EXPECT_EQ(facts.at(kTransportFact), Fact(std::string("tcp")));
    EXPECT_THAT(std::get<std::string>(facts.at("providers_absent")),
                testing::HasSubstr("shm: the ranks don't share /dev/shm"));
  });
  OnRanks(2, [](ThreadRanks& ranks) {
    const auto joined = JoinOfi(ranks, {.provider = "shm", .memory = std::to_string(ranks.Rank())});
    EXPECT_TRUE(std::holds_alternative<Skipped>(joined));
  });
  OnRanks(2, [](ThreadRanks& ranks) {
    const auto joined = JoinOfi(ranks, {.memory = "one", .network = "one"});
    EXPECT_EQ(std::get<std::unique_ptr<Transport>>(joined)->Describe().at(kTransportFact),
              Fact(std::string("shm")));
  });
}

}  // namespace
}  // namespace assay
