// Tests of collectives before any library does one: descriptors, layouts, inputs and expectations.
#include "collectives/collective.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <vector>

#include "collectives/pattern.h"
#include "collectives/straggler.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/figures/probes.h"

namespace assay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Collective, EveryOperationHasARowAtItsPlace) {
  ASSERT_EQ(Operations().size(), 11U);
  for (std::size_t i = 0; i < Operations().size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(Operations()[i].operation), i) << Operations()[i].name;
    EXPECT_EQ(OperationFrom(Operations()[i].name), Operations()[i].operation);
    EXPECT_EQ(FindProbe(Operations()[i].name).probe_class, ProbeClass::kNetwork);
  }
  EXPECT_EQ(OperationFrom("all_to_all"), std::nullopt);
}

// nccl-tests 2.19.6, GetBw of each operation.
TEST(Collective, BusFactorsAreThoseOfNcclTests) {
  const std::pair<const char*, double> factors[] = {
      {"all_reduce", 1.75}, {"all_gather", 0.875}, {"reduce_scatter", 0.875}, {"broadcast", 1},
      {"reduce", 1},        {"alltoall", 0.875},   {"alltoallv", 0.875},      {"gather", 0.875},
      {"scatter", 0.875},   {"sendrecv", 1}};
  for (const auto& [name, factor] : factors) {
    EXPECT_EQ(FactorOf(FindProbe(name).bus_factor, 8), factor) << name;
  }
  EXPECT_EQ(FactorOf(FindProbe("barrier").bus_factor, 8), std::nullopt);
  EXPECT_EQ(FactorOf(FindProbe("gemm").bus_factor, 8), std::nullopt);
  EXPECT_EQ(FactorOf(FindProbe("all_reduce").bus_factor, 0), std::nullopt);
}

// 1,000 bytes of f32 on 3 ranks: 250 elements; shared out, 83 each, of which whole 16 bytes are 80.
TEST(Layout, CountsAreThoseOfNcclTests) {
  const auto layout = [](Operation operation) {
    return Layout({.operation = operation, .bytes = 1000, .root = 1}, 3);
  };
  const auto counts = [&](Operation operation) {
    const Layout of = layout(operation);
    return std::vector<std::int64_t>{of.Input(0), of.Output(0), of.Input(1), of.Output(1),
                                     of.SizeBytes()};
  };
  EXPECT_THAT(counts(Operation::kAllReduce), ElementsAre(250, 250, 250, 250, 1000));
  EXPECT_THAT(counts(Operation::kAllGather), ElementsAre(80, 240, 80, 240, 960));
  EXPECT_THAT(counts(Operation::kReduceScatter), ElementsAre(240, 80, 240, 80, 960));
  EXPECT_THAT(counts(Operation::kBroadcast), ElementsAre(0, 250, 250, 250, 1000));
  EXPECT_THAT(counts(Operation::kReduce), ElementsAre(250, 0, 250, 250, 1000));
  EXPECT_THAT(counts(Operation::kAlltoall), ElementsAre(240, 240, 240, 240, 960));
  EXPECT_THAT(counts(Operation::kGather), ElementsAre(80, 0, 80, 240, 960));
  EXPECT_THAT(counts(Operation::kScatter), ElementsAre(0, 80, 240, 80, 960));
  EXPECT_THAT(counts(Operation::kSendRecv), ElementsAre(250, 250, 250, 250, 1000));
  EXPECT_THAT(counts(Operation::kBarrier), ElementsAre(0, 0, 0, 0, 0));
  // 960 bytes shared by distance 0 : 1 : 2.
  EXPECT_THAT(counts(Operation::kAlltoallv), ElementsAre(240, 240, 240, 240, 960));
  EXPECT_EQ(layout(Operation::kAlltoallv).Count(0, 0), 0);
  EXPECT_EQ(layout(Operation::kAlltoallv).Count(0, 1), 80);
  EXPECT_EQ(layout(Operation::kAlltoallv).Count(2, 1), 160);
}

