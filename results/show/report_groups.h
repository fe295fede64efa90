// The sections of the page that are about groups of runs: the answer first, then what it rests on.
#pragma once

#include <string>
#include <string_view>

#include "results/show/group_charts.h"

namespace assay {

// The answer as a sentence with what it is made of, and notes.
std::string AnswerSection(const GroupFacts& facts, std::string_view today);
// Performance against price, the ranking and the lottery of the first case, with a place for the
// script to show another case in.
std::string CaseSections(const GroupFacts& facts);
// All other cases, folded.
std::string OtherCasesSection(const GroupFacts& facts);
// Roofline, products by shape, collectives, storage; each only where there are such cases.
std::string KindsSections(const GroupFacts& facts);
// The price ladder, and the hours a month at which a reservation breaks even.
std::string LadderSection(const GroupFacts& facts);
// The source of every price.
std::string PricesSection(const GroupFacts& facts, std::string_view today);
// Nodes, devices and pairs of GPUs, with their outliers.
std::string NodesSection(const GroupFacts& facts);
// The cases by group, with what was not measured and why.
std::string CoverageSection(const GroupFacts& facts, std::span<const RunBrief> briefs);

// Groups, cases, nodes and round medians as JSON, for the page's script.
std::string GroupsData(const GroupFacts& facts);

}  // namespace assay
