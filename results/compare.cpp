#include "results/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <set>

#include "results/error.h"
#include "results/figures.h"
#include "results/once.h"
#include "results/sample.h"
#include "results/text.h"

namespace assay {
namespace {

// One case on one backend a side, ready to be compared.
struct Pair {
  const Record* any = nullptr;
  std::string kind = {};
  std::string backend_a = {};
  std::string backend_b = {};
  std::vector<InRun> runs_a = {};
  std::vector<InRun> runs_b = {};
  Sample a = {};
  Sample b = {};
};

struct Matched {
  std::vector<Pair> pairs = {};
  std::vector<std::string> only_a = {};
  std::vector<std::string> only_b = {};
  std::vector<std::string> refused = {};  // both sides have it, and it is not compared: why
};

// Cases that only `here` has figures of. `there_name` names the other side where that one tried.
void ListOnly(const std::map<std::string, Holding>& here,
              const std::map<std::string, Holding>& there, std::string_view there_name,
              std::vector<std::string>& only) {
  std::set<std::string> there_methodless;
  for (const auto& [key, holding] : there) there_methodless.insert(MethodlessKey(*holding.any));
  for (const auto& [key, holding] : here) {
    if (holding.backends.empty()) continue;
    const auto other = there.find(key);
    if (other == there.end()) {
      if (there_methodless.count(MethodlessKey(*holding.any)) != 0) continue;  // refused, and said
      only.push_back(CaseWords(*holding.any));
    } else if (other->second.backends.empty()) {
      only.push_back(fmt::format("{} ({} in the {})", CaseWords(*holding.any),
                                 other->second.unmeasured, there_name));
    }
  }
}

// The pairs of one case: if each side has one backend these two, whatever their names; otherwise
// those of equal name.
void PairBackends(const Holding& a, const Holding& b, Matched& matched) {
  const auto pair = [&](const std::string& backend_a, const std::string& backend_b) {
    const std::vector<InRun>& runs_a = a.backends.at(backend_a);
    const std::vector<InRun>& runs_b = b.backends.at(backend_b);
    const std::string direct_a = DirectOf(runs_a);
    const std::string direct_b = DirectOf(runs_b);
    const std::string& probe = b.any->probe;
    if (probe == "storage" && direct_a != direct_b) {
      matched.refused.push_back(fmt::format("{} is not compared: direct is {} against {}",
                                            CaseWords(*b.any), direct_a, direct_b));
      return;
    }
    const std::string nodes_a = NodesOf(runs_a);
    const std::string nodes_b = NodesOf(runs_b);
    if (nodes_a != nodes_b) {
      matched.refused.push_back(
          fmt::format("{} is not compared: the work of {} nodes against that of {}",
                      CaseWords(*b.any), nodes_a, nodes_b));
      return;
    }
    const std::string unit_a = Speed(*runs_a.front().records.front())->unit;
    const std::string unit_b = Speed(*runs_b.front().records.front())->unit;
    if (unit_a != unit_b) {
      matched.refused.push_back(fmt::format("{} is not compared: counted in {} against {}",
                                            CaseWords(*b.any), unit_a, unit_b));
      return;
    }
    matched.pairs.push_back({.any = b.any,
                             .kind = b.kind,
                             .backend_a = backend_a,
                             .backend_b = backend_b,
                             .runs_a = runs_a,
                             .runs_b = runs_b,
                             .a = SampleOf(runs_a, probe),
                             .b = SampleOf(runs_b, probe)});
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
      matched.only_a.push_back(fmt::format("{} on {}", CaseWords(*a.any), backend));
    }
  }
  for (const auto& [backend, runs] : b.backends) {
    if (a.backends.count(backend) != 0) continue;
    matched.only_b.push_back(fmt::format("{} on {}", CaseWords(*b.any), backend));
  }
}

Matched Match(const Side& a, const Side& b, bool force) {
  const std::map<std::string, Holding> of_a = HoldingsOf(a, force);
  const std::map<std::string, Holding> of_b = HoldingsOf(b, force);
  Matched matched;
  ListOnly(of_a, of_b, "candidate", matched.only_a);
  ListOnly(of_b, of_a, "baseline", matched.only_b);
  std::multimap<std::string, const Holding*> b_methodless;
  for (const auto& [key, holding] : of_b)
    b_methodless.emplace(MethodlessKey(*holding.any), &holding);
  for (const auto& [key, holding_a] : of_a) {
    const auto same = of_b.find(key);
    if (same != of_b.end()) {
      PairBackends(holding_a, same->second, matched);
      continue;
    }
    const auto [begin, end] = b_methodless.equal_range(MethodlessKey(*holding_a.any));
    for (auto unlike = begin; unlike != end; ++unlike) {
      matched.refused.push_back(fmt::format(
          "{} is not compared: method {} against {} (--force does)", CaseWords(*holding_a.any),
          holding_a.any->method, unlike->second->any->method));
    }
  }
  return matched;
}

// Holm's step-down (Scandinavian Journal of Statistics 6, 1979) as intervals. Pairs are taken by
// p-value, least first; the r-th of K gets the confidence 1 - alpha / (K - r + 1). From the first
// whose interval holds "no change" on, all keep that confidence, so that a t interval excludes "no
// change" exactly where Holm's test rejects it.
std::vector<double> HolmConfidences(const std::vector<Pair>& pairs, double confidence) {
  std::vector<double> p_values;
  for (const Pair& pair : pairs) {
    p_values.push_back(
        RatioPValue(pair.a.units, pair.b.units, pair.a.NoiseVariance() + pair.b.NoiseVariance()));
  }
  std::vector<std::size_t> order(pairs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    return p_values[left] < p_values[right];
  });
  std::vector<double> confidences(pairs.size());
  std::size_t left = pairs.size();
  bool rejecting = true;
  for (const std::size_t i : order) {
    confidences[i] = 1 - (1 - confidence) / static_cast<double>(left);
    if (!rejecting) continue;
    const Interval change = ChangeOf(pairs[i].a, pairs[i].b, confidences[i]);
    rejecting = change.low > 1 || change.high < 1;
    if (rejecting) --left;
  }
  return confidences;
}