TEST(Layout, APieceComesFromWhereItsInputIs) {
  for (const OperationFacts& facts : Operations()) {
    for (const int ranks : {1, 2, 5}) {
      const Layout layout({.operation = facts.operation, .bytes = 4000, .root = ranks - 1}, ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        std::int64_t filled = 0;
        for (const Layout::Piece& piece : layout.Pieces(rank)) {
          EXPECT_EQ(piece.to, filled) << facts.name << ": no gap and no overlap";
          filled += piece.count;
          for (int from = 0; from < ranks; ++from) {
            if (piece.rank != Layout::kEveryRank && piece.rank != from) continue;
            EXPECT_LE(piece.from + piece.count, layout.Input(from)) << facts.name;
          }
        }
        EXPECT_EQ(filled, layout.Output(rank)) << facts.name;
        EXPECT_TRUE(layout.InputPlace(rank) == 0 || layout.OutputPlace(rank) == 0);
        EXPECT_LE(layout.InputPlace(rank) + layout.Input(rank),
                  std::max(layout.Input(rank), layout.Output(rank)))
            << facts.name;
      }
    }
  }
}

TEST(Layout, WhatIsSentToEachRankIsReceivedFromEach) {
  for (const int spread : {0, 30, 100}) {
    const Layout layout(
        {.operation = Operation::kAlltoallv, .bytes = 100'000, .spread_percent = spread}, 4);
    for (int a = 0; a < 4; ++a) {
      EXPECT_EQ(layout.SendPlace(a, 3) + layout.Count(a, 3), layout.Input(a));
      EXPECT_EQ(layout.ReceivePlace(3, a) + layout.Count(3, a), layout.Output(a));
      EXPECT_EQ(layout.Count(a, a) == 0, spread == 100);
    }
  }
}

TEST(Layout, RefusesARootThatIsNoRank) {
  EXPECT_THROW(Layout({.operation = Operation::kReduce, .bytes = 64, .root = 2}, 2), Error);
  EXPECT_THROW(Layout({.bytes = 64, .root = -1}, 2), Error);
  EXPECT_THROW(Layout({.bytes = 64}, 0), Error);
  EXPECT_THROW(Layout({.dtype = "f12", .bytes = 64}, 2), Error);
}

std::vector<std::byte> InputOf(const Collective& collective, int ranks, int rank,
                               std::uint64_t seed = 1, std::uint64_t iteration = 1) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(collective.bytes));
  Pattern(collective, ranks, seed, iteration).Fill(rank, 0, bytes);
  return bytes;
}

double At(const Collective& collective, const std::vector<std::byte>& bytes, std::size_t i) {
  const auto size = static_cast<std::size_t>(ElementBytes(collective.dtype));
  return ElementValue(collective.dtype, bytes.data() + i * size);
}

// The sum in double of what is there must be what is expected, and each partial sum be a number
// that the dtype holds: then it is exact in any order.
TEST(Pattern, ReductionsAreExactInEveryDtypeWhateverTheRanks) {
  for (const std::string& dtype : DtypeNames(DtypeUse::kCollectives)) {
    for (const char* redop : {"sum", "prod", "min", "max"}) {
      for (const int ranks : {1, 2, 3, 8, 100, 1000}) {
        const Collective c = {.dtype = dtype, .redop = redop, .bytes = 8 * 24};
        const auto count = static_cast<std::size_t>(c.bytes / ElementBytes(dtype));
        std::vector<double> all(count);
        std::vector<double> largest(count);
        for (int rank = 0; rank < ranks; ++rank) {
          const std::vector<std::byte> input = InputOf(c, ranks, rank);
          for (std::size_t i = 0; i < count; ++i) {
            const double value = At(c, input, i);
            ASSERT_TRUE(dtype[0] != 'u' || value >= 0);
            largest[i] += std::abs(value);
            const std::string op = redop;
            if (rank == 0) {
              all[i] = value;
            } else if (op == "sum") {
              all[i] += value;
            } else if (op == "prod") {
              all[i] *= value;
            } else {
              all[i] = op == "min" ? std::min(all[i], value) : std::max(all[i], value);
            }
          }
        }
        std::vector<std::byte> expected(static_cast<std::size_t>(c.bytes));
        Pattern(c, ranks, 1, 1).FillReduced(0, expected);
        const double holds = dtype == "f16"        ? 2048
                             : dtype == "bf16"     ? 256
                             : dtype == "fp8_e4m3" ? 16
                             : dtype == "fp8_e5m2" ? 8
                             : dtype == "int8"     ? 128
                             : dtype == "u8"       ? 256
                                                   : 1 << 24;
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_EQ(At(c, expected, i), all[i]) << dtype << " " << redop << " " << ranks;
          if (redop == std::string("sum")) {
            ASSERT_LE(largest[i], holds) << dtype << " " << ranks << ": a partial sum may round";
          }
        }
      }
    }
  }
}

