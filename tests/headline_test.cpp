#include "kernels/headline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "kernels/kernels.h"
#include "results/error.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Takes m seconds, and is off by n millionths where 10 are allowed.
class Scripted : public Workload {
 public:
  Scripted(const Gemm& gemm, std::vector<std::int64_t>& log) : gemm_(gemm), log_(log) {}
  Batch Run(std::int64_t iterations) override {
    for (std::int64_t i = 0; i < iterations; ++i) log_.push_back(gemm_.m);
    const Seconds time = Seconds(static_cast<double>(iterations * gemm_.m));
    return {.time = time, .per_unit = {time, time / 2}, .host = time * 2};
  }
  Checked Verify() override {
    Checked checked = {
        .checked = 100, .max_error = static_cast<double>(gemm_.n) * 1e-6, .tolerance = 1e-5};
    if (gemm_.n > 10) checked.wrong = 1;
    if (gemm_.n > 10) checked.what = "C[0][0]";
    return checked;
  }
  Facts Describe() const override {
    return {{"library", "scripted"}, {"pack_s", static_cast<double>(gemm_.k)}};
  }

 private:
  Gemm gemm_;
  std::vector<std::int64_t>& log_;
};

class ScriptedBackend : public Backend {
 public:
  std::string Name() const override { return "scripted"; }
  std::vector<Device> Devices() override { return {{.name = "cpu", .kind = "cpu"}}; }
  bool Has(const Op&) const override { return true; }
  Prepared Prepare(const Op& op, const Device&, std::uint64_t seed) override {
    seeds.push_back(seed);
    const Gemm& gemm = std::get<Gemm>(op);
    if (gemm.m == 0) return Skipped{.reason = "no memory", .remedy = "buy some"};
    return std::make_unique<Scripted>(gemm, log);
  }
  std::vector<std::int64_t> log = {};
  std::vector<std::uint64_t> seeds = {};
};

TEST(InTurn, AnIterationRunsEachStepOnceInOrderAndAddsTheirTimes) {
  ScriptedBackend backend;
  const Prepared prepared = PrepareInTurn(backend,
                                          {{.name = "a", .op = Gemm{.m = 1}},
                                           {.name = "b", .op = Gemm{.m = 2}},
                                           {.name = "c", .op = Gemm{.m = 4}}},
                                          {}, 7);
  const auto& workload = std::get<std::unique_ptr<Workload>>(prepared);
  const Batch batch = workload->Run(3);
  EXPECT_THAT(backend.log, ElementsAre(1, 2, 4, 1, 2, 4, 1, 2, 4));
  EXPECT_EQ(batch.time, Seconds(21));
  EXPECT_EQ(batch.host, Seconds(42));
  EXPECT_THAT(batch.per_unit, ElementsAre(Seconds(21), Seconds(10.5)));
  ASSERT_EQ(backend.seeds.size(), 3U);
  EXPECT_NE(backend.seeds[0], backend.seeds[1]);
  EXPECT_NE(backend.seeds[1], backend.seeds[2]);
}

TEST(InTurn, EachStepIsVerifiedAndTheNearestToItsToleranceIsShown) {
  ScriptedBackend backend;
  Prepared prepared = PrepareInTurn(backend,
                                    {{.name = "a", .op = Gemm{.m = 1, .n = 3}},
                                     {.name = "b", .op = Gemm{.m = 1, .n = 7}},
                                     {.name = "c", .op = Gemm{.m = 1, .n = 5}}},
                                    {}, 7);
  const Checked right = std::get<std::unique_ptr<Workload>>(prepared)->Verify();
  EXPECT_EQ(right.checked, 300);
  EXPECT_EQ(right.wrong, 0);
  EXPECT_DOUBLE_EQ(right.max_error, 7e-6);

  prepared = PrepareInTurn(
      backend,
      {{.name = "a", .op = Gemm{.m = 1, .n = 3}}, {.name = "b", .op = Gemm{.m = 1, .n = 11}}}, {},
      7);
  const Checked wrong = std::get<std::unique_ptr<Workload>>(prepared)->Verify();
  EXPECT_EQ(wrong.wrong, 1);
  EXPECT_EQ(wrong.what, "b: C[0][0]");
}

TEST(InTurn, FactsThatDifferCarryTheNameOfTheirStep) {
  ScriptedBackend backend;
  const Prepared prepared = PrepareInTurn(
      backend,
      {{.name = "a", .op = Gemm{.m = 1, .k = 1}}, {.name = "b", .op = Gemm{.m = 1, .k = 2}}}, {},
      7);
  const Facts facts = std::get<std::unique_ptr<Workload>>(prepared)->Describe();
  EXPECT_EQ(facts.size(), 3U);
  EXPECT_EQ(std::get<std::string>(facts.at("library")), "scripted");
  EXPECT_EQ(std::get<double>(facts.at("a.pack_s")), 1);
  EXPECT_EQ(std::get<double>(facts.at("b.pack_s")), 2);
}

TEST(InTurn, OneSkippedStepSkipsAll) {
  ScriptedBackend backend;
  const Prepared prepared = PrepareInTurn(
      backend, {{.name = "a", .op = Gemm{.m = 1}}, {.name = "b", .op = Gemm{.m = 0}}}, {}, 7);
  const Skipped& skipped = std::get<Skipped>(prepared);
  EXPECT_EQ(skipped.reason, "b: no memory");
  EXPECT_EQ(skipped.remedy, "buy some");
}

Probe HeadlineProbe() {
  for (const Probe& probe : kernels::Probes({})) {
    if (probe.name == "headline") return probe;
  }
  throw Error("there is no headline probe");
}

TEST(Headline, IsFourGemmsOfLlama3With70BParametersAt512Tokens) {
  std::vector<Case> cases = HeadlineProbe().unfold({});
  ASSERT_EQ(cases.size(), 1U);
  const Case& headline = cases.front();
  EXPECT_EQ(headline.backend, "onednn");
  EXPECT_EQ(ToText(headline.params),
            "algo=default,cache=cold,dtype=bf16,inputs=normal,name=bf16-cpu/1,regime=burst,"
            "scope=node,tokens=512");
  constexpr std::int64_t kWeights =
      10240LL * 8192 + 8192LL * 8192 + 57344LL * 8192 + 8192LL * 28672;
  EXPECT_EQ(headline.work.flops, 2 * 512 * kWeights);
  constexpr std::int64_t kActivations =
      512LL * (8192 + 10240 + 8192 + 8192 + 8192 + 57344 + 28672 + 8192);
  EXPECT_EQ(headline.work.bytes_min, 2 * (kWeights + kActivations));
  ASSERT_NE(headline.here, nullptr);
  EXPECT_EQ(StringOf(headline.here->params, "dtype"), "bf16");
}

TEST(Headline, ItsNameStandsForItsDefinition) {
  const Probe probe = HeadlineProbe();
  try {
    probe.unfold({{"tokens", std::int64_t{64}}});
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokens=512"));
  }
  EXPECT_EQ(probe.unfold({{"tokens", std::int64_t{64}}, {"name", "mine"}}).size(), 1U);
}

}  // namespace
}  // namespace assay
