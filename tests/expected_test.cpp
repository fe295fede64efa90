#include "results/figures/expected.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "results/base/error.h"
#include "results/figures/compare.h"
#include "results/figures/figures.h"
#include "results/show/json.h"
#include "results/show/report.h"
#include "results/show/tables.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view kHeader =
    "provider,instance,nodes,operation,bytes,busbw_gbs,transport,setting,source\n";

std::string ErrorOf(const std::string& rows) {
  try {
    ParseExpected(std::string(kHeader) + rows, "e.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const std::vector<InstanceFacts> kInstances = {{.provider = "aws",
                                                .instance = "p5.48xlarge",
                                                .accelerator = "H100",
                                                .accelerator_count = 8,
                                                .network_gbps = 3200}};
const std::vector<Expected> kExpected = {{.provider = "aws",
                                          .instance = "p5.48xlarge",
                                          .nodes = 4,
                                          .operation = "all_reduce",
                                          .bytes = 1 << 30,
                                          .busbw_gbs = 360,
                                          .transport = "efa",
                                          .setting = "EFA",
                                          .source = "somewhere.org"}};

Run RunOn(const std::string& instance) {
  Node node;
  node.identity.provider.value = "aws";
  node.identity.instance.value = instance;
  return {.nodes = {node}};
}

const InstanceFacts* BuiltInTypeOf(const Run& run) {
  return TypeOf(run, Catalog::BuiltIn().instances);
}

Record AllReduce(double busbw_gbs, std::int64_t nodes, const std::string& kind = "gpu") {
  const auto ranks = static_cast<double>(8 * nodes);
  const double seconds = 2 * (ranks - 1) / ranks * (1 << 30) / (busbw_gbs * 1e9);
  return {.probe = "all_reduce",
          .params = {{"ranks", 8 * nodes}, {"nodes", nodes}},
          .backend = "fake",
          .device = {.kind = kind},
          .work = {.bytes = 1 << 30},
          .rounds = {{.batch = 1, .time_s = {seconds}}}};
}

// A part of 100 TFLOP/s in bf16 at 1800 MHz, and of 2 TB/s.
const std::vector<DeviceFacts> kDevices = {{.name = "X100",
                                            .match = {"NVIDIA X100"},
                                            .peak_flops = {{"bf16", 100e12}},
                                            .memory_bytes_per_s = 2e12,
                                            .peak_clock_mhz = 1800}};

Run RunOnX100(int kinds = 1, bool mig = false) {
  Node node;
  node.accelerators = {{.name = "NVIDIA X100", .present = 8, .mig = mig}};
  if (kinds == 2) node.accelerators.push_back({.name = "NVIDIA Y200", .present = 1});
  return {.nodes = {node}};
}

// 80 TFLOP/s.
Record GemmOnGpu(const std::string& dtype = "bf16") {
  return {.probe = "gemm",
          .params = {{"dtype", dtype}},
          .backend = "fake",
          .device = {.kind = "gpu"},
          .work = {.flops = 80'000'000'000},
          .units = {Unit{}},
          .rounds = {{.batch = 1, .time_s = {1e-3}}}};
}

TEST(OfPeak, IsOfTheDataSheetAndOfTheClockThatItRanAt) {
  Record gemm = GemmOnGpu();
  OfPeak of = OfPeakOf(RunOnX100(), gemm, kDevices).value();
  EXPECT_EQ(of.device, "X100");
  EXPECT_DOUBLE_EQ(of.of_spec, 0.8);
  EXPECT_FALSE(of.clock_mhz);
  EXPECT_FALSE(of.of_clock);
  gemm.rounds[0].telemetry = {{.sm_mhz = {1980, 1600, 1590}}};
  of = OfPeakOf(RunOnX100(), gemm, kDevices).value();
  EXPECT_DOUBLE_EQ(of.clock_mhz.value(), 1600);
  EXPECT_DOUBLE_EQ(of.of_clock.value(), 0.8 * 1800 / 1600);
  gemm.units = {Unit{}, Unit{.device = 1}};
  EXPECT_DOUBLE_EQ(OfPeakOf(RunOnX100(), gemm, kDevices)->of_spec, 0.4) << "of both";
}

TEST(OfPeak, OfMemoryIsOfItsBandwidth) {
  Record memory = GemmOnGpu();
  memory.probe = "memory";
  memory.backend = "fake";
  memory.params = {{"pattern", std::string("read")}};
  memory.work = {.bytes = 1'800'000'000};
  memory.rounds[0].telemetry = {{.sm_mhz = {1500}}};
  const OfPeak of = OfPeakOf(RunOnX100(), memory, kDevices).value();
  EXPECT_DOUBLE_EQ(of.of_spec, 0.9);
  EXPECT_FALSE(of.of_clock) << "memory has a clock of its own";
  memory.units = {Unit{}, Unit{.device = 1}};
  EXPECT_DOUBLE_EQ(OfPeakOf(RunOnX100(), memory, kDevices)->of_spec, 0.45) << "of two memories";
  memory.facts["in_cache"] = true;
  EXPECT_FALSE(OfPeakOf(RunOnX100(), memory, kDevices)) << "a cache's bandwidth";
  memory.facts["in_cache"] = false;
  EXPECT_TRUE(OfPeakOf(RunOnX100(), memory, kDevices));
}

TEST(OfPeak, OfDecodeIsOfTheMemoryThatItReads) {
  Record decode = GemmOnGpu();
  decode.probe = "attention";
  decode.backend = "fake";
  decode.params["phase"] = std::string("decode");
  decode.work.bytes = 1'200'000'000;
  const OfPeak of = OfPeakOf(RunOnX100(), decode, kDevices).value();
  EXPECT_DOUBLE_EQ(of.of_spec, 0.6);
  EXPECT_FALSE(of.of_clock);
}

TEST(OfPeak, IsNothingWhereThePeakIsNotKnown) {
  EXPECT_FALSE(OfPeakOf(RunOnX100(), GemmOnGpu("f64"), kDevices));
  EXPECT_FALSE(OfPeakOf(RunOnX100(2), GemmOnGpu(), kDevices)) << "which of the two kinds?";
  EXPECT_FALSE(OfPeakOf(RunOnX100(1, true), GemmOnGpu(), kDevices)) << "a slice";
  EXPECT_FALSE(OfPeakOf(RunOnX100(), GemmOnGpu(), {})) << "no such device";
  Record other = GemmOnGpu();
  other.device.kind = "cpu";
  EXPECT_FALSE(OfPeakOf(RunOnX100(), other, kDevices)) << "a CPU's";
  other = GemmOnGpu();
  other.probe = "copy";
  EXPECT_FALSE(OfPeakOf(RunOnX100(), other, kDevices));
}

std::optional<Assessment> AssessIt(const Record& record,
                                   const std::string& instance = "p5.48xlarge") {
  return Assess(TypeOf(RunOn(instance), kInstances), record, kExpected);
}

TEST(Expected, TheBuiltInDataIsSound) {
  const std::vector<Expected>& all = BuiltInExpected();
  EXPECT_GT(all.size(), 40U);
  std::set<std::pair<std::string, std::string>> known;
  for (const InstanceFacts& facts : Catalog::BuiltIn().instances) {
    known.insert({facts.provider, facts.instance});
  }
  for (const Expected& one : all) {
    EXPECT_TRUE(known.contains({one.provider, one.instance})) << one.instance;
  }
}

TEST(Expected, WhatBreaksARuleIsNamedWithItsRow) {
  const std::string good = "aws,p5.48xlarge,2,all_reduce,1024,480,efa,EFA,a.org\n";
  EXPECT_EQ(ErrorOf(good), "no error");
  EXPECT_THAT(ErrorOf(good + good), HasSubstr("e.csv, row 2: the same"));
  EXPECT_THAT(ErrorOf("aws,,2,all_reduce,1024,480,efa,EFA,a.org\n"),
              HasSubstr("instance is empty"));
  EXPECT_THAT(ErrorOf("aws,p5,0,all_reduce,1024,480,efa,EFA,a.org\n"), HasSubstr("nodes is '0'"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,-1,480,efa,EFA,a.org\n"), HasSubstr("bytes is '-1'"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,10.5,480,efa,EFA,a.org\n"), HasSubstr("whole number"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,nan,efa,EFA,a.org\n"),
              HasSubstr("busbw_gbs is 'nan'"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,,efa,EFA,a.org\n"),
              HasSubstr("busbw_gbs is empty"));
  EXPECT_THAT(ErrorOf("aws,p5,2,barrier,1024,480,efa,EFA,a.org\n"), HasSubstr("no bus bandwidth"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,480,efa,EFA,hearsay\n"),
              HasSubstr("neither a URL"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce\n"), HasSubstr("e.csv"));
  EXPECT_THAT(ErrorOf("aws,p5,2,all_reduce,1024,480,nvlink,EFA,a.org\n"),
              HasSubstr("transport is 'nvlink'"));
  EXPECT_THAT(ErrorOf("aws,p5,1,all_reduce,1024,480,efa,EFA,a.org\n"),
              HasSubstr("transport is 'efa'"));
}

TEST(Expected, AFigureStandsBesideWhatOthersMeasured) {
  EXPECT_EQ(AssessIt(AllReduce(350, 4))->standing, Standing::kOk);
  EXPECT_DOUBLE_EQ(AssessIt(AllReduce(350, 4))->expected_gbs.value(), 360);
  EXPECT_EQ(AssessIt(AllReduce(324.1, 4))->standing, Standing::kOk) << "within 10 %";
  const std::optional<Assessment> low = AssessIt(AllReduce(323.9, 4));
  EXPECT_EQ(low->standing, Standing::kLow);
  EXPECT_THAT(low->why, HasSubstr("360 GB/s was measured on 4 p5.48xlarge (EFA; somewhere.org)"));
}

TEST(Expected, MoreThanTheNetworkCarriesIsExplained) {
  // 3200 Gbit/s are 400 GB/s.
  const std::optional<Assessment> two = AssessIt(AllReduce(487, 2));
  EXPECT_EQ(two->standing, Standing::kAboveBound);
  EXPECT_FALSE(two->expected_gbs.has_value());
  EXPECT_THAT(two->why, HasSubstr("on two nodes NCCL takes trees"));
  const std::optional<Assessment> four = AssessIt(AllReduce(487, 4));
  EXPECT_EQ(four->standing, Standing::kAboveBound);
  EXPECT_THAT(four->why, HasSubstr("SHARP"));
  EXPECT_EQ(AssessIt(AllReduce(408.1, 2))->standing, Standing::kAboveBound);
  EXPECT_FALSE(AssessIt(AllReduce(407.9, 2)).has_value()) << "no row, and nothing above the bound";
  EXPECT_FALSE(AssessIt(AllReduce(480, 1)).has_value()) << "one node has no network between";
}

// A p6e-gb200.36xlarge has 4 GPUs and 1600 Gbit/s, which are 200 GB/s.
std::optional<Assessment> AssessGb200(double busbw_gbs, std::optional<Fact> mnnvl,
                                      const std::string& probe = "all_reduce",
                                      std::int64_t nodes = 4) {
  Run run = RunOn("p6e-gb200.36xlarge");
  const auto n = static_cast<double>(4 * nodes);
  const double counted = (probe == "all_reduce" ? 2 : 1) * (n - 1) / n;
  Record record = AllReduce(busbw_gbs, nodes);
  record.probe = probe;
  record.params["ranks"] = 4 * nodes;
  record.work.bytes = std::int64_t{1} << 34;
  record.rounds[0].time_s = {counted * static_cast<double>(*record.work.bytes) / (busbw_gbs * 1e9)};
  if (mnnvl) record.facts["mnnvl"] = *mnnvl;
  return Assess(BuiltInTypeOf(run), record);
}

TEST(Expected, MoreThanTheRecordedTransportCarriesIsSuspicious) {
  const std::optional<Assessment> off = AssessGb200(838, Fact(false), "all_reduce", 2);
  ASSERT_TRUE(off);
  EXPECT_EQ(off->standing, Standing::kSuspicious);
  EXPECT_THAT(StandingText(off), StartsWith("suspicious: 838 GB/s is more than the 350 GB/s that "
                                            "can come of a node's network of 200 GB/s"));
  EXPECT_FALSE(AssessGb200(838, Fact(true), "all_reduce", 2)) << "NVLink carries it";
  EXPECT_EQ(AssessGb200(838, std::nullopt, "all_reduce", 2)->standing, Standing::kAboveBound)
      << "nobody knows";
  // On 4 nodes of 4 ranks busbw counts 1.875 S, 0.9375 S and 0.9375 S; a node must at least send
  // S, 0.75 S and 3 S.
  EXPECT_EQ(AssessGb200(1.019 * 200 * 1.875, Fact(false))->standing, Standing::kAboveBound);
  EXPECT_EQ(AssessGb200(1.021 * 200 * 1.875, Fact(false))->standing, Standing::kSuspicious);
  EXPECT_EQ(AssessGb200(1.019 * 200 * 1.25, Fact(false), "all_gather")->standing,
            Standing::kAboveBound);
  EXPECT_EQ(AssessGb200(1.021 * 200 * 1.25, Fact(false), "all_gather")->standing,
            Standing::kSuspicious);
  EXPECT_EQ(AssessGb200(1.019 * 200 * 0.3125, Fact(false), "alltoall")->standing, Standing::kOk);
  EXPECT_EQ(AssessGb200(1.021 * 200 * 0.3125, Fact(false), "alltoall")->standing,
            Standing::kSuspicious);
  EXPECT_FALSE(AssessGb200(1e4, Fact(false), "sendrecv", 3)->standing == Standing::kSuspicious)
      << "most of its neighbours share a node";
}

TEST(Expected, AMessageThatIsCountedIsHeldToTheWire) {
  // 2 nodes of 8 ranks: by trees a node sends S, where busbw counts 1.875 S.
  const auto judged = [](double busbw_gbs) {
    Record record = AllReduce(busbw_gbs, 2);
    record.facts = {{"algorithm", "tree"}, {"wire_bytes", std::int64_t{1} << 30}};
    return AssessIt(record)->standing;
  };
  EXPECT_EQ(judged(1.019 * 400 * 1.875), Standing::kAboveBound);
  EXPECT_EQ(judged(1.021 * 400 * 1.875), Standing::kSuspicious);
}

TEST(Expected, AFigureIsHeldAgainstThoseOfItsOwnTransport) {
  // 882.5 GB/s were published by NVLink between nodes, and 191.4 over EFA alone.
  EXPECT_EQ(AssessGb200(880, Fact(true))->standing, Standing::kOk);
  EXPECT_DOUBLE_EQ(AssessGb200(880, Fact(true))->expected_gbs.value(), 882.51);
  EXPECT_EQ(AssessGb200(190, Fact(true))->standing, Standing::kLow);
  EXPECT_EQ(AssessGb200(190, Fact(false))->standing, Standing::kOk);
  EXPECT_DOUBLE_EQ(AssessGb200(190, Fact(false))->expected_gbs.value(), 191.4);
  EXPECT_EQ(AssessGb200(150, Fact(false))->standing, Standing::kLow);
}

TEST(Expected, OnlyTheSameThingIsJudged) {
  EXPECT_FALSE(AssessIt(AllReduce(100, 4, "cpu")).has_value()) << "a CPU";
  EXPECT_FALSE(AssessIt(AllReduce(100, 4), "p4d.24xlarge").has_value());
  Record some = AllReduce(100, 4);
  some.params["ranks"] = std::int64_t{16};
  EXPECT_FALSE(AssessIt(some).has_value()) << "not all accelerators took part";
  Record other = AllReduce(100, 4);
  other.probe = "all_gather";
  EXPECT_FALSE(AssessIt(other).has_value());
  Record wrong = AllReduce(100, 4);
  wrong.status = Status::kWrong;
  EXPECT_FALSE(AssessIt(wrong).has_value());
}

// ---- Sockets beside a faster network

struct Place {
  const char* provider = "";
  const char* instance = "";
  const char* kind = "gpu";
  std::int64_t nodes = 2;
  std::optional<Fact> sockets = Fact(true);
};

Run RunAt(const Place& place, double busbw_gbs = 480) {
  Node node;
  node.identity.provider.value = place.provider;
  node.identity.instance.value = place.instance;
  Run run = {.status = "complete", .complete = true, .rounds = 3};
  run.nodes.assign(static_cast<std::size_t>(place.nodes), node);
  for (std::size_t i = 0; i < run.nodes.size(); ++i) run.nodes[i].node_id = std::to_string(i);
  Record record = AllReduce(busbw_gbs, place.nodes, place.kind);
  record.rounds.resize(3, record.rounds[0]);
  if (place.sockets) record.facts["sockets"] = *place.sockets;
  run.records = {record};
  return run;
}

const Chosen kPrice = {.offer = Offer{.usd_per_hour = 10, .price_date = "2026-11-01"}};

TEST(Sockets, BesideAFasterNetworkAreLowWithTheRemedyAndHaveNoDollars) {
  struct Slow {
    Place place = {};
    const char* network = "";
    const char* remedy = "";
  };
  for (const Slow& slow : std::vector<Slow>{
           {{"aws", "p5.48xlarge"}, "EFA, 3200 Gbit/s", "aws-ofi-nccl"},
           {{"aws", "p5.48xlarge", "cpu"}, "EFA, 3200 Gbit/s", "FI_PROVIDER=efa"},
           {{"aws", "p5.48xlarge", "cpu", 3}, "EFA, 3200 Gbit/s", "--mca mtl ofi"},
           {{"aws", "g4dn.12xlarge"}, "EFA", "aws-ofi-nccl"},
           {{"azure", "Standard_ND96isr_H100_v5"}, "InfiniBand NDR", "--device /dev/infiniband"},
           {{"azure", "Standard_ND96isr_H100_v5", "cpu"}, "InfiniBand NDR", "--mca pml ucx"},
           {{"gcp", "a3-highgpu-8g"}, "GPUDirect-TCPX", "/var/lib/tcpx"},
           {{"gcp", "a3-megagpu-8g"}, "GPUDirect-TCPXO", "/var/lib/fastrak"}}) {
    const assay::Run run = RunAt(slow.place);
    const std::optional<Assessment> assessed = Assess(BuiltInTypeOf(run), run.records[0]);
    ASSERT_TRUE(assessed) << slow.place.instance;
    EXPECT_EQ(assessed->standing, Standing::kLow);
    EXPECT_THAT(assessed->why,
                AllOf(HasSubstr(std::string("by TCP sockets, where a node has ") + slow.network),
                      HasSubstr(slow.remedy)));
    EXPECT_THAT(WhyUnpriced(run, run.records[0], BuiltInTypeOf(run)), HasSubstr(slow.network));
  }
}

TEST(Sockets, AreAsGoodAsAnythingWhereNothingElseIsKnown) {
  const auto says = [](const Place& place) {
    const assay::Run run = RunAt(place, 100);
    EXPECT_EQ(WhyUnpriced(run, run.records[0], BuiltInTypeOf(run)), "");
    return FindBySockets(BuiltInTypeOf(run), run.records[0]).has_value();
  };
  const auto with = [](std::optional<Fact> sockets) {
    return Place{"aws", "p5.48xlarge", "gpu", 2, std::move(sockets)};
  };
  EXPECT_FALSE(says(with(std::nullopt))) << "nobody said so";
  EXPECT_FALSE(says(with(Fact(false))));
  EXPECT_FALSE(says(with(Fact("true")))) << "a word is no fact of that kind";
  EXPECT_FALSE(says({"aws", "p5.48xlarge", "gpu", 1})) << "nothing went between nodes";
  EXPECT_FALSE(says({"aws", "p3.16xlarge"})) << "it has nothing but sockets";
  EXPECT_FALSE(says({"gcp", "g2-standard-96"}));
  EXPECT_FALSE(says({"aws", "p99.48xlarge"})) << "an unknown type";
  EXPECT_FALSE(says({"gcp", "p5.48xlarge"})) << "of another provider";
  assay::Run run = RunAt({"aws", "p5.48xlarge"});
  run.nodes[1].identity.instance.value = "p5en.48xlarge";
  EXPECT_FALSE(FindBySockets(BuiltInTypeOf(run), run.records[0])) << "which of the two?";
  run = RunAt({"aws", "p5.48xlarge"});
  for (const Status status : {Status::kSkipped, Status::kFailed, Status::kWrong}) {
    run.records[0].status = status;
    EXPECT_FALSE(FindBySockets(BuiltInTypeOf(run), run.records[0])) << "it has no figure";
  }
  run.records[0].status = Status::kPartial;
  EXPECT_TRUE(FindBySockets(BuiltInTypeOf(run), run.records[0]));
}

TEST(Sockets, AreSaidInTheTableThePageAndTheFigures) {
  const assay::Run run = RunAt({"aws", "p5.48xlarge"});
  const assay::Run well = RunAt({"aws", "p5.48xlarge", "gpu", 2, std::nullopt});
  const std::string table = RunTable(run, kPrice, Catalog::BuiltIn(), false);
  EXPECT_THAT(table, AllOf(HasSubstr("low: by TCP sockets"), HasSubstr("aws-ofi-nccl"),
                           HasSubstr("no price: by TCP sockets"), Not(HasSubstr("USD per TB"))));
  EXPECT_THAT(RunTable(well, kPrice, Catalog::BuiltIn(), false),
              AllOf(HasSubstr("USD per TB"), Not(HasSubstr("low:"))));
  const auto page = [](const assay::Run& shown) {
    const ReportInput input = {.name = "a.json", .run = shown, .price = kPrice};
    const std::string text = ReportPage({&input, 1}, Catalog::BuiltIn(), "2026-11-22");
    return text.substr(0, text.find("<script"));
  };
  EXPECT_THAT(page(run),
              AllOf(HasSubstr("low: by TCP sockets"), HasSubstr("aws-ofi-nccl"),
                    HasSubstr("no price: by TCP sockets"), Not(HasSubstr("USD per TB"))));
  EXPECT_THAT(page(well), AllOf(HasSubstr("USD per TB"), Not(HasSubstr("TCP sockets"))));
  const std::string figures = FiguresToJson(run, kPrice, Catalog::BuiltIn());
  EXPECT_THAT(figures,
              AllOf(HasSubstr("\"standing\":\"low\""), HasSubstr("aws-ofi-nccl"),
                    HasSubstr("\"unpriced\":\"by TCP sockets"), HasSubstr("\"costs\":[]")));
  EXPECT_THAT(FiguresToJson(well, kPrice, Catalog::BuiltIn()),
              AllOf(HasSubstr("\"unpriced\":null"), Not(HasSubstr("\"costs\":[]"))));
}

TEST(Sockets, AreSaidOfTheirSideOfAComparisonAndIsNotRankedPerDollar) {
  const Side slow = {
      .runs = {RunAt({"aws", "p5.48xlarge"}, 20)}, .names = {"slow"}, .price = kPrice};
  const Side well = {.runs = {RunAt({"aws", "p5.48xlarge", "gpu", 2, std::nullopt})},
                     .names = {"well"},
                     .price = kPrice};
  const auto row = [](const Side& a, const Side& b) {
    return Compare(a, b, {.instances = Catalog::BuiltIn().instances}).rows.at(0);
  };
  const CompareRow candidate = row(well, slow);
  EXPECT_THAT(candidate.note,
              AllOf(HasSubstr("candidate low: by TCP sockets"), HasSubstr("aws-ofi-nccl"),
                    HasSubstr("not per dollar: by TCP sockets")));
  EXPECT_FALSE(candidate.per_usd_change);
  const CompareRow baseline = row(slow, well);
  EXPECT_THAT(baseline.note, AllOf(HasSubstr("baseline low: by TCP sockets"),
                                   HasSubstr("not per dollar: by TCP sockets")));
  EXPECT_FALSE(baseline.per_usd_change);
  EXPECT_THAT(row(slow, slow).note, StartsWith("low: by TCP sockets"));
  EXPECT_TRUE(row(well, well).per_usd_change);
  EXPECT_EQ(row(well, well).note, "");
  const Ranking ranking = Rank({slow, well}, {.instances = Catalog::BuiltIn().instances});
  for (const RankEntry& entry : ranking.cases.at(0).entries) {
    EXPECT_EQ(entry.usd.has_value(), entry.side == 1);
    EXPECT_FALSE(entry.by_usd) << "one is nothing to rank";
    EXPECT_EQ(entry.note.find("low: by TCP sockets") == 0, entry.side == 0);
  }
}

TEST(Sockets, EveryKindOfNetworkInTheCatalogIsKnown) {
  std::set<std::string> kinds;
  for (const InstanceFacts& facts : Catalog::BuiltIn().instances) {
    if (facts.network_kind.empty()) continue;
    EXPECT_NE(FindNetworkKind(facts.network_kind), nullptr) << facts.network_kind;
    kinds.insert(facts.network_kind);
  }
  EXPECT_GT(kinds.size(), 8U);
  EXPECT_EQ(FindNetworkKind("token-ring"), nullptr);
  EXPECT_EQ(FindNetworkKind("ena")->for_nccl, "") << "there sockets are the way";
}

TEST(Expected, ACatalogOfOnesOwnIsWhatRunsAreJudgedBy) {
  assay::Run run = RunOnX100();
  run.records = {GemmOnGpu()};
  const Catalog own = {.instances = kInstances, .devices = kDevices};
  EXPECT_THAT(RunTable(run, {}, own, false), HasSubstr("80.0 % of the data sheet"));
  EXPECT_THAT(RunTable(run, {}, Catalog::BuiltIn(), false), Not(HasSubstr("data sheet")));
  EXPECT_THAT(FiguresToJson(run, {}, own), HasSubstr("\"device\":\"X100\""));
  const ReportInput input = {.run = run};
  EXPECT_THAT(ReportPage({&input, 1}, own, "2026-11-22"), HasSubstr("of the data sheet"));

  // A type that no built-in catalog has, with a network that its ranks did not use.
  const Catalog mine = {
      .instances = {{.provider = "mine", .instance = "box", .network_kind = "efa"}}};
  const Side side = {.runs = {RunAt({"mine", "box"})}, .names = {"a"}, .price = kPrice};
  const auto marked = [&](const Catalog& catalog) {
    return Compare(side, side, {.instances = catalog.instances, .force = true}).rows[0].note;
  };
  EXPECT_THAT(marked(mine), HasSubstr("by TCP sockets"));
  EXPECT_THAT(marked(Catalog::BuiltIn()), Not(HasSubstr("by TCP sockets")));
}

}  // namespace
}  // namespace assay