TEST(Pattern, EveryRankAddsSomethingSomewhere) {
  const Collective c = {.dtype = "fp8_e5m2", .bytes = 4096};
  for (int rank = 0; rank < 100; ++rank) {
    const std::vector<std::byte> input = InputOf(c, 100, rank);
    EXPECT_TRUE(std::any_of(input.begin(), input.end(), [](std::byte b) {
      return b != std::byte{};
    })) << rank;
  }
}

TEST(Pattern, DependsOnSeedIterationRankAndPlaceAlone) {
  const Collective c = {.bytes = 4096};
  const std::vector<std::byte> input = InputOf(c, 4, 2);
  EXPECT_EQ(InputOf(c, 4, 2), input);
  EXPECT_NE(InputOf(c, 4, 1), input);
  EXPECT_NE(InputOf(c, 4, 2, 9), input);
  EXPECT_NE(InputOf(c, 4, 2, 1, 2), input);
  for (const std::size_t begin : {1U, 4U, 333U}) {  // parts are the same as the whole
    std::vector<std::byte> part(40);
    Pattern(c, 4, 1, 1).Fill(2, static_cast<std::int64_t>(begin), part);
    EXPECT_EQ(std::memcmp(part.data(), input.data() + begin * 4, part.size()), 0) << begin;
  }
  std::set<double> values;
  for (std::size_t i = 0; i < 1024; ++i) values.insert(At(c, input, i));
  EXPECT_GT(values.size(), 900U);
}

TEST(Pattern, AnAverageIsTheSumOverTheRanks) {
  const Collective c = {.dtype = "f64", .redop = "avg", .bytes = 800};
  Collective sum = c;
  sum.redop = "sum";
  std::vector<std::byte> average(800);
  std::vector<std::byte> total(800);
  Pattern(c, 3, 1, 1).FillReduced(0, average);
  Pattern(sum, 3, 1, 1).FillReduced(0, total);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_DOUBLE_EQ(At(c, average, i), At(c, total, i) / 3);
  }
  EXPECT_EQ(ToleranceOf(c, 4), 0) << "a division by a power of two is exact";
  EXPECT_EQ(ToleranceOf(c, 3), std::ldexp(1, -51));
  EXPECT_EQ(ToleranceOf(sum, 3), 0);
}

TEST(Mismatch, PlacesWhatDiffers) {
  const float expected[] = {1, 2, 3, 4};
  float got[] = {1, 2.5, 3, NAN};
  const auto compare = [&](double tolerance) {
    return Compare("f32", std::as_bytes(std::span(got)), std::as_bytes(std::span(expected)),
                   tolerance);
  };
  EXPECT_EQ(compare(0).wrong, 2);
  EXPECT_EQ(compare(0).first, 1);
  EXPECT_EQ(compare(0).max_error, 0.5);
  EXPECT_EQ(compare(0).what, "2.5 instead of 2");
  EXPECT_EQ(compare(0.25).wrong, 1) << "a NaN is no number within a tolerance";
  EXPECT_EQ(compare(0.25).first, 3);
}

TEST(Mismatch, ReadsSmallFloatsAsTheyAreDefined) {
  const auto value = [](const char* dtype, std::uint16_t bits) {
    return ElementValue(dtype, reinterpret_cast<const std::byte*>(&bits));
  };
  EXPECT_EQ(value("f16", 0x3c00), 1);
  EXPECT_EQ(value("f16", 0xc500), -5);
  EXPECT_EQ(value("f16", 0x0001), std::ldexp(1, -24));
  EXPECT_EQ(value("f16", 0x7c00), HUGE_VAL);
  EXPECT_EQ(value("bf16", 0x3f80), 1);
  EXPECT_EQ(value("bf16", 0xc0a0), -5);
  EXPECT_TRUE(std::isnan(value("bf16", 0x7fc0)));
  EXPECT_EQ(value("fp8_e4m3", 0x38), 1);
  EXPECT_EQ(value("fp8_e4m3", 0x7e), 448);
  EXPECT_EQ(value("fp8_e5m2", 0x3c), 1);
  EXPECT_EQ(value("fp8_e5m2", 0x7b), 57344);
}

