// The pictures of groups of runs, drawn as SVG for a wide screen and for a narrow one. The figures
// come from results/figures/run_groups.h. Each picture is "" where there is nothing to draw, and
// `width` is its width in pixels: kWideChart or kNarrowChart (results/show/chart.h).
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

// The most rows of a picture that has a row for each group; the others stand in tables alone.
inline constexpr std::size_t kMostRowsDrawn = 40;
// The most nodes of a type whose rounds LotteryChart draws.
inline constexpr std::size_t kNodesWithRounds = 30;
// The left edge, in pixels, of a plot that has rates as the labels of its left axis.
inline constexpr double kLeft = 104;

// The group's name, as texts show it, and its name for the page's script.
std::string SeriesName(const GroupRanking& ranking, std::size_t group);
std::string SeriesId(std::size_t group);
// What is shown on pointing at a group's mark: its speed with the interval, or why there is none.
std::string MarkTip(const GroupRanking& ranking, const GroupedCase& grouped,
                    const GroupPlace& place);

// An integer param; nothing where there is none of that name.
std::optional<std::int64_t> IntegerIn(const Params& params, const std::string& name);
// The indices of the two devices of a case that copies from one to another; nothing for any other
// case.
std::optional<std::pair<std::size_t, std::size_t>> PairOf(const GroupedCase& grouped);

// A ranking of groups with what pictures need besides: the briefs that it was made of, and the
// catalog. All three must outlive this.
class GroupFacts {
 public:
  GroupFacts(const GroupRanking& ranking, std::span<const RunBrief> briefs, const Catalog& catalog);

  const GroupRanking& Ranking() const { return ranking_; }
  const Catalog& TheCatalog() const { return catalog_; }
  // The cases that are ranked, then those that one group alone has. Cases between one pair of GPUs
  // are left out, since there are many of them, except where the very first case is one; Pairs()
  // has them.
  const std::vector<const GroupedCase*>& Cases() const { return cases_; }
  const std::vector<const GroupedCase*>& Pairs() const { return pairs_; }
  // A figure: the brief of a case, and the run that measured it. Both point into the briefs.
  struct Figure {
    const RunBrief* run = nullptr;
    const CaseBrief* of = nullptr;
  };
  // The figures of a case in all runs of the place's group, by the place's backend and the case's
  // method; by whatever method where methods are ranked together.
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

// The lottery, which is what one gets on renting a node: a row for each group with a dot for each
// node, at its distance from the median node of its type, and a bar over the speeds that, with 95 %
// confidence, a stated share of the type's nodes reaches.
std::string LotteryChart(const GroupFacts& facts, const GroupedCase& grouped, double width);

// Figures of several cases: a row for each case and a mark for each group, one scale for each unit.
std::string CasesChart(const GroupRanking& ranking, std::span<const GroupedCase* const> cases,
                       double width);

// Operations a second against operations a byte. The roofs are those of data sheets, or, for a
// device that has no data sheet here, those of the fastest loops that were measured.
std::string RooflineChart(const GroupFacts& facts, double width);

// Products by shape: the share of the fastest product in the same data type on the same group.
std::string GemmChart(const GroupFacts& facts, double width);

// A picture with its title.
struct TitledChart {
  std::string title = {};
  std::string svg = {};
};
// Bus bandwidth against size, one picture for each collective and number of ranks, with the band
// of the ranks, and the most that can come of the network between nodes (MostByNetwork).
std::vector<TitledChart> CollectiveCharts(const GroupFacts& facts, double width);

// The price of an hour of a node, a row for each group and a mark for each way of buying.
std::string LadderChart(const GroupRanking& ranking, double width);

// Dollars a month against hours used a month, one picture for each group that can be reserved.
std::vector<TitledChart> BreakEvenCharts(const GroupRanking& ranking, double width);

// The speed from each GPU of a node to each other one, for each group with such cases: a row for
// each GPU that sends and a column for each that receives. Maps for which there is no room are
// counted in the last title.
std::vector<TitledChart> PairCharts(const GroupFacts& facts, double width);

// A sentence for each pair of GPUs that is an outlier among those of its map, drawn or not.
std::vector<std::string> PairOutliers(const GroupFacts& facts);

// The cases that NodesChart has a column for, 12 of facts.Cases() at most, in their order: those
// with the most outliers before those with fewer, and the first ones before the last.
std::vector<const GroupedCase*> NodeColumns(const GroupFacts& facts);
// The nodes that lie furthest from the median of their type: a row for each node and a column for
// each of NodeColumns. A value that NodeOutliers would tell of is framed. `left_out` is set to the
// number of nodes that aren't shown.
std::string NodesChart(const GroupFacts& facts, double width, std::size_t& left_out);

// The devices in the primary case: a row for each node, and a column for each of 16 devices with
// their distance from the median device of that node, which are the outliers before all others.
// `left_out` is set as NodesChart sets it.
std::string DevicesChart(const GroupFacts& facts, double width, std::size_t& left_out);

// A sentence for each device that is an outlier among four or more of its node in the primary case,
// by the rule of NodeOutliers.
std::vector<std::string> DeviceOutliers(const GroupFacts& facts);

// A sentence for each node and case in which the node is an outlier among four or more of its type:
// its modified z-score is beyond 3.5 or -3.5, and it differs from their median by 2 % or more.
std::vector<std::string> NodeOutliers(const GroupFacts& facts);

}  // namespace assay
