// Every algorithm on every operation, over a network that is memory.
#include "collectives/algorithms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "collectives/reduction.h"
#include "collectives/transport_exchange.h"
#include "kernels/cpu_peak.h"
#include "results/base/dtype.h"
#include "runner/core/random.h"
#include "tests/layout_check.h"
#include "tests/memory_puts.h"
#include "tests/memory_transport.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::HasSubstr;

constexpr std::size_t kSegment = 256;
constexpr std::size_t kInFlight[] = {4, 1, 16, 3};

void ExpectRight(const Collective& collective, int ranks, std::uint64_t seed) {
  // Over messages, and over messages that are put straight into each other's memory.
  MemoryNetwork network(seed);
  PutWorld puts(seed, ranks);
  std::mutex mutex;
  std::string wrong;
  OnRanks(ranks, [&](ThreadRanks& own) {
    const std::size_t in_flight = kInFlight[seed % 4];
    for (const bool by_puts : {false, true}) {
      std::unique_ptr<Transport> transport;
      if (by_puts) {
        transport = MessagesByPuts(
            std::make_unique<MemoryPuts>(puts, own.Rank(), ranks, kSegment, in_flight));
      } else {
        transport =
            std::make_unique<MemoryTransport>(network, own.Rank(), ranks, kSegment, in_flight);
      }
      const auto exchange = ExchangeOver(std::move(transport), own, collective);
      const std::string what = WhatIsWrong(collective, own.Rank(), ranks, *exchange, 2);
      const std::lock_guard lock(mutex);
      if (!what.empty()) wrong = what + (by_puts ? ", by puts" : ", by messages");
    }
  });
  EXPECT_EQ(wrong, "") << NameOf(collective, ranks);
  EXPECT_EQ(network.Complaint(), "") << NameOf(collective, ranks);
  EXPECT_EQ(puts.Complaint(), "") << NameOf(collective, ranks);
}

// Sizes of none, one and several segments, and with odd ends.
class EachOperation : public testing::TestWithParam<Operation> {};

TEST_P(EachOperation, IsRightByEveryAlgorithmOnOneToNineRanks) {
  const OperationFacts& facts = FactsOf(GetParam());
  std::uint64_t cases = 0;
  for (const std::string& algorithm : AlgorithmsOf(GetParam())) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      for (const std::int64_t bytes : {4, 1028, 5004}) {
        for (const bool in_place : {false, true}) {
          if (in_place && !facts.in_place) continue;
          for (int root = 0; root < (facts.rooted ? ranks : 1); root += std::max(1, ranks - 1)) {
            const Collective collective = {.operation = GetParam(),
                                           .dtype = "i32",
                                           .bytes = bytes,
                                           .in_place = in_place,
                                           .root = root,
                                           .algorithm = algorithm};
            if (AlgorithmRefusal(collective, ranks)) continue;
            for (int early_or_late = 0; early_or_late < 2; ++early_or_late) {
              ExpectRight(collective, ranks, ++cases);
            }
          }
        }
      }
    }
  }
  EXPECT_GE(cases, 54u);
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EachOperation, testing::ValuesIn([] {
                           std::vector<Operation> all;
                           for (const OperationFacts& facts : Operations()) {
                             all.push_back(facts.operation);
                           }
                           return all;
                         }()),
                         [](const auto& each) { return std::string(FactsOf(each.param).name); });

TEST(Algorithms, EveryDtypeAndReductionIsExact) {
  std::set<std::pair<std::string, std::string>> done;
  for (const std::string& dtype : DtypeNames(DtypeUse::kCollectives)) {
    for (const char* redop : {"sum", "prod", "min", "max", "avg"}) {
      for (const std::string& algorithm : AlgorithmsOf(Operation::kAllReduce)) {
        const Collective collective = {
            .dtype = dtype, .redop = redop, .bytes = 1000, .algorithm = algorithm};
        if (AlgorithmRefusal(collective, 5)) continue;
        ExpectRight(collective, 5, 1);
        done.emplace(dtype, redop);
      }
    }
  }
  EXPECT_EQ(done.size(), 10U * 5 - 2) << "all that reduce, but for the means of those of 16 bits";
}

TEST(Algorithms, UnequalSharesReachTheirRanks) {
  for (const int spread : {0, 37, 100}) {
    for (int ranks = 2; ranks <= 5; ++ranks) {
      ExpectRight({.operation = Operation::kAlltoallv, .bytes = 20000, .spread_percent = spread},
                  ranks, 1);
    }
  }
}

