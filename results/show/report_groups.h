// The sections of the page that are about groups of runs, in HTML, in the order in which the page
// has them: which machine to rent, then what that answer rests on. `today` is the UTC date
// (2026-11-21) that the age of prices is counted to. REQUIRES, for all of them: the ranking of
// `facts` has a case.
#pragma once

#include <string>
#include <string_view>

#include "results/show/group_charts.h"

namespace assay {

// The answer in a few sentences (AnswerOf, results/show/group_tables.h), the groups with their
// prices, and notes.
std::string AnswerSection(const GroupFacts& facts, std::string_view today);
// Performance against price, the ranking and the lottery of the first case, with a place for the
// script to show another case in.
std::string CaseSections(const GroupFacts& facts);
// All cases but the first, each folded until a reader opens it; "" where there is one case.
std::string OtherCasesSection(const GroupFacts& facts);
// Roofline, products by shape, collectives and storage, each only where there are such cases; ""
// where there are none.
std::string KindsSections(const GroupFacts& facts);
// The price ladder, and the hours a month at which a reservation breaks even.
std::string LadderSection(const GroupFacts& facts);
// The source of every price.
std::string PricesSection(const GroupFacts& facts, std::string_view today);
// Nodes, devices and pairs of GPUs, with their outliers; "" where there is nothing to show of them.
std::string NodesSection(const GroupFacts& facts);
// The cases by group, with what was not measured and why.
std::string CoverageSection(const GroupFacts& facts, std::span<const RunBrief> briefs);

// Groups, cases, nodes and round medians as JSON, for the page's script.
std::string GroupsData(const GroupFacts& facts);

}  // namespace assay
