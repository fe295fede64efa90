// The plan of a comparison (results/figures/plan.h) for people, and as CSV.
#pragma once

#include <string>
#include <string_view>

#include "results/figures/plan.h"

namespace assay {

// How many nodes, what that rests on, a row for each type and way of buying, and at the end the
// command lines to run.
std::string PlanTable(const NodePlan& plan, bool colour);

// A line for each type and way of buying; a type without a price has one line.
std::string PlanCsv(const NodePlan& plan);

}  // namespace assay
