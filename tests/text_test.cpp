#include "results/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

#include "results/base/hash.h"
#include "results/figures/labels.h"
#include "results/show/notes.h"

namespace assay {
namespace {

using ::testing::StartsWith;

Params With(Params params, const std::string& name, const Value& value) {
  params[name] = value;
  return params;
}

TEST(Text, CleanTakesControlOfTheTerminalAway) {
  EXPECT_EQ(Clean("\x1b[31mred\x07\r\n\t\x7f"), "?[31mred?????");
  EXPECT_EQ(Clean("abc\u202Edcb\u2066\u200F"), "abc?dcb??");
  EXPECT_EQ(Clean("\u0085\u009B31m\u2028"), "??31m?");
  EXPECT_EQ(Clean(std::string_view("a\0b", 3)), "a?b");
}

TEST(Text, CleanKeepsSoundUtf8AndMarksTheRest) {
  EXPECT_EQ(Clean("Zürich — 東京 🚀"), "Zürich — 東京 🚀");
  EXPECT_EQ(Clean("\xC0\xAF"), "??");            // overlong
  EXPECT_EQ(Clean("\xED\xA0\x80"), "???");       // a surrogate
  EXPECT_EQ(Clean("\xF4\x90\x80\x80"), "????");  // past U+10FFFF
  EXPECT_EQ(Clean("a\xE2\x82"), "a??");          // torn
  EXPECT_EQ(Clean("\x80z\xFFz"), "?z?z");
}

TEST(Text, CleanIsBoundedAndNeverTearsACharacter) {
  EXPECT_EQ(Clean("abcdef", 4), "abcd");
  EXPECT_EQ(Clean("aé", 2), "a");
  EXPECT_EQ(Clean("aé", 3), "aé");
  EXPECT_EQ(Clean(std::string(1000, 'x')).size(), 256U);
}

TEST(Text, HtmlEscapesTextAndAttributes) {
  EXPECT_EQ(Html("<script>a & \"b\" 'c'</script>"),
            "&lt;script&gt;a &amp; &quot;b&quot; &#39;c&#39;&lt;/script&gt;");
}

TEST(Text, FileNamePartsCanNotLeaveTheirFolder) {
  EXPECT_EQ(FileNamePart("p5.48xlarge"), "p5.48xlarge");
  EXPECT_EQ(FileNamePart("Standard_ND96isr_H100_v5"), "standard_nd96isr_h100_v5");
  EXPECT_EQ(FileNamePart("../../etc/passwd"), "etc-passwd");
  EXPECT_EQ(FileNamePart("--force"), "force");
  EXPECT_EQ(FileNamePart("a b\n$(c)"), "a-b---c");
  EXPECT_EQ(FileNamePart(".."), "unknown");
  EXPECT_EQ(FileNamePart(""), "unknown");
  EXPECT_LE(FileNamePart(std::string(1000, 'x')).size(), 64U);
}

TEST(Text, RatesHaveFourDigitsAndADecimalPrefix) {
  EXPECT_EQ(WithPrefix(7.124e14, "FLOP/s"), "712.4 TFLOP/s");
  EXPECT_EQ(WithPrefix(1.3108e15, "FLOP/s"), "1.311 PFLOP/s");
  EXPECT_EQ(WithPrefix(5.53e10, "B/s"), "55.30 GB/s");
  EXPECT_EQ(WithPrefix(999.96e9, "B/s"), "1.000 TB/s");
  EXPECT_EQ(WithPrefix(9.9996e9, "B/s"), "10.00 GB/s");
  EXPECT_EQ(WithPrefix(999.94e9, "B/s"), "999.9 GB/s");
  EXPECT_EQ(WithPrefix(45231, "IOPS"), "45.23 kIOPS");
  EXPECT_EQ(WithPrefix(0.5, "IOPS"), "0.5000 IOPS");
  EXPECT_EQ(WithPrefix(0, "B/s"), "0 B/s");
  EXPECT_EQ(WithPrefix(std::nan(""), "B/s"), "-");
}

TEST(Text, SizesAreBinaryAndExact) {
  EXPECT_EQ(BinarySize(1073741824), "1 GiB");
  EXPECT_EQ(BinarySize(4096), "4 KiB");
  EXPECT_EQ(BinarySize(1000), "1000 B");
  EXPECT_EQ(BinarySize(1536), "1536 B");
  EXPECT_EQ(BinarySize(1025 * 1024), "1025 KiB");
  EXPECT_EQ(BinarySize(0), "0 B");
}

TEST(Text, PercentHasNoNegativeZero) {
  EXPECT_EQ(Percent(0.0123), "1.2 %");
  EXPECT_EQ(Percent(0.0123, true), "+1.2 %");
  EXPECT_EQ(Percent(-0.45, true), "-45.0 %");
  EXPECT_EQ(Percent(-0.0001), "0.0 %");
}

TEST(Text, DurationsNeverShowSixtySeconds) {
  EXPECT_EQ(Duration(4.1), "4.1 s");
  EXPECT_EQ(Duration(108), "1 min 48 s");
  EXPECT_EQ(Duration(12.3e-6), "12.3 us");
  EXPECT_EQ(Duration(250e-9), "250 ns");
  EXPECT_EQ(Duration(1.5e-3), "1.5 ms");
  EXPECT_EQ(Duration(59.97), "1 min 0 s");
  EXPECT_EQ(Duration(0.99996), "1.0 s");
  EXPECT_EQ(Duration(3599.7), "1 h 0 min");
  EXPECT_EQ(Duration(7380), "2 h 3 min");
  EXPECT_EQ(Duration(-2), "-2.0 s");
}

TEST(Text, DollarsHaveFourDigits) {
  EXPECT_EQ(Usd(0.0069565), "0.006957 USD");
  EXPECT_EQ(Usd(55.04), "55.04 USD");
  EXPECT_EQ(Usd(12345.6), "12346 USD");
  EXPECT_EQ(Usd(0), "0 USD");
  EXPECT_EQ(Usd(1.2346e-12), "1.235e-12 USD");
}

TEST(Text, GemmIsNamedByDtypeAndShape) {
  const Params gemm = {{"dtype", "bf16"},         {"acc", "f32"},
                       {"m", std::int64_t{16}},   {"n", std::int64_t{28672}},
                       {"k", std::int64_t{8192}}, {"batch", std::int64_t{1}},
                       {"cache", "cold"},         {"inputs", "normal"},
                       {"regime", "burst"},       {"algo", "default"},
                       {"scope", "node"}};
  EXPECT_EQ(CaseLabel("gemm", gemm), "bf16 16 x 28672 x 8192");
  EXPECT_EQ(CaseLabel("gemm", With(gemm, "cache", "warm")), "bf16 16 x 28672 x 8192, cache warm");
  EXPECT_EQ(CaseLabel("gemm", With(With(gemm, "dtype", "int8"), "acc", "s32")),
            "int8 16 x 28672 x 8192");
  EXPECT_EQ(CaseLabel("gemm", With(gemm, "acc", "f16")), "bf16 16 x 28672 x 8192, acc f16");
  EXPECT_EQ(CaseLabel("gemm", With(gemm, "batch", std::int64_t{8})),
            "bf16 16 x 28672 x 8192, batch 8");
}

TEST(Text, AGroupedGemmIsNamedByItsGroupsToo) {
  const Params grouped = {
      {"dtype", "bf16"},          {"m", std::int64_t{512}}, {"n", std::int64_t{4096}},
      {"k", std::int64_t{14336}}, {"cache", "warm"},        {"groups", std::int64_t{8}},
      {"inputs", "normal"},       {"regime", "burst"},      {"scope", "node"}};
  EXPECT_EQ(CaseLabel("grouped_gemm", grouped), "bf16 512 x 4096 x 14336 in 8 groups, cache warm");
}

TEST(Text, AttentionIsNamedByHeadsTokensAndMask) {
  const Params attention = {{"dtype", "bf16"},
                            {"batch", std::int64_t{1}},
                            {"heads_q", std::int64_t{32}},
                            {"heads_kv", std::int64_t{8}},
                            {"seq_q", std::int64_t{2048}},
                            {"seq_kv", std::int64_t{2048}},
                            {"head_dim_qk", std::int64_t{128}},
                            {"head_dim_v", std::int64_t{128}},
                            {"mask", "causal_top_left"},
                            {"window", std::int64_t{0}},
                            {"direction", "forward"},
                            {"phase", "prefill"},
                            {"page_size", std::int64_t{0}},
                            {"cache", "cold"},
                            {"inputs", "normal"},
                            {"regime", "burst"},
                            {"algo", "default"},
                            {"scope", "node"}};
  EXPECT_EQ(CaseLabel("attention", attention), "bf16 1 x 32/8 heads x 2048, d128, causal");
  EXPECT_EQ(CaseLabel("attention", With(attention, "mask", "full")),
            "bf16 1 x 32/8 heads x 2048, d128");
  EXPECT_EQ(CaseLabel("attention", With(attention, "seq_q", std::int64_t{1})),
            "bf16 1 x 32/8 heads x 1/2048, d128, causal top left");
  EXPECT_EQ(
      CaseLabel("attention", With(With(attention, "mask", "window"), "window", std::int64_t{512})),
      "bf16 1 x 32/8 heads x 2048, d128, window 512");
  EXPECT_EQ(CaseLabel("attention", With(attention, "phase", "decode")),
            "bf16 1 x 32/8 heads x 2048, d128, causal, phase decode");
  EXPECT_EQ(CaseLabel("attention", With(attention, "direction", "backward")),
            "bf16 1 x 32/8 heads x 2048, d128, causal, direction backward");
}

TEST(Text, TheOtherProbesSayWhatMakesThemDiffer) {
  EXPECT_EQ(CaseLabel("peak", {{"dtype", "bf16"}, {"scope", "node"}}), "bf16");
  EXPECT_EQ(CaseLabel("memory",
                      {{"pattern", "triad"}, {"bytes", std::int64_t{1} << 30}, {"scope", "node"}}),
            "triad 1 GiB");
  const Params memory = {{"pattern", "triad"},
                         {"bytes", std::int64_t{1} << 30},
                         {"regime", "burst"},
                         {"scope", "node"}};
  EXPECT_EQ(CaseLabel("memory", memory), "triad 1 GiB");
  EXPECT_EQ(CaseLabel("memory", With(memory, "regime", "sustained")),
            "triad 1 GiB, regime sustained");
  const Params storage = {{"pattern", "randread"},
                          {"block_bytes", std::int64_t{4096}},
                          {"depth", std::int64_t{32}},
                          {"jobs", std::int64_t{1}},
                          {"direct", true}};
  EXPECT_EQ(CaseLabel("storage", storage), "randread 4 KiB, 32 in flight");
  EXPECT_EQ(CaseLabel("storage", With(storage, "direct", false)),
            "randread 4 KiB, 32 in flight, direct false");
  const Params all_reduce = {{"dtype", "f32"},
                             {"redop", "sum"},
                             {"bytes", std::int64_t{1} << 20},
                             {"placement", "out_of_place"},
                             {"mode", "latency"},
                             {"ranks", std::int64_t{8}},
                             {"nodes", std::int64_t{1}},
                             {"cache", "rewritten"}};
  EXPECT_EQ(CaseLabel("all_reduce", all_reduce), "f32 1 MiB, 8 ranks");
  EXPECT_EQ(CaseLabel("all_reduce", With(all_reduce, "nodes", std::int64_t{2})),
            "f32 1 MiB, 8 ranks, nodes 2");
  const Params overlap = {{"dtype", "bf16"},
                          {"bytes", std::int64_t{25} << 20},
                          {"m", std::int64_t{256}},
                          {"n", std::int64_t{1024}},
                          {"k", std::int64_t{512}},
                          {"gemms", std::int64_t{0}},
                          {"compute_percent", std::int64_t{100}},
                          {"comm_cores", std::int64_t{1}},
                          {"algo", "auto"},
                          {"buffers", "plain"},
                          {"ranks", std::int64_t{8}},
                          {"nodes", std::int64_t{1}}};
  EXPECT_EQ(CaseLabel("overlap", overlap),
            "bf16 25 MiB beside 256 x 1024 x 512, 8 ranks, comm_cores 1");
  EXPECT_EQ(CaseLabel("overlap", With(overlap, "gemms", std::int64_t{12})),
            "bf16 25 MiB beside 256 x 1024 x 512, 8 ranks, comm_cores 1, gemms 12");
}

TEST(Text, ARangeHasOnePrefixAndIsNeverBelowZero) {
  EXPECT_EQ(RangeWithPrefix(61.23e9, 250.4e9, "FLOP/s"), "61.2 .. 250 GFLOP/s");
  EXPECT_EQ(RangeWithPrefix(4.4e6, 2.5e9, "B/s"), "0.00440 .. 2.50 GB/s");
  EXPECT_EQ(RangeWithPrefix(998.9, 999.6, "IOPS"), "0.999 .. 1.00 kIOPS");
  EXPECT_EQ(RangeWithPrefix(1e-30, 250e9, "FLOP/s"), "0 .. 250 GFLOP/s");
  EXPECT_EQ(RangeWithPrefix(-3, 5, "op/s"), "0 .. 5.00 op/s");
  EXPECT_EQ(RangeWithPrefix(0, 0, "op/s"), "0 .. 0 op/s");
  EXPECT_EQ(RangeWithPrefix(2e9, HUGE_VAL, "FLOP/s"), "2.000 GFLOP/s or more");
}

TEST(Text, AStepSaysWhatItPaysForItsAllReduce) {
  Record step = {.probe = "overlap",
                 .params = {{"ranks", std::int64_t{2}}},
                 .work = {.flops = 1'000'000'000, .bytes = 8'000'000},
                 .facts = {{"shared_cores", true}}};
  for (const double both : {0.013, 0.015}) {
    step.rounds.push_back({.batch = 1,
                           .time_s = {both},
                           .phase_time_s = {{"compute_alone", {0.010}},
                                            {"communicate_alone", {0.008}},
                                            {"compute", {0.0125}},
                                            {"communicate", {both}}}});
  }
  // 3 and 5 ms; t of one degree of freedom is 12.706, the standard error 1 ms. 5/8 and 3/8.
  EXPECT_EQ(
      OverlapText(step),
      "exposed 4.0 ms (0 s .. 16.7 ms) of 14.0 ms, 50.0 % hidden; GEMM 100.0 GFLOP/s alone, 80.00 "
      "GFLOP/s together; bus 1.000 GB/s alone, 571.4 MB/s together; both on the same cores");
  // 3.95 and 4.05 ms, of which the standard error is 0.05 ms.
  step.rounds[0].time_s = {0.01395};
  step.rounds[1].time_s = {0.01405};
  EXPECT_THAT(OverlapText(step), StartsWith("exposed 4.0 ms ± 635.3 us of 14.0 ms, "));
  // -1 and -3 ms: together they were faster than the GEMMs alone, which only noise makes them.
  step.rounds[0].time_s = {0.009};
  step.rounds[1].time_s = {0.007};
  EXPECT_THAT(OverlapText(step), StartsWith("exposed 0 s (0 s .. 10.7 ms) of 8.0 ms, "));
  step.rounds[0].time_s = {0.013};
  step.facts["shared_cores"] = false;
  step.rounds.pop_back();
  EXPECT_EQ(OverlapText(step),
            "exposed 3.0 ms of 13.0 ms, 62.5 % hidden; GEMM 100.0 GFLOP/s alone, 80.00 GFLOP/s "
            "together; bus 1.000 GB/s alone, 615.4 MB/s together");
  step.probe = "gemm";
  EXPECT_EQ(OverlapText(step), "");
}

TEST(Text, OneIsNoPlural) {
  EXPECT_EQ(CountText(0, "node"), "0 nodes");
  EXPECT_EQ(CountText(1, "node"), "1 node");
  EXPECT_EQ(CountText(std::size_t{2}, "node"), "2 nodes");
  Params alone = {{"dtype", "f32"}, {"bytes", std::int64_t{8}}, {"ranks", std::int64_t{1}}};
  EXPECT_EQ(CaseLabel("all_reduce", alone), "f32 8 B, 1 rank");
  alone["ranks"] = std::int64_t{2};
  EXPECT_EQ(CaseLabel("all_reduce", alone), "f32 8 B, 2 ranks");
}

TEST(Text, AHeadlineIsItsName) {
  const Params headline = {{"name", "bf16-cpu/2"}, {"tokens", std::int64_t{512}},
                           {"dtype", "bf16"},      {"cache", "cold"},
                           {"inputs", "normal"},   {"regime", "sustained"},
                           {"algo", "default"},    {"scope", "node"}};
  EXPECT_EQ(CaseLabel("headline", headline), "bf16-cpu/2");
  EXPECT_EQ(CaseLabel("headline", With(headline, "tokens", std::int64_t{16})),
            "bf16-cpu/2, tokens 16");
}

TEST(Text, ACaseThatIsNotKnownIsNamedByItsParams) {
  EXPECT_EQ(CaseLabel("fabric", {{"bytes", std::int64_t{8}}, {"mode", "latency"}}),
            "bytes=8,mode=latency");
  EXPECT_EQ(CaseLabel("gemm", {{"dtype", "bf16"}}), "dtype=bf16");
}

TEST(Text, NearestFindsTheWordThatWasMeant) {
  const std::vector<std::string> probes = {"attention", "gemm", "memory", "peak", "storage"};
  EXPECT_EQ(Nearest("gem", probes), "gemm");
  EXPECT_EQ(Nearest("momery", probes), "memory");
  EXPECT_EQ(Nearest("atention", probes), "attention");
  EXPECT_EQ(Nearest("banana", probes), "");
  EXPECT_EQ(Nearest("x", probes), "");
  EXPECT_EQ(Nearest("", probes), "");
}

// NIST's "abc" (FIPS 180-2, appendix B.1) and RFC 4231, test case 2.
TEST(Hash, KnownAnswers) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HmacSha256Hex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Hash, RandomHexIsAsLongAsAskedAndNeverTheSame) {
  EXPECT_EQ(RandomHex(16).size(), 32U);
  EXPECT_NE(RandomHex(16), RandomHex(16));
}

TEST(Text, ANumberIsTheWholeTextAndFinite) {
  EXPECT_EQ(NumberIn("-2.5e3"), -2500);
  for (const char* text : {"", " 3", "3 ", "3,5", "0x10", "inf", "nan", "1e999", "+3"}) {
    EXPECT_FALSE(NumberIn(text)) << text;
  }
  EXPECT_EQ(NamedNumberIn("ea=0.82"), std::pair(std::string("ea"), 0.82));
  for (const char* text : {"", "ea", "ea=", "=1", "ea=18%", "a=b=1"}) {
    EXPECT_FALSE(NamedNumberIn(text)) << text;
  }
}

}  // namespace
}  // namespace assay
