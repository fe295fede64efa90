#include "results/figures/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"
#include "results/figures/once.h"
#include "results/figures/probes.h"
#include "results/figures/side_values.h"

namespace assay {
namespace {

// A pair: one case on one backend a side, ready to be compared.
struct Pair {
  const Record* any = nullptr;
  std::string kind = {};
  bool is_primary = false;
  std::string backend_a = {};
  std::string backend_b = {};
  std::vector<InRun> runs_a = {};
  std::vector<InRun> runs_b = {};
  SideValues a = {};
  SideValues b = {};
};

// The factor of a true difference that nodes should be enough to find.
constexpr double kTrueDifference = 1.05;

struct Matched {
  std::vector<Pair> pairs = {};
  std::vector<std::string> only_a = {};
  std::vector<std::string> only_b = {};
  std::vector<std::string> refused = {};  // why cases that both sides have are not compared
};

// Lists the cases that only `here` has figures of. `there_name` names the other side where that one
// tried them.
void ListOnly(const Holdings& here, const Holdings& there, std::string_view there_name,
              std::vector<std::string>& only) {
  std::set<std::string> there_methodless;
  for (const auto& [key, holding] : there) there_methodless.insert(MethodlessKey(*holding.any));
  for (const auto& [key, holding] : here) {
    if (holding.backends.empty()) continue;
    const auto other = there.find(key);
    if (other == there.end()) {
      if (there_methodless.count(MethodlessKey(*holding.any)) != 0) continue;  // refused elsewhere
      only.push_back(CaseWords(holding.any->probe, holding.any->params));
    } else if (other->second.backends.empty()) {
      only.push_back(fmt::format("{} ({} in the {})",
                                 CaseWords(holding.any->probe, holding.any->params),
                                 other->second.unmeasured, there_name));
    }
  }
}

// Finds the pairs of one case: the two backends where each side has a single one, whatever their
// names; otherwise those of equal name.
void PairBackends(const Holding& a, const Holding& b, const CompareOptions& options,
                  Matched& matched) {
  const auto pair = [&](const std::string& backend_a, const std::string& backend_b) {
    const std::vector<InRun>& runs_a = a.backends.at(backend_a);
    const std::vector<InRun>& runs_b = b.backends.at(backend_b);
    // A figure that may be a cache's, say, is never compared with one that surely isn't.
    if (const std::string& fact = FindProbe(b.any->probe).alike_in; !fact.empty()) {
      const std::string fact_a = FactIn(runs_a, fact);
      const std::string fact_b = FactIn(runs_b, fact);
      if (fact_a != fact_b) {
        matched.refused.push_back(fmt::format("{} is not compared: {} is {} against {}",
                                              CaseWords(b.any->probe, b.any->params), fact, fact_a,
                                              fact_b));
        return;
      }
    }
    const std::string nodes_a = NodeCounts(runs_a);
    const std::string nodes_b = NodeCounts(runs_b);
    // The work of a case counts all of its nodes, so both sides must have as many.
    if (nodes_a != nodes_b) {
      matched.refused.push_back(
          fmt::format("{} is not compared: the work of {} {} against that of {}",
                      CaseWords(b.any->probe, b.any->params), nodes_a,
                      nodes_a == "1" ? "node" : "nodes", nodes_b));
      return;
    }
    const std::string unit_a = Speed(*runs_a.front().records.front())->unit;
    const std::string unit_b = Speed(*runs_b.front().records.front())->unit;
    if (unit_a != unit_b) {
      matched.refused.push_back(fmt::format("{} is not compared: counted in {} against {}",
                                            CaseWords(b.any->probe, b.any->params), unit_a,
                                            unit_b));
      return;
    }
    const Statistic statistic = StatisticOf({&runs_a, &runs_b});
    matched.pairs.push_back({.any = b.any,
                             .kind = b.kind,
                             .is_primary = IsPrimary(*b.any, {&runs_a, &runs_b}, options),
                             .backend_a = backend_a,
                             .backend_b = backend_b,
                             .runs_a = runs_a,
                             .runs_b = runs_b,
                             .a = AverageRuns(runs_a, statistic, options.noise),
                             .b = AverageRuns(runs_b, statistic, options.noise)});
    BorrowSpread(matched.pairs.back().a, {&matched.pairs.back().b});
    BorrowSpread(matched.pairs.back().b, {&matched.pairs.back().a});
  };
  if (a.backends.empty() || b.backends.empty()) return;
  if (a.backends.size() == 1 && b.backends.size() == 1) {
    pair(a.backends.begin()->first, b.backends.begin()->first);
    return;
  }
  for (const auto& [backend, runs] : a.backends) {
    if (b.backends.count(backend) != 0) {
      pair(backend, backend);
    } else {
      matched.only_a.push_back(
          fmt::format("{} on {}", CaseWords(a.any->probe, a.any->params), backend));
    }
  }
  for (const auto& [backend, runs] : b.backends) {
    if (a.backends.count(backend) != 0) continue;
    matched.only_b.push_back(
        fmt::format("{} on {}", CaseWords(b.any->probe, b.any->params), backend));
  }
}

// Matches the cases of both sides, and says of the others which side has them or why they are
// refused.
Matched Match(const Side& a, const Side& b, const CompareOptions& options) {
  const Holdings of_a = GatherHoldings(a, options.force, options.instances);
  const Holdings of_b = GatherHoldings(b, options.force, options.instances);
  Matched matched;
  ListOnly(of_a, of_b, "candidate", matched.only_a);
  ListOnly(of_b, of_a, "baseline", matched.only_b);
  std::multimap<std::string, const Holding*> b_methodless;
  for (const auto& [key, holding] : of_b)
    b_methodless.emplace(MethodlessKey(*holding.any), &holding);
  for (const auto& [key, holding_a] : of_a) {
    const auto same = of_b.find(key);
    if (same != of_b.end()) {
      PairBackends(holding_a, same->second, options, matched);
      continue;
    }
    const auto [begin, end] = b_methodless.equal_range(MethodlessKey(*holding_a.any));
    for (auto unlike = begin; unlike != end; ++unlike) {
      matched.refused.push_back(
          fmt::format("{} is not compared: method {} against {} (--force does)",
                      CaseWords(holding_a.any->probe, holding_a.any->params), holding_a.any->method,
                      unlike->second->any->method));
      break;  // one of several unlike methods is enough to report
    }
  }
  return matched;
}

// The confidences of Holm's step-down (Scandinavian Journal of Statistics 6, 1979) as intervals,
// over one family: the primary pairs, or the others, as far as they have an interval. Pairs are
// taken by p-value, least first; the r-th of K gets the confidence 1 - alpha / (K - r + 1). From
// the first whose interval holds "no change" on, all keep that confidence, so that a t interval
// excludes "no change" exactly where Holm's test rejects it.
void AdjustFamily(const std::vector<Pair>& pairs, bool is_primary, double confidence,
                  std::vector<double>& confidences) {
  std::vector<std::pair<double, std::size_t>> order;  // by p-value
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (pairs[i].is_primary != is_primary) continue;
    if (const auto p_value = PValueOf(pairs[i].a, pairs[i].b)) order.emplace_back(*p_value, i);
  }
  std::ranges::sort(order);
  std::size_t left = order.size();
  bool rejecting = true;
  for (const auto& [p_value, i] : order) {
    confidences[i] = 1 - (1 - confidence) / static_cast<double>(left);
    if (!rejecting) continue;
    const Interval change = *ChangeOf(pairs[i].a, pairs[i].b, confidences[i]).interval;
    rejecting = change.low > 1 || change.high < 1;
    if (rejecting) --left;
  }
}

// The number of runs (or nodes) more a side that bring the reach of the interval (half its width,
// in logs) to `enough`, if they vary as the present ones do.
int MoreRuns(const SideValues& a, const SideValues& b, double confidence,
             const std::function<bool(double)>& enough) {
  const auto reach = [&](int more) {
    const auto n_a = static_cast<double>(a.units.size()) + more;
    const auto n_b = static_cast<double>(b.units.size()) + more;
    const double part_a = a.unit_variance / n_a;
    const double part_b = b.unit_variance / n_b;
    const double variance = part_a + part_b;
    if (variance <= 0) return 0.0;
    const double df =
        variance * variance / (part_a * part_a / (n_a - 1) + part_b * part_b / (n_b - 1));
    return StudentT(confidence, df) * std::sqrt(variance);
  };
  int low = 1;
  int high = kManyRuns;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (enough(reach(middle))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Whether the pair is slower by `share` or more. It can be told where the interval reaches less
// far than `share`, or lies above it as it is.
SlowerThan SlowerThanOf(const Pair& pair, const CompareRow& row, double share) {
  const Interval reach = row.change.Reach();
  const double least = -std::log1p(-share);
  SlowerThan slower = {.is_so = reach.high < 1 && 1 - reach.estimate > share};
  slower.is_told =
      slower.is_so || reach.low > 1 - share || std::log(reach.high / reach.estimate) <= least;
  if (!slower.is_told && row.change.interval) {
    slower.more_runs = MoreRuns(pair.a, pair.b, *row.confidence,
                                [&](double half_width) { return half_width <= least; });
  }
  return slower;
}

// Fills in work per dollar, or a note why there is none, where both sides have a price.
void PricePerDollar(const Pair& pair, const Side& a, const Side& b, CompareRow& row) {
  if (!UsdPerNodeHour(a.price) || !UsdPerNodeHour(b.price)) return;
  std::string why = NotPriced(pair.runs_a, pair.kind);
  if (why.empty()) why = NotPriced(pair.runs_b, pair.kind);
  if (!why.empty()) {
    AddNote(row.note, "not per dollar: " + why);
    return;
  }
  const std::optional<double> cost_a = CostOf(pair.runs_a, a.price);
  const std::optional<double> cost_b = CostOf(pair.runs_b, b.price);
  if (!cost_a || !cost_b) return;
  if (a.price.instead_of) AddNote(row.note, "dollars of the baseline are on demand");
  if (b.price.instead_of) AddNote(row.note, "dollars of the candidate are on demand");
  const Interval envelope = PriceEnvelope(*cost_a, *cost_b, *a.price.offer, *b.price.offer);
  row.per_usd_change = envelope.estimate;
  if (envelope.low < envelope.high) row.per_usd_envelope = envelope;
  row.per_usd_verdict = JudgePerUsd(row.change, envelope, row.margin);
}

// A note where the compared figures differ from those that the runs' own reports show.
std::string OwnFigures(const Pair& pair, const CompareRow& row) {
  const double baseline = SpeedOf(pair.runs_a);
  const double candidate = SpeedOf(pair.runs_b);
  const auto differs = [&](double own, double compared) {
    return std::abs(std::log(own / compared)) > std::log1p(row.margin);
  };
  if (!differs(baseline, row.baseline) && !differs(candidate, row.candidate)) return "";
  return fmt::format("single rounds stand apart: the runs' own figures are {} and {}",
                     WithPrefix(baseline, row.unit), WithPrefix(candidate, row.unit));
}

// Makes the row of a pair with an interval of that confidence.
CompareRow RowOf(const Pair& pair, double confidence, const CompareOptions& options) {
  CompareRow row = {.probe = pair.any->probe,
                    .backend = pair.backend_b,
                    .kind = pair.kind,
                    .params = pair.any->params,
                    .baseline = pair.a.Speed(),
                    .candidate = pair.b.Speed(),
                    .unit = Speed(*pair.runs_b.front().records.front())->unit,
                    .change = ChangeOf(pair.a, pair.b, confidence),
                    .is_primary = pair.is_primary,
                    .between_runs = NoiseWords(pair.a, pair.b),
                    .between_nodes = SpreadWords(pair.a, pair.b),
                    .margin = MarginOf(pair.any->probe, options)};
  row.verdict = Judge(row.change, row.margin);
  if (row.change.interval) {
    row.confidence = confidence;
    row.resolution = row.change.interval->HalfWidth();
    if (*row.resolution > row.margin) {
      row.more_runs = MoreRuns(pair.a, pair.b, confidence, [&](double half_width) {
        return row.change.estimate * std::sinh(half_width) <= row.margin;
      });
    }
  }
  if (pair.a.spread && pair.b.spread) {
    const int nodes = NodesToFind(kTrueDifference, {pair.a.unit_variance, pair.a.known},
                                  {pair.b.unit_variance, pair.b.known});
    if (std::ssize(pair.a.units) < nodes || std::ssize(pair.b.units) < nodes) {
      row.nodes_to_find = nodes;
    }
  }
  if (options.fail_slower) row.slower_than = SlowerThanOf(pair, row, *options.fail_slower);
  if (const std::string own = OwnFigures(pair, row); !own.empty()) AddNote(row.note, own);
  if (pair.backend_a != pair.backend_b) {
    AddNote(row.note, fmt::format("{} against {}", pair.backend_a, pair.backend_b));
  }
  const std::string marks_a = MarksText(pair.runs_a);
  const std::string marks_b = MarksText(pair.runs_b);
  if (marks_a == marks_b && !marks_a.empty()) AddNote(row.note, marks_a);
  if (marks_a != marks_b && !marks_a.empty()) AddNote(row.note, "baseline " + marks_a);
  if (marks_a != marks_b && !marks_b.empty()) AddNote(row.note, "candidate " + marks_b);
  const int method_a = pair.runs_a.front().records.front()->method;
  const int method_b = pair.runs_b.front().records.front()->method;
  if (method_a != method_b) {
    AddNote(row.note, fmt::format("method {} against {}", method_a, method_b));
  }
  return row;
}

// The first few words of a list, for one sentence.
std::string First(const std::vector<std::string>& words) {
  constexpr std::size_t kShown = 3;
  if (words.empty()) return "nothing";
  const auto shown = static_cast<std::ptrdiff_t>(std::min(words.size(), kShown));
  std::string text = fmt::format("{}", fmt::join(words.begin(), words.begin() + shown, ", "));
  if (words.size() > kShown) text += fmt::format(" and {} more", words.size() - kShown);
  return Clean(text, 1024);
}

// Throws Error where the case that was asked for as the primary one isn't among these.
void CheckPrimary(const std::vector<Pair>& pairs, const CompareOptions& options) {
  if (options.primary.empty()) return;
  std::vector<std::string> words;
  for (const Pair& pair : pairs) {
    if (pair.is_primary) return;
    words.push_back(CaseWords(pair.any->probe, pair.any->params));
  }
  throw Error(PrimaryMissing(options.primary, words));
}

// Whether a side holds three distinct nodes of one instance type, and so may speak for the type.
bool SpeaksForItsType(const Side& side) {
  std::set<std::string> nodes;
  std::set<std::string> instances;
  for (const Run& run : side.runs) {
    for (const Node& node : run.nodes) {
      nodes.insert(node.node_id);
      instances.insert(node.identity.instance.value);
    }
  }
  return nodes.size() >= 3 && instances.size() == 1 && instances.count("unknown") == 0;
}

}  // namespace

std::string_view ToText(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSame:
      return "same";
    case Verdict::kFaster:
      return "faster";
    case Verdict::kSlower:
      return "slower";
    case Verdict::kUnclear:
      return "unclear";
    case Verdict::kNone:
      break;
  }
  return "no verdict";
}

std::string VerdictText(const CompareRow& row, Verdict verdict) {
  const bool judged = verdict == Verdict::kFaster || verdict == Verdict::kSlower;
  return fmt::format("{}{}", judged && row.IsGuessed() ? "guessed " : "", ToText(verdict));
}

std::string PerUsdText(const CompareRow& row) {
  if (!row.per_usd_verdict) return "";
  const char* guessed = row.IsGuessed() ? "guessed " : "";
  if (*row.per_usd_verdict == Verdict::kFaster) return fmt::format("{}more", guessed);
  if (*row.per_usd_verdict == Verdict::kSlower) return fmt::format("{}less", guessed);
  return std::string(ToText(*row.per_usd_verdict));
}

std::string NoteOf(const CompareRow& row) {
  std::string note = row.note;
  if (row.verdict == Verdict::kNone) AddNote(note, kNoVerdict);
  if (row.verdict == Verdict::kUnclear && row.nodes_to_find) {
    AddNote(note, fmt::format("to find 5 % takes {}{} nodes a side", *row.nodes_to_find,
                              *row.nodes_to_find >= kManyNodes ? " or more" : ""));
  }
  return note;
}

Interval Change::Reach() const {
  if (interval) return *interval;
  return {.estimate = estimate, .low = estimate / guess_bound, .high = estimate * guess_bound};
}

Verdict Judge(const Interval& change, double margin) {
  const double low = change.low - 1;
  const double high = change.high - 1;
  if (-margin < low && high < margin) return Verdict::kSame;
  if (low > 0) return Verdict::kFaster;
  if (high < 0) return Verdict::kSlower;
  return Verdict::kUnclear;
}

Verdict JudgeGuess(const Interval& reach) {
  if (reach.low > 1) return Verdict::kFaster;
  return reach.high < 1 ? Verdict::kSlower : Verdict::kNone;
}

Verdict Judge(const Change& change, double margin) {
  return change.interval ? Judge(*change.interval, margin) : JudgeGuess(change.Reach());
}

Comparison Compare(Side baseline, Side candidate, const CompareOptions& options) {
  CheckSide(baseline);
  CheckSide(candidate);
  std::vector<std::string> left_out = CountOnce(baseline);
  std::ranges::move(CountOnce(candidate), std::back_inserter(left_out));
  CheckApart(baseline, candidate);
  Comparison comparison = {.baseline = std::move(baseline), .candidate = std::move(candidate)};
  const Side& a = comparison.baseline;
  const Side& b = comparison.candidate;
  Matched matched = Match(a, b, options);
  if (matched.pairs.empty()) {
    throw Error(fmt::format(
        "the two sides have no case in common{}; only in the baseline: {}; only in the candidate: "
        "{}; measure the same probes and params on both",
        matched.refused.empty() ? "" : " that can be compared (" + First(matched.refused) + ")",
        First(matched.only_a), First(matched.only_b)));
  }

  // Closed and open runs may have different software, so their difference isn't the machines'
  // alone.
  const bool mixed = DivisionsDiffer({&a, &b});
  CheckPrimary(matched.pairs, options);
  std::vector<double> confidences(matched.pairs.size(), options.confidence);
  for (const bool is_primary : {true, false}) {
    AdjustFamily(matched.pairs, is_primary, options.confidence, confidences);
  }
  std::vector<std::pair<const SideValues*, const SideValues*>> pairs;
  for (std::size_t i = 0; i < matched.pairs.size(); ++i) {
    const Pair& pair = matched.pairs[i];
    CompareRow row = RowOf(pair, confidences[i], options);
    if (!mixed || options.force) PricePerDollar(pair, a, b, row);
    comparison.rows.push_back(std::move(row));
    pairs.emplace_back(&pair.a, &pair.b);
  }

  std::vector<std::string>& notes = comparison.notes;
  std::ranges::move(left_out, std::back_inserter(notes));
  if (mixed) {
    notes.push_back(options.force ? "different software: closed runs against open ones"
                                  : "different software: closed runs against open ones, so that "
                                    "nothing is said per dollar (--force does)");
  }
  for (const Side* side : {&a, &b}) {
    for (std::string& sentence : DescribeIncomplete(*side)) notes.push_back(std::move(sentence));
  }
  std::ranges::move(NoiseNotes(pairs), std::back_inserter(notes));
  if (!SpeaksForItsType(a) || !SpeaksForItsType(b)) {
    notes.push_back(
        "fewer than three nodes of one type on a side: this is about this node and that one, not "
        "about instance types");
  }
  comparison.refused = matched.refused.size();
  for (std::string& sentence : matched.refused) notes.push_back(std::move(sentence));
  comparison.only_baseline = std::move(matched.only_a);
  comparison.only_candidate = std::move(matched.only_b);
  comparison.differences = FindDifferences(a, b);
  return comparison;
}

}  // namespace assay
