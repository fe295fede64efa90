// Two-level collectives: ranks are threads that say they are on several nodes. Within each they
// share memory for real; between them messages move as in tests/algorithms_test.cpp.
#include "collectives/hier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <random>

#include "collectives/transport_exchange.h"
#include "tests/layout_check.h"
#include "tests/memory_puts.h"
#include "tests/memory_transport.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::HasSubstr;

constexpr std::size_t kSegment = 2048;

// Ranks that are on these nodes, as far as they say.
class SeatedRanks : public Ranks {
 public:
  SeatedRanks(ThreadRanks& ranks, const std::vector<int>& node_of)
      : ranks_(ranks), node_of_(node_of) {}
  int Rank() const override { return ranks_.Rank(); }
  int Size() const override { return ranks_.Size(); }
  int Node() const override { return node_of_[ranks_.Index()]; }
  void Barrier() override { ranks_.Barrier(); }
  std::string Broadcast(const std::string& text) override { return ranks_.Broadcast(text); }
  std::vector<std::string> Gather(const std::string& text) override { return ranks_.Gather(text); }
  void Max(std::span<double> values) override { ranks_.Max(values); }

 private:
  ThreadRanks& ranks_;
  const std::vector<int>& node_of_;
};

// The seats of ranks with as many on each node, one node after the other.
std::vector<int> Seats(int nodes, int ranks_on_each) {
  std::vector<int> node_of;
  for (int rank = 0; rank < nodes * ranks_on_each; ++rank) node_of.push_back(rank / ranks_on_each);
  return node_of;
}

// Runs it, and says what was wrong and what rank 0 says of it.
std::string WhatIsWrongOn(const std::vector<int>& node_of, const Collective& collective,
                          std::uint64_t seed, Facts* facts = nullptr, bool by_puts = false) {
  const int size = static_cast<int>(node_of.size());
  MemoryNetwork network(seed);
  PutWorld puts(seed, size);
  std::mutex mutex;
  std::string wrong;
  OnRanks(size, [&](ThreadRanks& threads) {
    SeatedRanks own(threads, node_of);
    std::unique_ptr<Transport> transport;
    if (by_puts) {
      transport = MessagesByPuts(std::make_unique<MemoryPuts>(puts, own.Rank(), size, kSegment, 4));
    } else {
      transport = std::make_unique<MemoryTransport>(network, own.Rank(), size, kSegment, 4);
    }
    ASSERT_FALSE(RefusalOver(collective, own));
    const auto exchange = ExchangeOver(std::move(transport), own, collective);
    const std::string what = WhatIsWrong(collective, own.Rank(), size, *exchange, 3);
    const std::lock_guard lock(mutex);
    if (own.Rank() == 0 && facts != nullptr) *facts = exchange->Describe();
    if (!what.empty()) wrong = what;
  });
  return wrong + network.Complaint() + puts.Complaint();
}

constexpr Operation kOperations[] = {Operation::kAllReduce, Operation::kBroadcast,
                                     Operation::kReduce, Operation::kAllGather,
                                     Operation::kReduceScatter};