TEST(Algorithms, SendWhatTheirFormulasSay) {
  // All-reduce of S: a ring sends 2 (n - 1) / n S, whoever it is; Rabenseifner's as much where n is
  // a power of two; recursive doubling log2(n) S.
  constexpr std::int64_t kBytes = 1 << 20;
  const auto sent = [](const char* algorithm, int rank, int ranks) {
    return ScheduleOf({.bytes = kBytes, .algorithm = algorithm}, rank, ranks, 4096, 4).SentBytes();
  };
  for (const int ranks : {2, 4, 8}) {
    const auto n = static_cast<std::size_t>(ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(sent("ring", rank, ranks), 2 * (n - 1) * kBytes / n);
      EXPECT_EQ(sent("rabenseifner", rank, ranks), 2 * (n - 1) * kBytes / n);
      EXPECT_EQ(sent("recursive_doubling", rank, ranks),
                static_cast<std::size_t>(std::log2(ranks)) * kBytes);
    }
  }
}

TEST(Algorithms, AutoTakesFewRoundsForWhatIsSmallAndFewBytesForWhatIsLarge) {
  const auto choice = [](std::int64_t bytes, int ranks) {
    return AlgorithmFor({.bytes = bytes}, ranks, 64 << 10);
  };
  EXPECT_EQ(choice(8, 2), "recursive_doubling");
  EXPECT_EQ(choice(16 << 10, 64), "recursive_doubling");
  EXPECT_EQ(choice(1 << 20, 64), "rabenseifner");
  EXPECT_EQ(choice(64 << 20, 64), "ring");
  EXPECT_EQ(AlgorithmFor({.algorithm = "ring"}, 2, 64), "ring");
}

TEST(Algorithms, AnUnknownNameIsRefusedWithThoseThatThereAre) {
  const auto no = AlgorithmRefusal({.algorithm = "butterfly"}, 2);
  ASSERT_TRUE(no);
  EXPECT_EQ(no->reason, "all_reduce has no algorithm butterfly");
  EXPECT_THAT(no->remedy, HasSubstr("ring, recursive_doubling, rabenseifner"));
  EXPECT_THAT(no->remedy, HasSubstr(", hier"));
  const Collective gather_no = {.operation = Operation::kGather, .algorithm = "butterfly"};
  EXPECT_EQ(AlgorithmRefusal(gather_no, 2)->remedy,
            "--set algo=auto (coll: --algo auto), or linear");
  EXPECT_TRUE(AlgorithmRefusal({.dtype = "fp8_e4m3"}, 2));
  Ranks alone;
  EXPECT_TRUE(RefusalOver({.buffers = "shared"}, alone, /*registers=*/true));
  EXPECT_TRUE(RefusalOver({.buffers = "registered"}, alone));
  EXPECT_FALSE(RefusalOver({.buffers = "registered"}, alone, /*registers=*/true));
  const Collective gather = {.operation = Operation::kAllGather, .algorithm = "recursive_doubling"};
  EXPECT_FALSE(AlgorithmRefusal(gather, 4));
  EXPECT_THAT(AlgorithmRefusal(gather, 6)->reason, HasSubstr("a power of two of ranks, not 6"));
}

// --- The arithmetic itself, on every instruction set that this machine has.

template <class T>
std::vector<T> Reduced(const char* dtype, const char* redop,
                       const std::vector<std::vector<T>>& from, ReduceOptions options = {},
                       std::size_t offset = 0) {
  std::vector<const std::byte*> sources;
  for (const auto& array : from)
    sources.push_back(reinterpret_cast<const std::byte*>(array.data()));
  const std::size_t count = from[0].size();
  std::vector<T> to(count + offset + 1, T{7});
  std::byte* const out = reinterpret_cast<std::byte*>(to.data() + offset);
  Reduction(dtype, redop, static_cast<int>(from.size()))(sources, {&out, 1}, count * sizeof(T),
                                                         options);
  EXPECT_EQ(to.back(), T{7}) << "written past the end";
  EXPECT_EQ(to[offset > 0 ? offset - 1 : count], T{7}) << "written before the begin";
  return {to.begin() + static_cast<std::ptrdiff_t>(offset), to.end() - 1};
}

