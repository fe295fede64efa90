#include "kernels/headline.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "runner/random.h"

namespace assay {
namespace {

struct Part {
  std::string name = {};
  std::unique_ptr<Workload> workload = {};
};

void Add(Batch& sum, const Batch& more) {
  sum.time += more.time;
  sum.host += more.host;
  sum.per_unit.resize(std::max(sum.per_unit.size(), more.per_unit.size()));
  for (std::size_t i = 0; i < more.per_unit.size(); ++i) sum.per_unit[i] += more.per_unit[i];
}

// How much of its tolerance an answer used; where nothing is allowed, any error is beyond all.
bool NearerToItsTolerance(const Checked& a, const Checked& b) {
  return a.max_error * b.tolerance > b.max_error * a.tolerance;
}

class InTurn : public Workload {
 public:
  explicit InTurn(std::vector<Part> parts) : parts_(std::move(parts)) {}

  Batch Run(std::int64_t iterations) override {
    Batch sum;
    for (std::int64_t i = 0; i < iterations; ++i) {
      for (Part& part : parts_) Add(sum, part.workload->Run(1));
    }
    return sum;
  }

  Checked Verify() override {
    std::optional<Checked> total;
    for (Part& part : parts_) {
      Checked one = part.workload->Verify();
      if (one.what) one.what = fmt::format("{}: {}", part.name, *one.what);
      if (!total) {
        total = std::move(one);
        continue;
      }
      total->checked += one.checked;
      total->wrong += one.wrong;
      if (!total->what) total->what = one.what;
      if (NearerToItsTolerance(one, *total)) {
        total->max_error = one.max_error;
        total->tolerance = one.tolerance;
      }
    }
    return total.value_or(Checked{});
  }

  // What all agree on once, the rest by part: "qkv.pack_s".
  Facts Describe() const override {
    std::vector<Facts> each;
    for (const Part& part : parts_) each.push_back(part.workload->Describe());
    Facts facts;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      for (const auto& [name, fact] : each[i]) {
        const bool agreed = std::all_of(each.begin(), each.end(), [&](const Facts& other) {
          const auto found = other.find(name);
          return found != other.end() && found->second == fact;
        });
        facts[agreed ? name : fmt::format("{}.{}", parts_[i].name, name)] = fact;
      }
    }
    return facts;
  }

 private:
  std::vector<Part> parts_;
};

std::optional<std::int64_t> Sum(std::optional<std::int64_t> a, std::optional<std::int64_t> b) {
  if (!a || !b) return std::nullopt;
  return *a + *b;
}

}  // namespace

std::vector<Step> HeadlineSteps(std::int64_t tokens, const Gemm& like) {
  constexpr std::int64_t kHidden = 8192;
  constexpr std::int64_t kFeedForward = 28672;
  constexpr std::int64_t kHeads = 64;
  constexpr std::int64_t kHeadsKv = 8;
  constexpr std::int64_t kHeadDim = 128;
  const auto step = [&](const char* name, std::int64_t n, std::int64_t k) {
    Gemm gemm = like;
    gemm.m = tokens;
    gemm.n = n;
    gemm.k = k;
    return Step{.name = name, .op = gemm};
  };
  return {step("qkv", (kHeads + 2 * kHeadsKv) * kHeadDim, kHidden),
          step("o", kHidden, kHeads * kHeadDim), step("gate_up", 2 * kFeedForward, kHidden),
          step("down", kHidden, kFeedForward)};
}

Prepared PrepareInTurn(Backend& backend, const std::vector<Step>& steps, const Device& device,
                       std::uint64_t seed) {
  std::vector<Part> parts;
  for (const Step& step : steps) {
    Prepared prepared = backend.Prepare(step.op, device, RandomAt(seed, parts.size()));
    if (Skipped* no = std::get_if<Skipped>(&prepared)) {
      return Skipped{.reason = fmt::format("{}: {}", step.name, no->reason), .remedy = no->remedy};
    }
    parts.push_back(
        {.name = step.name, .workload = std::move(std::get<std::unique_ptr<Workload>>(prepared))});
  }
  return std::make_unique<InTurn>(std::move(parts));
}

Work TotalOf(const std::vector<Work>& works) {
  Work total = works.front();
  for (std::size_t i = 1; i < works.size(); ++i) {
    total.flops = Sum(total.flops, works[i].flops);
    total.bytes = Sum(total.bytes, works[i].bytes);
    total.bytes_min = Sum(total.bytes_min, works[i].bytes_min);
    total.ops = Sum(total.ops, works[i].ops);
  }
  return total;
}

}  // namespace assay
