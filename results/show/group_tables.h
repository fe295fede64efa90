// Rankings of groups of runs for people: the answer in a sentence, then tables; and as CSV.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "results/figures/compare.h"
#include "results/figures/run_groups.h"

namespace assay {

// The answer in a few sentences that can be repeated as they are: which group is the fastest at
// what, which the cheapest, by how much, from how many nodes, and at what price of which date and
// way of buying.
std::string AnswerOf(const GroupRanking& ranking, std::string_view today);

// The same of two groups that are compared as two sides, from their primary case; "" for sides that
// are no groups, and without a primary case.
std::string AnswerOf(const Comparison& comparison, std::string_view today);

// The answer, what is behind it, and a table a case with a row for each group and way of buying.
// `with_nodes`: each group's nodes stand below it.
std::string GroupTable(const GroupRanking& ranking, bool with_nodes, bool colour,
                       std::string_view today);

// A line for each case, group and way of buying.
std::string GroupCsv(const GroupRanking& ranking);

// "712.4 TFLOP/s"; of a weighted mean "0.974 x the fastest".
std::string SpeedText(const GroupedCase& grouped, double speed);

// USD per hour of one of a node's accelerators; nothing without a price or an accelerator.
std::optional<double> UsdPerGpuHour(const RunGroup& group, const Chosen& price);

}  // namespace assay
