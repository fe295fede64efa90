#include "results/show/notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <variant>

#include "results/base/text.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"

namespace assay {
namespace {

// The name of a device as far as it tells devices apart: "node 1 cuda:3".
std::string DeviceText(const Run& run, const Record& record, const Unit& unit) {
  const bool is_gpu = record.device.kind == "gpu";
  std::string text = is_gpu ? DeviceName(record.device.kind, unit.device) : "";
  if (run.nodes.size() > 1 || !is_gpu) {
    text = fmt::format("node {}{}{}", unit.node, text.empty() ? "" : " ", text);
  }
  return text;
}

// The exposed time of a step with its interval. Noise may take both below 0, where no time lies.
std::string ExposedText(const OverlapFigure& overlap) {
  std::string text = "exposed " + Duration(std::max(0.0, overlap.exposed_s));
  if (!overlap.exposed_low_s || !overlap.exposed_high_s) return text;
  const double half_width = *overlap.exposed_high_s - overlap.exposed_s;
  if (half_width <= kWidestPlusMinus * overlap.exposed_s)
    return text + " ± " + Duration(half_width);
  return text + fmt::format(" ({} .. {})", Duration(std::max(0.0, *overlap.exposed_low_s)),
                            Duration(std::max(0.0, *overlap.exposed_high_s)));
}

}  // namespace

std::string NotesOf(const Run& run, const Record& record, const RunFigures& figures,
                    const Chosen& price) {
  std::string note = CachedText(run, record);
  if (const auto bus = BusBandwidth(record)) AddNote(note, "bus " + WithPrefix(*bus, "B/s"));
  if (const std::string overlap = OverlapText(record); !overlap.empty()) AddNote(note, overlap);
  if (const std::string standing = StandingText(Assess(figures.Type(), record));
      !standing.empty()) {
    AddNote(note, standing);
  }
  if (const auto stable = StableSpeed(record)) {
    AddNote(note, "stable " + WithPrefix(stable->value, stable->unit));
  }
  if (const auto node = figures.Node(record); node && node->slowest_alone) {
    AddNote(note, fmt::format("together {}; alone: slowest {}, sum {}",
                              WithPrefix(node->together.value, node->together.unit),
                              WithPrefix(*node->slowest_alone, node->together.unit),
                              WithPrefix(*node->sum_alone, node->together.unit)));
  }
  if (const auto in_cache = record.facts.find("in_cache");
      in_cache != record.facts.end() && in_cache->second == Fact(true)) {
    AddNote(note, "in cache");
  }
  if (const auto of = OfPeakOf(run, record, figures.Devices())) {
    AddNote(note, Percent(of->of_spec) + " of the data sheet");
    if (of->of_clock) {
      note += fmt::format(", {} at the {:.0f} MHz that it ran at", Percent(*of->of_clock),
                          *of->clock_mhz);
    }
    if (std::max(of->of_spec, of->of_clock.value_or(0)) > kSuspiciousAbove) {
      AddNote(note, "suspicious: above its peak");
    }
  }
  if (const auto power = PowerOf(record)) {
    AddNote(note, fmt::format("{:.0f} W", power->watts));
    if (power->joules_per_tflop) {
      AddNote(note, fmt::format("{:.3g} J per TFLOP", *power->joules_per_tflop));
    }
    if (power->held_back == "power-capped") AddNote(note, "power-capped (expected at full load)");
    if (power->held_back == "thermal") AddNote(note, "held back by heat");
    if (power->held_back == "power-brake") AddNote(note, "held back by the power supply's brake");
  }
  if (const std::string unrest = UnrestText(record); !unrest.empty()) AddNote(note, unrest);
  if (const std::string paced = PacingText(record); !paced.empty()) AddNote(note, paced);
  if (const auto stalls = MeanToMedian(record); stalls && *stalls > kSuspiciousAbove) {
    AddNote(note, "mean time " + Percent(*stalls - 1, true) + " to the median");
  }
  if (const auto here = OfHere(record); here && *here > kSuspiciousAbove) {
    AddNote(note, "suspicious: above its bound of here");
  }
  if (const auto& part = figures.Used(record)) AddNote(note, *part + " used");
  if (record.status == Status::kPartial) AddNote(note, "partial: " + Clean(record.reason));
  if (!record.complete) AddNote(note, CountText(record.rounds.size(), "round") + " only");
  if (const std::string why = WhyUnpriced(run, record, figures.Type());
      UsdPerNodeHour(price) && !why.empty()) {
    AddNote(note, "no price: " + why);
  }
  return note;
}

std::string IntervalText(const Interval& interval, const Rate& speed) {
  const double half_width = interval.HalfWidth();
  return fmt::format(
      "{} ({})",
      half_width > kWidestPlusMinus
          ? RangeWithPrefix(speed.value * interval.low, speed.value * interval.high, speed.unit)
          : "±" + Percent(half_width),
      interval.level);
}

std::string OverlapText(const Record& record) {
  const std::optional<OverlapFigure> overlap = OverlapOf(record);
  if (!overlap) return "";
  std::string text = ExposedText(*overlap);
  text += fmt::format(" of {}, {} hidden; GEMM {} alone, {} together; bus {} alone, {} together",
                      Duration(UsualTime(record).value_or(0)), Percent(overlap->hidden),
                      WithPrefix(overlap->compute_alone, "FLOP/s"),
                      WithPrefix(overlap->compute_together, "FLOP/s"),
                      WithPrefix(overlap->communicate_alone, "B/s"),
                      WithPrefix(overlap->communicate_together, "B/s"));
  const auto shared = record.facts.find("shared_cores");
  if (shared != record.facts.end() && shared->second == Fact(true)) {
    text += "; both on the same cores";
  }
  return text;
}

std::string TestFileText(const Record& record) {
  const auto by = record.facts.find("file_sized_by");
  const auto bytes = record.facts.find("file_bytes");
  if (by == record.facts.end() || bytes == record.facts.end()) return "";
  const auto* why = std::get_if<std::string>(&by->second);
  const auto* size = std::get_if<std::int64_t>(&bytes->second);
  if (why == nullptr || size == nullptr) return "";
  std::string text = fmt::format("test file of {}, sized by {}", BinarySize(*size), Clean(*why));
  const auto speed = record.facts.find("fill_bytes_per_s");
  if (speed == record.facts.end()) return text;
  const auto* per_second = std::get_if<double>(&speed->second);
  if (per_second != nullptr) text += fmt::format(" (at {})", WithPrefix(*per_second, "B/s"));
  return text;
}

std::string OutcomeOf(const Record& record) {
  std::string text = record.status == Status::kWrong ? "WRONG" : std::string(ToText(record.status));
  std::string reason = Clean(record.reason, 1024);
  if (record.status == Status::kWrong) {
    if (reason.empty() && record.verify) {
      reason = fmt::format("{} of {} checked elements differ from the reference ({})",
                           record.verify->wrong, record.verify->checked,
                           Clean(record.verify->what.value_or("no element is named")));
    }
    reason += "; not timed";
  }
  if (!reason.empty()) text += ": " + reason;
  if (!record.remedy.empty()) text += "; try: " + Clean(record.remedy, 1024);
  return text;
}

std::vector<DeviceNote> DeviceNotesOf(const Run& run, const Record& record,
                                      const std::optional<Health>& health) {
  std::vector<DeviceNote> notes;
  if (!health) return notes;
  const bool are_several = health->devices.size() > 1;
  for (std::size_t i = 0; i < health->devices.size(); ++i) {
    const DeviceHealth& device = health->devices[i];
    const bool is_well = device.standing == Standing::kOk;
    if (!are_several && is_well) continue;
    std::string text = WithPrefix(device.speed.value, device.speed.unit);
    if (device.clock_mhz) text += fmt::format(", {:.0f} MHz", *device.clock_mhz);
    if (device.temperature_c) text += fmt::format(", {:.0f} °C", *device.temperature_c);
    if (are_several && i == health->slowest) {
      text += fmt::format(", the slowest; all lie within {}", Percent(health->spread));
    }
    if (!is_well) text += fmt::format("; {}: {}", ToText(device.standing), device.why);
    notes.push_back({.device = DeviceText(run, record, device.unit),
                     .text = std::move(text),
                     .is_well = is_well});
  }
  return notes;
}

}  // namespace assay
