#include "results/figures/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "results/base/size.h"
#include "results/base/text.h"
#include "results/figures/figures.h"
#include "results/figures/probes.h"

namespace assay {
namespace {

// Fits a model by relative residuals: each point is divided by its time, and the model is fitted
// to 1.
CostModel Fitted(std::span<const SizeTime> sweep, bool with_start, bool with_rate) {
  double aa = 0, ab = 0, bb = 0, a1 = 0, b1 = 0;
  for (const SizeTime& point : sweep) {
    const double a = 1 / point.seconds;
    const double b = point.bytes / point.seconds;
    aa += a * a, ab += a * b, bb += b * b, a1 += a, b1 += b;
  }
  CostModel model = {.points = sweep.size()};
  if (with_start && with_rate) {
    const double determinant = aa * bb - ab * ab;
    model.start_s = (a1 * bb - b1 * ab) / determinant;
    model.per_byte_s = (aa * b1 - ab * a1) / determinant;
  } else if (with_start) {
    model.start_s = a1 / aa;
  } else {
    model.per_byte_s = b1 / bb;
  }
  double squares = 0;
  for (const SizeTime& point : sweep) {
    const double residual = model.At(point.bytes) / point.seconds - 1;
    squares += residual * residual;
  }
  model.residual = std::sqrt(squares / static_cast<double>(sweep.size()));
  return model;
}

// The key that tells one sweep from another: everything but the size.
std::string SweepOf(const Record& record) {
  Params params = record.params;
  params.erase("bytes");
  return fmt::format("{}/{}/{}", record.probe, record.backend, ToText(params));
}

std::string ParamText(const Record& record, const std::string& name) {
  const auto found = record.params.find(name);
  return found == record.params.end() ? "" : " " + ToText(found->second);
}

std::int64_t BytesOf(const Record* record) { return record->work.bytes.value_or(0); }

std::vector<SizeTime> SizeTimesOf(const Fit& fit) {
  std::vector<SizeTime> sweep;
  for (const Record* record : fit.sweep) {
    sweep.push_back(
        {.bytes = static_cast<double>(BytesOf(record)), .seconds = UsualTime(*record).value_or(0)});
  }
  return sweep;
}

// The lines with projected times, a row for each number of ranks.
std::string ProjectionText(const CostModel& model, const Record& any, double measured,
                           std::span<const SizeTime> sweep, std::int64_t project_to) {
  const double sizes[] = {sweep.front().bytes, sweep[sweep.size() / 2].bytes, sweep.back().bytes};
  std::string text =
      "#   projection, not measured: as if a step's latency and a link's rate stayed the same with "
      "more ranks\n#   us  ";
  for (const double size : sizes) text += fmt::format("{:>14.0f} B: ring {:>11}", size, "tree");
  text += "\n";
  for (std::int64_t ranks = 16; ranks <= project_to; ranks *= 2) {
    text += fmt::format("#{:6}", ranks);
    for (const double size : sizes) {
      for (const Steps steps : {Steps::kRing, Steps::kTree}) {
        const double seconds =
            Project(model, any.probe, steps, measured, static_cast<double>(ranks), size);
        text += fmt::format("{:>{}.2f}", seconds * 1e6, steps == Steps::kRing ? 22 : 12);
      }
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::optional<CostModel> FitCost(std::span<const SizeTime> sweep) {
  if (sweep.size() < 3) return std::nullopt;
  for (const SizeTime& point : sweep) {
    if (!(point.seconds > 0) || !(point.bytes >= 0) || !std::isfinite(point.seconds)) {
      return std::nullopt;
    }
  }
  const auto [least, most] =
      std::ranges::minmax_element(sweep, {}, [](const SizeTime& point) { return point.bytes; });
  if (least->bytes == most->bytes) return std::nullopt;
  // Noise may make a term negative, which means nothing; it is then fitted without that term.
  const CostModel both = Fitted(sweep, true, true);
  if (both.start_s < 0) return Fitted(sweep, false, true);
  if (both.per_byte_s < 0) return Fitted(sweep, true, false);
  return both;
}

double StepsOf(std::string_view operation, Steps steps, double ranks) {
  const double pass = steps == Steps::kRing ? ranks - 1 : std::ceil(std::log2(ranks));
  switch (FindProbe(operation).steps) {
    case StepCount::kOne:
      return 1;
    case StepCount::kEachOther:
      return ranks - 1;
    case StepCount::kOnePass:
      return pass;
    case StepCount::kTwoPasses:
      break;
  }
  return 2 * pass;
}

double Project(const CostModel& model, std::string_view operation, Steps steps, double measured,
               double ranks, double bytes) {
  const auto moved = [&](double n) {
    return FactorOf(FindProbe(operation).bus_factor, static_cast<std::int64_t>(n)).value_or(1);
  };
  return model.start_s * StepsOf(operation, steps, ranks) / StepsOf(operation, steps, measured) +
         model.per_byte_s * moved(ranks) / moved(measured) * bytes;
}

std::vector<Fit> FitSweeps(std::span<const Record> records) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const Record*>> sweeps;
  for (const Record& record : records) {
    if (!BusBandwidth(record)) continue;
    const std::string name = SweepOf(record);
    std::vector<const Record*>& sweep = sweeps[name];
    if (sweep.empty()) order.push_back(name);
    sweep.push_back(&record);
  }
  std::vector<Fit> fits;
  for (const std::string& name : order) {
    Fit fit = {.sweep = std::move(sweeps[name])};
    std::ranges::stable_sort(fit.sweep, {}, BytesOf);
    const std::optional<CostModel> model = FitCost(SizeTimesOf(fit));
    if (!model) continue;
    fit.model = *model;
    fits.push_back(std::move(fit));
  }
  return fits;
}

std::string FitLabel(const Fit& fit) {
  const Record& any = *fit.sweep.front();
  const std::string group = ParamText(any, "group");
  return fmt::format("{}{}{}{}{}", any.backend, ParamText(any, "algo"), ParamText(any, "mode"),
                     ParamText(any, "placement"), group.empty() ? "" : " group" + group);
}

std::string CostModelText(std::span<const Record> records, std::optional<std::int64_t> project_to) {
  std::string text;
  for (const Fit& fit : FitSweeps(records)) {
    const Record& any = *fit.sweep.front();
    const CostModel& model = fit.model;
    text += fmt::format("# fit {}: T = {:.3g} us", FitLabel(fit), model.start_s * 1e6);
    if (model.per_byte_s > 0) {
      text += fmt::format(" + S / {:.4g} GB/s; half of it at {:.0f} B", 1e-9 / model.per_byte_s,
                          model.start_s / model.per_byte_s);
    }
    text += fmt::format("; residual {} over {} sizes\n", Percent(model.residual), model.points);
    const auto ranks = any.params.find("ranks");
    const auto* measured =
        ranks == any.params.end() ? nullptr : std::get_if<std::int64_t>(&ranks->second);
    if (project_to && measured != nullptr && *measured > 1) {
      text +=
          ProjectionText(model, any, static_cast<double>(*measured), SizeTimesOf(fit), *project_to);
    }
  }
  return text;
}

std::vector<const Record*> InOrderOfSizes(const std::vector<const Record*>& records) {
  using Sizes = std::map<std::string, Value>;
  const auto sizes_of = [](const Record& record) {
    Sizes sizes;
    for (const auto& [name, value] : record.params) {
      if (IsSize(name)) sizes.emplace(name, value);
    }
    return sizes;
  };
  std::map<std::tuple<std::string, std::string, Params>, std::vector<std::size_t>> sweeps;
  for (std::size_t i = 0; i < records.size(); ++i) {
    Params others = records[i]->params;
    std::erase_if(others, [](const auto& param) { return IsSize(param.first); });
    sweeps[{records[i]->probe, records[i]->backend, std::move(others)}].push_back(i);
  }
  std::vector<const Record*> ordered(records.size());
  for (const auto& [key, places] : sweeps) {
    std::vector<std::pair<Sizes, const Record*>> rising;
    for (const std::size_t i : places) rising.emplace_back(sizes_of(*records[i]), records[i]);
    std::ranges::stable_sort(rising, {}, &std::pair<Sizes, const Record*>::first);
    for (std::size_t i = 0; i < places.size(); ++i) ordered[places[i]] = rising[i].second;
  }
  return ordered;
}

std::vector<const Record*> InOrderOfSizes(const std::vector<Record>& records) {
  std::vector<const Record*> pointers;
  for (const Record& record : records) pointers.push_back(&record);
  return InOrderOfSizes(pointers);
}

}  // namespace assay
