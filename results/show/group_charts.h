// The pictures of groups of runs, drawn as SVG for a wide screen and for a narrow one. Whatever
// they show stands in results/figures/run_groups.h; nothing is computed here but places in
// pictures. Each function returns "" where there is nothing to draw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "results/catalog/price.h"
#include "results/figures/brief.h"
#include "results/figures/run_groups.h"
#include "results/show/chart.h"

namespace assay {

// Rows beyond these are left to tables.
inline constexpr std::size_t kMostRowsDrawn = 40;
// Where plots with rates at their left begin.
inline constexpr double kLeft = 104;

// The group's name, as texts show it, and its name for the page's script.
std::string SeriesName(const GroupRanking& ranking, std::size_t group);
std::string SeriesId(std::size_t group);
// What is shown on pointing at a group's mark: its speed with the interval, or why there is none.
std::string MarkTip(const GroupRanking& ranking, const GroupedCase& grouped,
                    const GroupPlace& place);

// An integer param; nothing where there is none of that name.
std::optional<std::int64_t> IntegerIn(const Params& params, const std::string& name);
// The devices that a case goes from and to; nothing where it isn't of one pair of them.
std::optional<std::pair<std::size_t, std::size_t>> PairOf(const GroupedCase& grouped);

// What pictures need besides the ranking: the briefs that it was made of, and the catalog.
class GroupFacts {
 public:
  GroupFacts(const GroupRanking& ranking, std::span<const RunBrief> briefs, const Catalog& catalog);

  const GroupRanking& Ranking() const { return ranking_; }
  const Catalog& TheCatalog() const { return catalog_; }
  // The cases, ranked or of one group alone, in that order, without those of single pairs of GPUs
  // (the first is there whatever it is), which are many.
  const std::vector<const GroupedCase*>& Cases() const { return cases_; }
  const std::vector<const GroupedCase*>& Pairs() const { return pairs_; }
  // The figures of a case that the runs of a group have, by the backend that stands for it.
  struct Figure {
    const RunBrief* run = nullptr;
    const CaseBrief* of = nullptr;
  };
  std::vector<Figure> FiguresOf(const GroupedCase& grouped, const GroupPlace& place) const;

 private:
  const GroupRanking& ranking_;
  std::span<const RunBrief> briefs_;
  const Catalog& catalog_;
  std::vector<const GroupedCase*> cases_;
  std::vector<const GroupedCase*> pairs_;
  using Key = std::tuple<std::string, Params, std::string, std::size_t>;  // the last is the group
  std::map<Key, std::vector<Figure>> figures_;
};

// Performance against price, both logarithmic: a mark for each group and way of buying, the
// interval of the speed and the range of the price, and dashed lines of equal dollars per unit of
// work.
std::string PriceChart(const GroupRanking& ranking, const GroupedCase& grouped, double width);

// The lottery: a row for each group with a dot for each node, as the distance from the median node
// of its type, and the range that the next node is in, at 95 %, at least so often.
std::string LotteryChart(const GroupFacts& facts, const GroupedCase& grouped, double width);

// Figures of several cases: a row for each case and a mark for each group, one scale for each unit.
std::string CasesChart(const GroupRanking& ranking, std::span<const GroupedCase* const> cases,
                       double width);

// Operations a second against operations a byte, with the roofs of data sheets, or where there is
// none of what was measured.
std::string RooflineChart(const GroupFacts& facts, double width);

// Products by shape: the share of the fastest product in the same data type on the same group.
std::string GemmChart(const GroupFacts& facts, double width);

// A picture with its title.
struct TitledChart {
  std::string title = {};
  std::string svg = {};
};
// Bus bandwidth against size, one picture for each collective and number of ranks, with the band
// of the ranks and the line of the network between nodes.
std::vector<TitledChart> CollectiveCharts(const GroupFacts& facts, double width);

// The price of an hour of a node, a row for each group and a mark for each way of buying.
std::string LadderChart(const GroupRanking& ranking, double width);

// Dollars a month against hours used a month, one picture for each group that can be reserved.
std::vector<TitledChart> BreakEvenCharts(const GroupRanking& ranking, double width);

// What one GPU gives another, for each group with such cases: a row for each that sends and a
// column for each that receives.
std::vector<TitledChart> PairCharts(const GroupFacts& facts, double width);

// The nodes that lie furthest from the median of their type in any case, a column for each case;
// what is an outlier among its type's nodes is framed. `left_out` is set to the number of nodes
// that aren't shown.
std::string NodesChart(const GroupFacts& facts, double width, std::size_t& left_out);

// The devices of the nodes of the primary case, likewise.
std::string DevicesChart(const GroupFacts& facts, double width, std::size_t& left_out);

// A sentence for each outlier among the nodes of a type, in any case: one whose modified z-score is
// beyond 3.5 and that differs by 2 % or more.
std::vector<std::string> NodeOutliers(const GroupFacts& facts);

}  // namespace assay