// How many more runs (or nodes) a side would bring the interval's half width to the margin, if they
// vary as those that there are.
int MoreRuns(const Sample& a, const Sample& b, const CompareRow& row) {
  const auto half_width = [&](int more) {
    const auto n_a = static_cast<double>(a.runs) + more;
    const auto n_b = static_cast<double>(b.runs) + more;
    const double part_a = a.run_variance / n_a;
    const double part_b = b.run_variance / n_b;
    const double variance = part_a + part_b;
    if (variance <= 0) return 0.0;
    const double df =
        variance * variance / (part_a * part_a / (n_a - 1) + part_b * part_b / (n_b - 1));
    return row.change.estimate * std::sinh(StudentT(row.confidence, df) * std::sqrt(variance));
  };
  int low = 1;
  int high = kManyRuns;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (half_width(middle) <= row.margin) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

void AddNote(CompareRow& row, const std::string& note) {
  row.note += (row.note.empty() ? "" : "; ") + note;
}

void PricePerDollar(const Pair& pair, const Side& a, const Side& b, CompareRow& row) {
  const std::optional<double> cost_a = CostOf(pair.runs_a, a.offer);
  const std::optional<double> cost_b = CostOf(pair.runs_b, b.offer);
  if (!cost_a || !cost_b) return;
  std::string why = NotPriced(pair.runs_a, pair.kind);
  if (why.empty()) why = NotPriced(pair.runs_b, pair.kind);
  if (!why.empty()) {
    AddNote(row, "not per dollar: " + why);
    return;
  }
  const Interval envelope = PriceEnvelope(*cost_a, *cost_b, *a.offer, *b.offer);
  row.per_usd_change = envelope.estimate;
  if (envelope.low < envelope.high) row.per_usd_envelope = envelope;
  row.per_usd_verdict = Judge(Widened(envelope, row.change), row.margin);
}

CompareRow RowOf(const Pair& pair, double confidence, const CompareOptions& options) {
  CompareRow row = {.probe = pair.any->probe,
                    .backend = pair.backend_b,
                    .params = pair.any->params,
                    .baseline = SpeedOf(pair.runs_a),
                    .candidate = SpeedOf(pair.runs_b),
                    .unit = Speed(*pair.runs_b.front().records.front())->unit,
                    .change = ChangeOf(pair.a, pair.b, confidence),
                    .confidence = confidence,
                    .between_runs = NoiseWords({&pair.a, &pair.b}),
                    .margin = MarginOf(pair.any->probe, options)};
  row.change.level = pair.a.level == pair.b.level ? "each side: " + pair.a.level
                                                  : pair.b.level + " against " + pair.a.level;
  row.verdict = Judge(row.change, row.margin);
  row.resolution = row.change.HalfWidth();
  if (row.resolution > row.margin) row.more_runs = MoreRuns(pair.a, pair.b, row);
  if (pair.backend_a != pair.backend_b) {
    AddNote(row, fmt::format("{} against {}", pair.backend_a, pair.backend_b));
  }
  const std::string cached_a = CachedText(pair.runs_a);
  const std::string cached_b = CachedText(pair.runs_b);
  if (cached_a == cached_b && !cached_a.empty()) AddNote(row, cached_a);
  if (cached_a != cached_b && !cached_a.empty()) AddNote(row, "baseline " + cached_a);
  if (cached_a != cached_b && !cached_b.empty()) AddNote(row, "candidate " + cached_b);
  const int method_a = pair.runs_a.front().records.front()->method;
  const int method_b = pair.runs_b.front().records.front()->method;
  if (method_a != method_b) {
    AddNote(row, fmt::format("method {} against {}", method_a, method_b));
  }
  return row;
}

// The first few of a list, for one sentence.
std::string First(const std::vector<std::string>& words) {
  constexpr std::size_t kShown = 3;
  if (words.empty()) return "nothing";
  const auto shown = static_cast<std::ptrdiff_t>(std::min(words.size(), kShown));
  std::string text = fmt::format("{}", fmt::join(words.begin(), words.begin() + shown, ", "));
  if (words.size() > kShown) text += fmt::format(" and {} more", words.size() - kShown);
  return Clean(text, 1024);
}

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
      break;
  }
  return "unclear";
}

