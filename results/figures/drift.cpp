#include "results/figures/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/labels.h"

namespace assay {
namespace {

constexpr std::size_t kFewestRounds = 5;
// The margin that `compare` has for networks.
constexpr double kMargin = 0.03;

}  // namespace

std::optional<Drift> DriftOf(const Record& record) {
  if (record.rounds.size() < kFewestRounds) return std::nullopt;
  std::vector<double> minutes;
  std::vector<double> logs;
  const Pacing pacing = PacingOf(record);
  for (std::size_t i = 0; i < record.rounds.size(); ++i) {
    if (pacing.counted[i].empty()) continue;
    minutes.push_back(record.rounds[i].start_s / 60);
    logs.push_back(std::log(TimeOf(pacing.counted[i], pacing.statistic)));
  }
  const double span = minutes.empty() ? 0 : minutes.back() - minutes.front();
  if (minutes.size() < kFewestRounds || !(span > 0)) return std::nullopt;
  const Slope slope = SlopeOf(minutes, logs);
  const auto after = [&](double x) {
    return Interval{.estimate = std::exp(-slope.value * x),
                    .low = std::exp(-(slope.value + slope.half_width) * x),
                    .high = std::exp(-(slope.value - slope.half_width) * x),
                    .units = static_cast<int>(minutes.size()),
                    .level = fmt::format("{} rounds, this run", minutes.size())};
  };
  return Drift{.per_minute = after(1), .over_all = after(span), .span_s = span * 60};
}

Verdict VerdictOn(const Drift& drift) { return Judge(drift.over_all, kMargin); }

std::string DriftText(std::span<const Record> records) {
  const auto percent = [](double factor) { return 100 * (factor - 1); };
  std::string text;
  for (const Record& record : records) {
    std::string says = "too few rounds to tell a drift";
    if (const std::optional<Drift> drift = DriftOf(record)) {
      const Interval& all = drift->over_all;
      const Verdict verdict = VerdictOn(*drift);
      says = fmt::format(
          "speed {:+.2f} %/min, {:+.1f} % over {:.0f} s ({:+.1f} to {:+.1f}, 95 %, {}): {}",
          percent(drift->per_minute.estimate), percent(all.estimate), drift->span_s,
          percent(all.low), percent(all.high), all.level,
          verdict == Verdict::kSame     ? fmt::format("steady within {} %", 100 * kMargin)
          : verdict == Verdict::kSlower ? "it slows down"
          : verdict == Verdict::kFaster ? "it speeds up"
                                        : "unclear");
    } else if (record.rounds.empty()) {
      says = ToText(record.status);
    }
    const Verification verify = record.verify.value_or(Verification{});
    text += fmt::format("# drift {} {}: {}; {} of {} checked elements wrong\n", record.backend,
                        CaseLabel(record.probe, record.params), says, verify.wrong, verify.checked);
  }
  return text;
}

}  // namespace assay
