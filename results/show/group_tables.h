// Rankings of groups of runs for people: the answer in a sentence, then tables.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/figures/compare.h"
#include "results/figures/run_groups.h"
#include "results/show/column.h"

namespace assay {

// The answer in a few sentences that can be repeated as they are: which group is the fastest at
// what, which the cheapest, by how much, from how many nodes, and at what price of which date and
// way of buying. Here and below, the age of prices is told where `today` (2026-11-22) isn't empty,
// and the ranking is one that RankGroups made, which has a case.
std::string AnswerOf(const GroupRanking& ranking, std::string_view today);

// The answer for two groups that are compared as two sides, from their primary case; "" for sides
// that are no groups, and without a primary case.
std::string AnswerOf(const Comparison& comparison, std::string_view today);

// The answer, the groups, notes, and a table a case with a row for each group and way of buying.
// With `with_nodes` each group's nodes stand below it.
std::string GroupTable(const GroupRanking& ranking, bool with_nodes, bool colour,
                       std::string_view today);

// GroupTable is made of the parts that follow, which the page uses as well.

// A group in a line: "aws p5.48xlarge: 3 nodes, 6 runs (6 spot), 2026-11-20 to 2026-11-21".
std::string GroupWords(const RunGroup& group);
// The title above the table of the case with that index: what it is, how it is asked, and what its
// intervals rest on.
std::string CaseTitle(const GroupRanking& ranking, std::size_t i);
// The headings of a case's table, and its rows: one for each group and way of buying, fastest
// first.
std::vector<Column> GroupHeadings(const GroupRanking& ranking, const GroupedCase& grouped);
struct GroupRow {
  std::size_t place = 0;  // an index into GroupedCase::places
  std::size_t way = 0;    // an index into RunGroup::prices
  std::string name = {};
  std::string nodes = {};
  std::string speed = {};
  std::string in_speed = {};
  bool is_fastest = false;
  std::string bought = {};
  std::string usd = {};
  std::string in_dollars = {};
  std::string note = {};  // in the last row of a group
};
std::vector<GroupRow> GroupRows(const GroupRanking& ranking, const GroupedCase& grouped);
// A sentence on each group's lottery, in speed and in dollars, in the order of places.
std::vector<std::string> LotteryLines(const GroupRanking& ranking, const GroupedCase& grouped);

// A speed of that case, in its unit, in words: "712.4 TFLOP/s", or of a weighted mean, whose unit
// is empty, "0.974 x the fastest".
std::string SpeedText(const GroupedCase& grouped, double speed);

// USD per hour of one of a node's accelerators; nothing without a price or an accelerator.
std::optional<double> UsdPerGpuHour(const RunGroup& group, const Chosen& price);

}  // namespace assay