TEST(Hier, IsRightOnOneToThreeNodesOfOneToFourRanks) {
  std::mt19937 random(11);
  std::uint64_t cases = 0;
  for (const Operation operation : kOperations) {
    for (int nodes = 1; nodes <= 3; ++nodes) {
      for (int ranks_on_each = 1; ranks_on_each <= 4; ++ranks_on_each) {
        // None, less than a share, or any size.
        const std::int64_t sizes[] = {0, 12, static_cast<std::int64_t>(random() % 4'000),
                                      static_cast<std::int64_t>(random() % 40'000)};
        const std::int64_t bytes = sizes[std::min<std::size_t>(3, random() % 8)];
        const int size = nodes * ranks_on_each;
        const Collective collective = {
            .operation = operation,
            .dtype = "i32",
            .bytes = bytes,
            .in_place = random() % 2 == 0,
            .root = FactsOf(operation).rooted
                        ? static_cast<int>(random() % static_cast<unsigned>(size))
                        : 0,
            .algorithm = "hier"};
        ++cases;
        EXPECT_EQ(
            WhatIsWrongOn(Seats(nodes, ranks_on_each), collective, cases, nullptr, cases % 3 == 0),
            "")
            << nodes << " nodes, " << NameOf(collective, size);
      }
    }
  }
}

TEST(Hier, EveryReductionIsExact) {
  const auto expect_right = [](const char* dtype, const char* redop, Operation operation) {
    const Collective collective = {.operation = operation,
                                   .dtype = dtype,
                                   .redop = redop,
                                   .bytes = 5'008,
                                   .algorithm = "hier"};
    EXPECT_EQ(WhatIsWrongOn(Seats(2, 3), collective, 1), "") << NameOf(collective, 6);
  };
  expect_right("int8", "prod", Operation::kAllReduce);
  expect_right("int8", "min", Operation::kReduce);
  expect_right("f64", "max", Operation::kReduceScatter);
  // Divided once, after all have been added.
  expect_right("i32", "avg", Operation::kAllReduce);
  expect_right("f32", "avg", Operation::kReduce);
  expect_right("i32", "avg", Operation::kReduceScatter);
}

TEST(Hier, RanksMayBeDealtOutToNodesInTurn) {
  for (const Operation operation :
       {Operation::kAllReduce, Operation::kBroadcast, Operation::kReduce}) {
    const Collective collective = {.operation = operation,
                                   .bytes = 70'004,
                                   .root = operation == Operation::kAllReduce ? 0 : 3,
                                   .algorithm = "hier"};
    EXPECT_EQ(WhatIsWrongOn({0, 1, 0, 1, 0, 1}, collective, 2), "");
  }
  const auto no = HierRefusal({.operation = Operation::kAllGather}, {{0, 2}, {1, 3}});
  ASSERT_TRUE(no);
  EXPECT_THAT(no->reason, HasSubstr("numbers that follow each other"));
}

TEST(Hier, WhatCantBeDoneOnTwoLevelsSaysWhy) {
  EXPECT_THAT(HierRefusal({}, {{0, 1}, {2}})->reason, HasSubstr("node 0 has 2, node 1 has 1"));
  EXPECT_THAT(HierRefusal({.operation = Operation::kAlltoall}, {{0, 1}, {2, 3}})->reason,
              HasSubstr("alltoall is not done on two levels"));
  EXPECT_FALSE(HierRefusal({}, {{0, 1}, {2, 3}}));
}

TEST(Hier, IsTakenWhereSeveralNodesHaveSeveralRanksEach) {
  const auto algorithm = [](const std::vector<int>& node_of) {
    Facts facts;
    EXPECT_EQ(WhatIsWrongOn(node_of, {.bytes = 20'000}, 1, &facts), "");
    return std::get<std::string>(facts.at("algorithm"));
  };
  EXPECT_EQ(algorithm({0, 0, 1, 1}), "hier");
  EXPECT_EQ(algorithm({0, 1, 0, 1}), "hier");
  EXPECT_EQ(algorithm({0, 0, 0, 0}), "rabenseifner");
  EXPECT_EQ(algorithm({0, 1, 2, 3}), "rabenseifner");
  EXPECT_EQ(algorithm({0, 0, 1}), "rabenseifner") << "as many on each are wanted";
}

TEST(Hier, ARankSendsItsShareAloneBetweenNodes) {
  // 2 (k - 1) / k S / g of an all-reduce on k nodes of g ranks, where a flat ring sends
  // 2 (n - 1) / n S, whoever is next.
  constexpr std::int64_t kBytes = 96 << 10;
  for (const auto& [nodes, each] : std::vector<std::pair<int, int>>{{2, 2}, {3, 2}}) {
    Facts facts;
    const Collective collective = {.bytes = kBytes, .algorithm = "hier"};
    EXPECT_EQ(WhatIsWrongOn(Seats(nodes, each), collective, 1, &facts), "");
    EXPECT_EQ(facts.at("sent_bytes_by_rank_0"),
              Fact(std::int64_t{2} * (nodes - 1) * kBytes / nodes / each));
    EXPECT_EQ(facts.at("ranks_on_each_node"), Fact(std::int64_t{each}));
    EXPECT_EQ(facts.at("between_nodes"), Fact("ring"));
    EXPECT_EQ(facts.at("transport"), Fact("shared memory within a node, memory between nodes"));
  }
}

// S of nccl-tests in quarters: what one of two nodes sends or receives at most.
double QuartersOnTheWire(const std::vector<int>& node_of, Operation operation,
                         const std::string& algorithm, int root = 0) {
  constexpr std::int64_t kBytes = 256 << 10;
  const Collective collective = {.operation = operation,
                                 .dtype = "i32",
                                 .bytes = kBytes,
                                 .root = root,
                                 .algorithm = algorithm};
  Facts facts;
  EXPECT_EQ(WhatIsWrongOn(node_of, collective, 5, &facts), "");
  return 4.0 * static_cast<double>(std::get<std::int64_t>(facts.at(kWireFact))) / kBytes;
}

TEST(Wire, WhatCrossesBetweenNodesIsCountedForTheAlgorithmAndTheSeatsThatRan) {
  const std::vector<int> in_order = {0, 0, 1, 1};
  const std::vector<int> by_turns = {0, 1, 0, 1};
  const std::vector<int> uneven = {0, 0, 0, 1};
  using enum Operation;
  EXPECT_EQ(QuartersOnTheWire(in_order, kAllReduce, "auto"), 4) << "two levels";
  EXPECT_EQ(QuartersOnTheWire(in_order, kAllReduce, "ring"), 6);
  EXPECT_EQ(QuartersOnTheWire(by_turns, kAllReduce, "ring"), 12);
  EXPECT_EQ(QuartersOnTheWire(in_order, kAllGather, "auto"), 2) << "two levels";
  EXPECT_EQ(QuartersOnTheWire(in_order, kAllGather, "ring"), 3);
  EXPECT_EQ(QuartersOnTheWire(by_turns, kAllGather, "auto"), 6) << "a ring: not in order";
  EXPECT_EQ(QuartersOnTheWire(by_turns, kReduceScatter, "auto"), 6);
  EXPECT_EQ(QuartersOnTheWire(in_order, kReduceScatter, "ring"), 3);
  EXPECT_EQ(QuartersOnTheWire(in_order, kBroadcast, "auto"), 4);
  EXPECT_EQ(QuartersOnTheWire(by_turns, kBroadcast, "chain"), 8) << "there, back and there";
  EXPECT_EQ(QuartersOnTheWire(in_order, kReduce, "chain", 1), 4);
  EXPECT_EQ(QuartersOnTheWire(in_order, kAlltoall, "auto"), 4)
      << "two ranks to two, a quarter each";
  EXPECT_EQ(QuartersOnTheWire(in_order, kGather, "auto"), 2);
  EXPECT_EQ(QuartersOnTheWire(uneven, kGather, "auto", 3), 3) << "into the root's node";
  EXPECT_EQ(QuartersOnTheWire(in_order, kScatter, "auto"), 2);
  EXPECT_EQ(QuartersOnTheWire(uneven, kScatter, "auto", 3), 3);
  const std::vector<int> one_each = {0, 1, 2, 3};
  EXPECT_EQ(QuartersOnTheWire(one_each, kGather, "auto"), 3) << "what the root receives";
  EXPECT_EQ(QuartersOnTheWire(one_each, kScatter, "auto"), 3) << "what the root sends";
  EXPECT_EQ(QuartersOnTheWire(in_order, kSendRecv, "auto"), 4);
  EXPECT_EQ(QuartersOnTheWire(by_turns, kSendRecv, "auto"), 8);
  EXPECT_EQ(QuartersOnTheWire({0, 0, 0, 0}, kAllReduce, "ring"), 6) << "of one rank, on one node";
}

}  // namespace
}  // namespace assay