TEST(Straggler, OneRankThatStandsOutIsNamed) {
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 1.1, 0.9, 1, 3, 1.05}), 4U);
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 1.1, 0.9, 1, 1.2, 1.05}), std::nullopt);
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 2.1}), 1U);
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 1.9}), std::nullopt);
  EXPECT_EQ(OddOneOut(std::vector<double>{0, 0, 0}), std::nullopt);
  EXPECT_EQ(OddOneOut(std::vector<double>{5}), std::nullopt);
}

TEST(Straggler, TheOddOneIsTwiceTheOthersOrBeyondThreeAndAHalfOfTheirScatter) {
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 2}), 1U);
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 1.99}), std::nullopt);
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 2.01, 1}), 1U);
  EXPECT_EQ(OddOneOut(std::vector<double>{1, 1.99, 1}), std::nullopt);
  // The median is 10 and the median distance 1, so that 3.5 / 0.6745 = 5.189 more is the end.
  EXPECT_EQ(OddOneOut(std::vector<double>{9, 10, 15.19, 10, 11}), 2U);
  EXPECT_EQ(OddOneOut(std::vector<double>{9, 10, 15.18, 10, 11}), std::nullopt);
}

TEST(Straggler, CostsATwentiethOfAnOperationOrATenthOfAllTime) {
  // A rank whose own time, or whose coming, is later than the others' by so much; an operation
  // takes 20, and 60 with what is between.
  const auto named = [](double own, double later) {
    Stragglers some;
    for (std::size_t rank = 0; rank < 4; ++rank) {
      some.Add(rank, rank == 2 ? 10 + own : 10, rank == 1 ? 30 - later : 30);
    }
    some.EndBatch(1, 20, 60);
    Facts facts;
    some.Describe(facts);
    return facts.contains("straggler") ? std::get<std::int64_t>(facts.at("straggler")) : -1;
  };
  EXPECT_EQ(named(1.01, 0), 2) << "5 % of 20";
  EXPECT_EQ(named(0.99, 0), -1);
  EXPECT_EQ(named(0, 6.01), 1) << "10 % of 60";
  EXPECT_EQ(named(0, 5.99), -1);
  EXPECT_EQ(named(1.01, 6.01), 2) << "the operation itself comes first";
}

TEST(Straggler, SlowInTheOperationAndLateForItAreToldApart) {
  Facts none;
  Stragglers().Describe(none);
  EXPECT_TRUE(none.empty());

  Stragglers slow;
  for (int batch = 0; batch < 3; ++batch) {
    for (std::size_t rank = 0; rank < 4; ++rank) slow.Add(rank, rank == 2 ? 30 : 10, 1);
    slow.EndBatch(10, 30, 60);
  }
  Facts facts;
  slow.Describe(facts);
  EXPECT_EQ(facts.at("slowest_rank"), Fact(std::int64_t{2}));
  EXPECT_EQ(facts.at("slowest_excess"), Fact(2.0));
  EXPECT_EQ(facts.at("late_s"), Fact(0.0));
  EXPECT_EQ(facts.at("straggler"), Fact(std::int64_t{2}));

  Stragglers late;  // rank 1 waits for nobody: it comes last
  for (int batch = 0; batch < 3; ++batch) {
    for (std::size_t rank = 0; rank < 4; ++rank) late.Add(rank, 10, rank == 1 ? 0 : 20);
    late.EndBatch(10, 10, 60);
  }
  facts.clear();
  late.Describe(facts);
  EXPECT_EQ(facts.at("late_rank"), Fact(std::int64_t{1}));
  EXPECT_EQ(facts.at("late_s"), Fact(2.0));
  EXPECT_EQ(facts.at("straggler"), Fact(std::int64_t{1}));

  Stragglers even;
  for (std::size_t rank = 0; rank < 4; ++rank)
    even.Add(rank, 10, 20 - 0.1 * static_cast<double>(rank));
  even.EndBatch(10, 10, 60);
  facts.clear();
  even.Describe(facts);
  EXPECT_FALSE(facts.contains("straggler")) << "what costs next to nothing is nobody's fault";
}

}  // namespace
}  // namespace assay
