#include "kernels/compound.h"

#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "results/base/error.h"
#include "results/figures/steady.h"
#include "runner/core/random.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

// The answers of the parts, each with the part's name.
template <class T>
using Said = std::vector<std::pair<std::string, T>>;

// Whether `a` used more of its tolerance than `b` did. Where nothing is allowed, any error is
// beyond every other.
bool NearerToItsTolerance(const Checked& a, const Checked& b) {
  return a.max_error * b.tolerance > b.max_error * a.tolerance;
}

// Adds up what was checked and what was wrong; the error is the one that is nearest to its
// tolerance.
Checked AllOf(Said<Checked> parts) {
  std::optional<Checked> total;
  for (auto& [name, one] : parts) {
    if (one.what) one.what = fmt::format("{}: {}", name, *one.what);
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

// Merges facts: one on which all parts agree stands once, any other once a part: "qkv.pack_s".
Facts AllOf(const Said<Facts>& parts) {
  Facts facts;
  for (const auto& [part, own] : parts) {
    for (const auto& [name, fact] : own) {
      const bool agreed = std::ranges::all_of(parts, [&](const auto& other) {
        const auto found = other.second.find(name);
        return found != other.second.end() && found->second == fact;
      });
      facts[agreed ? name : fmt::format("{}.{}", part, name)] = fact;
    }
  }
  return facts;
}

// The sum; nothing where one of the two is absent. Throws Error where it doesn't fit 63 bits.
std::optional<std::int64_t> Sum(std::optional<std::int64_t> a, std::optional<std::int64_t> b) {
  if (!a || !b) return std::nullopt;
  std::int64_t sum = 0;
  if (__builtin_add_overflow(*a, *b, &sum)) {
    throw Error("the work of this case is over 2^63; give smaller sizes");
  }
  return sum;
}

void Add(Batch& sum, const Batch& more) {
  sum.time += more.time;
  sum.host += more.host;
  sum.per_unit.resize(std::max(sum.per_unit.size(), more.per_unit.size()));
  for (std::size_t i = 0; i < more.per_unit.size(); ++i) sum.per_unit[i] += more.per_unit[i];
}

// The workload of PrepareTogether. It has a thread for each device, so that what a library keeps
// for each thread, such as CUDA's current device, is the device's own.
class Together : public Workload {
 public:
  ~Together() override {
    // A workload is destroyed in the thread that made it, since its handles may belong to that
    // thread's device.
    for (Part& part : parts_) part.thread->Give([&part] { part.workload = nullptr; });
    for (Part& part : parts_) part.thread->Wait();
  }

  // Has `prepare` called in the device's thread. Returns why it can't be, or nothing.
  std::optional<Skipped> Add(const std::string& name, const std::function<Prepared()>& prepare) {
    Part& part = parts_.emplace_back();
    part.name = name;
    Prepared prepared;
    part.Do([&] { prepared = prepare(); });
    if (Skipped* no = std::get_if<Skipped>(&prepared)) return std::move(*no);
    part.workload = std::move(std::get<std::unique_ptr<Workload>>(prepared));
    const bool meets = part.workload->BeginTogether([this] { meeting_->arrive_and_wait(); });
    all_meet_ = all_meet_ && meets;
    return std::nullopt;
  }

  Batch Run(std::int64_t iterations) override {
    if (!all_meet_) {
      for (Part& part : parts_) part.workload->BeginTogether({});
    }
    meeting_.emplace(static_cast<std::ptrdiff_t>(parts_.size()));
    std::vector<Batch> batches(parts_.size());
    OnAll([&](std::size_t i) {
      try {
        if (!all_meet_) meeting_->arrive_and_wait();
        batches[i] = parts_[i].workload->Run(iterations);
      } catch (...) {
        meeting_->arrive_and_drop();  // so that nobody waits for it
        throw;
      }
    });
    Batch all;
    for (const Batch& one : batches) {
      all.time = std::max(all.time, one.time);
      all.host = std::max(all.host, one.host);
      all.per_unit.push_back(one.time);
    }
    return all;
  }

  Checked Verify() override {
    Said<Checked> said;
    for (Part& part : parts_) {
      Checked checked;
      part.Do([&] { checked = part.workload->Verify(); });
      said.emplace_back(part.name, std::move(checked));
    }
    return AllOf(std::move(said));
  }

  Facts Describe() const override {
    Said<Facts> said;
    for (const Part& part : parts_) {
      Facts facts;
      part.Do([&] { facts = part.workload->Describe(); });
      said.emplace_back(part.name, std::move(facts));
    }
    return AllOf(said);
  }

 private:
  struct Part {
    std::string name = {};
    std::unique_ptr<Workload> workload = {};
    std::unique_ptr<TaskThread> thread = std::make_unique<TaskThread>();

    // Waits until the thread's task is done. An Error of it gets the device's name.
    void Wait() const {
      try {
        thread->Wait();
      } catch (const Error& error) {
        throw Error(fmt::format("{}: {}", name, error.what()));
      }
    }
    void Do(std::function<void()> task) const {
      thread->Give(std::move(task));
      Wait();
    }
  };

  // Calls `what` in each device's thread, and returns when all have ended.
  void OnAll(const std::function<void(std::size_t)>& what) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      parts_[i].thread->Give([&what, i] { what(i); });
    }
    std::exception_ptr first;
    for (const Part& part : parts_) {
      try {
        part.Wait();
      } catch (...) {
        if (!first) first = std::current_exception();
      }
    }
    if (first) std::rethrow_exception(first);
  }

  std::vector<Part> parts_ = {};
  // Whether every workload calls the meeting itself, right before it begins (BeginTogether).
  bool all_meet_ = true;
  std::optional<std::barrier<>> meeting_ = {};  // the common start of this batch
};

