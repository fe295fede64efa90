#include "kernels/headline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/kernels.h"
#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::HasSubstr;

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
            "algo=default,cache=cold,dtype=bf16,inputs=normal,name=bf16-cpu/2,regime=sustained,"
            "scope=node,tokens=512");
  constexpr std::int64_t kWeights =
      10240LL * 8192 + 8192LL * 8192 + 57344LL * 8192 + 8192LL * 28672;
  EXPECT_EQ(headline.work.flops, 2 * 512 * kWeights);
  constexpr std::int64_t kActivations =
      512LL * (8192 + 10240 + 8192 + 8192 + 8192 + 57344 + 28672 + 8192);
  EXPECT_EQ(headline.work.bytes_min, 2 * (kWeights + kActivations));
  EXPECT_TRUE(headline.sustained);
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx512bf16")) {
    EXPECT_EQ(headline.here, nullptr) << "there is no peak of bf16 on this CPU";
    return;
  }
#endif
  ASSERT_NE(headline.here, nullptr);
  EXPECT_EQ(StringOf(headline.here->params, "dtype"), "bf16");
}

TEST(Headline, ItsNameStandsForItsDefinition) {
  const Probe probe = HeadlineProbe();
  try {
    probe.unfold({{"name", "bf16-cpu/2"}, {"tokens", std::int64_t{64}}});
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tokens=512"));
  }
  EXPECT_THROW(probe.unfold({{"name", "bf16-cpu/2"}, {"regime", "burst"}}), Error);
  const Case burst = probe.unfold({{"regime", "burst"}}).at(0);
  EXPECT_EQ(StringOf(burst.params, "name"), "custom");
  EXPECT_EQ(IntegerOf(burst.params, "tokens"), 512);
  EXPECT_THROW(probe.unfold({{"name", "bf16-train/1"}, {"tokens", std::int64_t{512}}}), Error);
  EXPECT_EQ(probe.unfold({{"algo", "tuned"}}).size(), 1U) << "which stands beside it";
  EXPECT_FALSE(probe.unfold({{"regime", "burst"}, {"name", "mine"}}).front().sustained);
  EXPECT_EQ(probe.unfold({{"tokens", std::int64_t{64}}, {"name", "mine"}}).size(), 1U);
}

TEST(Headline, OfGpusIsNotMeasuredOnACpu) {
  const std::vector<Case> cases = HeadlineProbe().unfold({{"name", "bf16-train/1"}});
  ASSERT_EQ(cases.size(), 1U);
  EXPECT_EQ(cases[0].backend, "none");
  EXPECT_TRUE(std::holds_alternative<Skipped>(cases[0].prepare(1)));
}

}  // namespace
}  // namespace assay
