// The table of probes: held to what METRICS.md says, and enough for a probe that nobody knew
// before.
#include "results/figures/probes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "results/file/fields.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string TextOfFile(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return (std::stringstream() << stream.rdbuf()).str();
}

std::string Code(std::string_view text) { return fmt::format("`{}`", text); }

std::string Words(const ParamIs& condition) {
  std::vector<std::string> values;
  for (const std::string& value : condition.values) values.push_back(Code(value));
  return fmt::format("{} is {}", Code(condition.param), fmt::join(values, " or "));
}

std::string Factor(BusFactor factor) {
  switch (factor) {
    case BusFactor::kNone:
      return "none";
    case BusFactor::kWhole:
      return "1";
    case BusFactor::kParts:
      return "(n − 1) ÷ n";
    case BusFactor::kTwice:
      break;
  }
  return "2 (n − 1) ÷ n";
}

std::string Dollars(const ProbeFacts& probe) {
  switch (probe.bytes_cost) {
    case BytesCost::kRate:
      return "`usd_per_tbps_hour`";
    case BytesCost::kMoved:
      return "`usd_per_tb_moved`";
    case BytesCost::kReduced:
      return "`usd_per_tb_reduced`";
    case BytesCost::kVolume:
      break;
  }
  return fmt::format("`usd_per_tib_written_node` where {}, else `usd_per_tib_read_node`",
                     Words(probe.writes));
}

// A row as METRICS.md has it.
std::string Row(const std::string& name, const ProbeFacts& probe) {
  std::string counts;
  if (probe.bytes_where) counts = "`bytes` where " + Words(*probe.bytes_where);
  if (probe.ops_where) {
    counts =
        fmt::format("`ops` where {} < {}", Code(probe.ops_where->param), probe.ops_where->limit);
  }
  std::vector<std::string> rest;
  if (probe.has_peak) rest.emplace_back("of peak");
  if (probe.is_headline) rest.emplace_back("headline");
  if (!probe.beside.empty()) rest.push_back("beside " + Code(probe.beside));
  if (probe.burst_is_paid) rest.emplace_back("paid in bursts");
  if (!probe.alike_in.empty()) rest.push_back("alike in " + Code(probe.alike_in));
  for (const LaterParam& later : LaterParams()) {
    if (later.probe != probe.name) continue;
    rest.push_back(fmt::format("before: {} {}", Code(later.param), Code(ToText(later.value))));
  }
  const std::string row = fmt::format(
      "| {} | {} | {:g} % | {} | {} | {} | {} |", name, ToText(probe.probe_class),
      probe.margin * 100, counts, Factor(probe.bus_factor), Dollars(probe), fmt::join(rest, ", "));
  std::string tidy;
  for (const char c : row) {
    if (c != ' ' || !tidy.ends_with(' ')) tidy += c;
  }
  return tidy;
}

TEST(Probes, TheTableOfMetricsIsThisOne) {
  std::string table =
      "| probe | class | m | counts, else as usual | f | dollars of bytes | and |\n";
  table += "|---|---|---|---|---|---|---|\n";
  for (const ProbeFacts& probe : KnownProbes()) table += Row(Code(probe.name), probe) + '\n';
  table += Row("any other", {}) + "\n\n";
  const std::filesystem::path source = ASSAY_SOURCE_DIR;
  EXPECT_THAT(TextOfFile(source / "results/METRICS.md"), HasSubstr(table));
}

TEST(Probes, EachHasOneRow) {
  std::set<std::string> names;
  for (const ProbeFacts& probe : KnownProbes()) {
    EXPECT_TRUE(names.insert(probe.name).second) << probe.name;
    EXPECT_EQ(&FindProbe(probe.name), &probe);
  }
}

// What runs beside a probe has a row and a bus factor, or its figures would be silently absent.
TEST(Probes, WhatOneRowSaysOfAnotherIsThere) {
  for (const ProbeFacts& probe : KnownProbes()) {
    if (probe.beside.empty()) continue;
    EXPECT_NE(FindProbe(probe.beside).bus_factor, BusFactor::kNone) << probe.name;
  }
}

}  // namespace
}  // namespace assay
