// Figures, comparisons and rankings as JSON, at full precision: every figure of results/METRICS.md
// by its name there. Each is one line without its end. Texts are harmless on a terminal and in a
// page, as Clean (results/base/text.h) leaves them.
#pragma once

#include <span>
#include <string>

#include "results/catalog/price.h"
#include "results/figures/compare.h"
#include "results/figures/plan.h"
#include "results/figures/run_groups.h"
#include "results/file/run.h"

namespace assay {

// The figures of a run at that price. `name` is the run's name in a page; empty elsewhere.
std::string FiguresToJson(const Run& run, const Chosen& price, const Catalog& catalog,
                          const std::string& name = {});
std::string ComparisonToJson(const Comparison& comparison);
std::string RankingToJson(const Ranking& ranking);
// A ranking of groups, with AnswerOf it (results/show/group_tables.h).
std::string GroupsToJson(const GroupRanking& ranking, const std::string& answer);
std::string PlanToJson(const NodePlan& plan);
// A list of offers, each with the keys that the result file has for an offer.
std::string OffersToJson(std::span<const Offer> offers);

}  // namespace assay