// The meter of MeterTogether.
class UnitMeter : public Meter {
 public:
  explicit UnitMeter(std::vector<std::unique_ptr<DeviceMeter>> meters) {
    for (std::size_t i = 0; i < meters.size(); ++i) {
      if (meters[i]) all_.push_back({.unit = static_cast<int>(i), .meter = std::move(meters[i])});
    }
  }

  std::vector<Telemetry> Begin() override {
    std::vector<Telemetry> readings;
    for (One& one : all_) {
      const Telemetry seen = one.meter->SoFar();
      one.begin_s = seen.at_s.back();
      Telemetry& reading = readings.emplace_back(Telemetry{.unit = one.unit,
                                                           .at_s = {seen.at_s.back()},
                                                           .sm_mhz = {seen.sm_mhz.back()},
                                                           .power_w = {seen.power_w.back()}});
      if (!seen.temperature_c.empty()) reading.temperature_c = {seen.temperature_c.back()};
    }
    return readings;
  }

  std::vector<std::optional<Fitted>> Trends(Seconds later) override {
    std::vector<std::optional<Fitted>> trends;
    for (const One& one : all_) {
      Telemetry seen = one.meter->SoFar();
      seen.unit = one.unit;
      std::ranges::move(FitTrends(seen, one.begin_s + later.count()), std::back_inserter(trends));
    }
    return trends;
  }

  std::vector<Telemetry> Finish(Seconds later) override {
    std::vector<Telemetry> telemetry;
    for (const One& one : all_) {
      telemetry.push_back(one.meter->Finish(Seconds(one.begin_s) + later));
      telemetry.back().unit = one.unit;
    }
    return telemetry;
  }

 private:
  struct One {
    int unit = 0;
    std::unique_ptr<DeviceMeter> meter = {};
    double begin_s = 0;
  };
  std::vector<One> all_ = {};
};

}  // namespace

Batch InTurn::Run(std::int64_t iterations) {
  Batch sum;
  for (std::int64_t i = 0; i < iterations; ++i) {
    for (Part& part : parts_) Add(sum, part.workload->Run(1));
  }
  return sum;
}

Checked InTurn::Verify() {
  Said<Checked> parts;
  for (Part& part : parts_) parts.emplace_back(part.name, part.workload->Verify());
  return AllOf(std::move(parts));
}

Facts InTurn::Describe() const {
  Said<Facts> parts;
  for (const Part& part : parts_) parts.emplace_back(part.name, part.workload->Describe());
  return AllOf(parts);
}

std::variant<std::vector<InTurn::Part>, Skipped> PrepareEach(
    const std::vector<Step>& steps, std::uint64_t seed,
    const std::function<Prepared(const Op& op, std::uint64_t seed)>& prepare) {
  std::vector<InTurn::Part> parts;
  for (const Step& step : steps) {
    Prepared prepared = prepare(step.op, RandomAt(seed, parts.size()));
    if (Skipped* no = std::get_if<Skipped>(&prepared)) {
      return Skipped{.reason = fmt::format("{}: {}", step.name, no->reason), .remedy = no->remedy};
    }
    parts.push_back(
        {.name = step.name, .workload = std::move(std::get<std::unique_ptr<Workload>>(prepared))});
  }
  return parts;
}

Prepared Backend::PrepareInTurn(const std::vector<Step>& steps, const Device& device,
                                std::uint64_t seed) {
  auto parts = PrepareEach(steps, seed, [&](const Op& op, std::uint64_t own_seed) {
    return Prepare(op, device, own_seed);
  });
  if (Skipped* no = std::get_if<Skipped>(&parts)) return std::move(*no);
  return std::make_unique<InTurn>(std::move(std::get<std::vector<InTurn::Part>>(parts)));
}

Prepared PrepareTogether(
    const std::vector<Device>& devices,
    const std::function<Prepared(const Device& device, std::uint64_t seed)>& prepare,
    std::uint64_t seed) {
  auto together = std::make_unique<Together>();
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const Device& device = devices[i];
    const std::optional<Skipped> no =
        together->Add(device.name, [&] { return prepare(device, RandomAt(seed, i)); });
    if (no) {
      return Skipped{.reason = fmt::format("{}: {}", device.name, no->reason),
                     .remedy = no->remedy};
    }
  }
  return together;
}

std::unique_ptr<Meter> MeterTogether(std::vector<std::unique_ptr<DeviceMeter>> meters) {
  return std::make_unique<UnitMeter>(std::move(meters));
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