TEST(Reduction, OddSizesAndPlacesAreReducedToTheLastElementStreamedOrNot) {
  ForEachF32Target([] {
    for (const std::size_t count : {1u, 3u, 64u, 67u, 1031u}) {
      std::vector<std::vector<double>> from(3);
      std::vector<double> sums(count);
      for (std::size_t i = 0; i < count; ++i) {
        for (auto& array : from) array.push_back(static_cast<double>(Mix(i + array.size())) / 3);
        sums[i] = from[0][i] + from[1][i] + from[2][i];
      }
      for (const bool stream : {false, true}) {
        for (const std::size_t offset : {0u, 1u, 5u}) {
          EXPECT_EQ(Reduced("f64", "sum", from, {.stream = stream}, offset), sums);
        }
      }
    }
  });
}

TEST(Reduction, SixteenBitFloatsAreRoundedOnceToNearestEven) {
  ForEachF32Target([] {
    using Bits = std::vector<std::uint16_t>;
    // 1 + 2^-8 + 2^-8 = 1 + 2^-7 in bf16, which a sum rounded after each step would miss.
    EXPECT_EQ(Reduced<std::uint16_t>("bf16", "sum", {{0x3f80}, {0x3b80}, {0x3b80}}), Bits{0x3f81});
    // 1 + 2^-8 lies half way, and goes to the even 1; 1 + 3 x 2^-8 goes up to 1 + 4 x 2^-8.
    EXPECT_EQ(Reduced<std::uint16_t>("bf16", "sum", {{0x3f80}, {0x3b80}}), Bits{0x3f80});
    EXPECT_EQ(Reduced<std::uint16_t>("bf16", "sum", {{0x3f81}, {0x3b80}}), Bits{0x3f82});
    // A NaN stays one, and the largest numbers overflow to infinity.
    EXPECT_EQ(Reduced<std::uint16_t>("bf16", "sum", {{0x7fff}, {0x3f80}})[0] & 0x7fc0, 0x7fc0);
    EXPECT_EQ(Reduced<std::uint16_t>("bf16", "sum", {{0x7f7f}, {0x7f7f}}), Bits{0x7f80});
    // f16: 1 + 2^-11 + 2^-11 = 1 + 2^-10.
    EXPECT_EQ(Reduced<std::uint16_t>("f16", "sum", {{0x3c00}, {0x1000}, {0x1000}}), Bits{0x3c01});
  });
}

TEST(Reduction, IntegersWrapAndTheirAveragesAreCutTowardsZero) {
  ForEachF32Target([] {
    EXPECT_EQ(Reduced<std::int8_t>("int8", "prod", {{100, -3}, {3, 5}}),
              (std::vector<std::int8_t>{44, -15}));
    EXPECT_EQ(Reduced<std::int32_t>("i32", "avg", {{-7, 7}, {0, 0}}, {.last = true}),
              (std::vector<std::int32_t>{-3, 3}));
    EXPECT_EQ(Reduced<std::int32_t>("i32", "avg", {{-7, 7}, {0, 0}}),
              (std::vector<std::int32_t>{-7, 7}));
    EXPECT_EQ(Reduced<std::uint64_t>("u64", "max", {{1, ~std::uint64_t{0}}, {2, 1}}),
              (std::vector<std::uint64_t>{2, ~std::uint64_t{0}}));
  });
}

TEST(Reduction, SeveralOutputsAreAllWrittenAndOneMayBeASource) {
  std::vector<float> a(1000, 1.5F);
  std::vector<float> b(1000, 2.0F);
  std::vector<float> c(1000);
  const std::array from = {reinterpret_cast<const std::byte*>(a.data()),
                           reinterpret_cast<const std::byte*>(b.data())};
  const std::array to = {reinterpret_cast<std::byte*>(b.data()),
                         reinterpret_cast<std::byte*>(c.data())};
  Reduction("f32", "prod", 2)(from, to, 4000);
  EXPECT_EQ(b, std::vector<float>(1000, 3.0F));
  EXPECT_EQ(c, b);
  EXPECT_EQ(a, std::vector<float>(1000, 1.5F));
}

TEST(Reduction, KnowsWhatItCanReduce) {
  EXPECT_TRUE(Reduction::Knows("bf16", "sum"));
  EXPECT_TRUE(Reduction::Knows("int8", "avg"));
  EXPECT_FALSE(Reduction::Knows("bf16", "avg"));
  EXPECT_FALSE(Reduction::Knows("fp8_e5m2", "max"));
  EXPECT_FALSE(Reduction::Knows("f32", "xor"));
}

}  // namespace
}  // namespace assay