Verdict Judge(const Interval& change, double margin) {
  const double low = change.low - 1;
  const double high = change.high - 1;
  if (-margin < low && high < margin) return Verdict::kSame;
  if (low > 0) return Verdict::kFaster;
  if (high < 0) return Verdict::kSlower;
  return Verdict::kUnclear;
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
  Matched matched = Match(a, b, options.force);
  if (matched.pairs.empty()) {
    throw Error(fmt::format(
        "the two sides have no case in common{}; only in the baseline: {}; only in the candidate: "
        "{}; measure the same probes and params on both",
        matched.refused.empty() ? "" : " that can be compared (" + First(matched.refused) + ")",
        First(matched.only_a), First(matched.only_b)));
  }

  const bool mixed = DivisionsDiffer({&a, &b});
  const std::vector<double> confidences = HolmConfidences(matched.pairs, options.confidence);
  std::vector<const Sample*> samples;
  for (std::size_t i = 0; i < matched.pairs.size(); ++i) {
    const Pair& pair = matched.pairs[i];
    CompareRow row = RowOf(pair, confidences[i], options);
    if (!mixed || options.force) PricePerDollar(pair, a, b, row);
    comparison.rows.push_back(std::move(row));
    samples.push_back(&pair.a);
    samples.push_back(&pair.b);
  }

  std::vector<std::string>& notes = comparison.notes;
  std::ranges::move(left_out, std::back_inserter(notes));
  if (mixed) {
    notes.push_back(options.force ? "different software: closed runs against open ones"
                                  : "different software: closed runs against open ones, so that "
                                    "nothing is said per dollar (--force does)");
  }
  for (const Side* side : {&a, &b}) {
    for (std::string& sentence : IncompleteOf(*side)) notes.push_back(std::move(sentence));
  }
  if (const std::string noise = NoiseNote(samples); !noise.empty()) notes.push_back(noise);
  if (!SpeaksForItsType(a) || !SpeaksForItsType(b)) {
    notes.push_back(
        "fewer than three nodes of one type on a side: this is about this node and that one, not "
        "about instance types");
  }
  for (std::string& sentence : matched.refused) notes.push_back(std::move(sentence));
  comparison.only_baseline = std::move(matched.only_a);
  comparison.only_candidate = std::move(matched.only_b);
  comparison.differences = DifferencesOf(a, b);
  return comparison;
}

}  // namespace assay
