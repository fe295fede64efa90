// Scripted stand-ins for whatever is slow, absent or random, so that the whole line from a case to
// a page is tested in milliseconds on any machine.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/figures/steady.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The script of what a FakeWorkload does in one visit. Runs and verifications count from 1; 0 is
// never.
struct Script {
  std::vector<double> iteration_s = {1e-3};  // of one iteration, run by run; the last one repeats
  std::vector<double> unit_share = {};       // each unit's time as a share of the slowest's
  double untimed_s = 0;                      // what each iteration costs the host beside its time
  double host_share = 0;                     // Batch::host as a multiple of the time
  double stable_share = 0;                   // Batch::stable likewise
  std::map<std::string, double> phase_share = {};  // Batch::phases likewise
  int throws_at_run = 0;
  std::string error = "the device is lost; restart the driver";
  int wrong_at_verify = 0;
  Skipped skipped = {};  // with a reason: prepare answers this
  Facts facts = {};
  std::optional<Work> work = {};  // known only once it is made
};

// The log of what happened, which all workloads of a test share: "prepare", "run 16", "verify",
// "release".
struct FakeLog {
  std::vector<std::string> events = {};
  Seconds now = Seconds(0);  // the host's clock, moved on by each run
  std::function<Seconds()> Clock() {
    return [this] { return now; };
  }
};

class FakeWorkload : public Workload {
 public:
  FakeWorkload(Script script, FakeLog& log) : script_(std::move(script)), log_(log) {
    log_.events.push_back("prepare");
  }
  ~FakeWorkload() override { log_.events.push_back("release"); }

  Batch Run(std::int64_t iterations) override {
    log_.events.push_back("run " + std::to_string(iterations));
    if (++runs_ == script_.throws_at_run) throw Error(script_.error);
    const std::size_t last = script_.iteration_s.size() - 1;
    const double iteration_s =
        script_.iteration_s[std::min(static_cast<std::size_t>(runs_ - 1), last)];
    Batch batch;
    batch.time = Seconds(iteration_s * static_cast<double>(iterations));
    for (const double share : script_.unit_share) batch.per_unit.push_back(batch.time * share);
    batch.host = batch.time * script_.host_share;
    if (script_.stable_share > 0) batch.stable = batch.time * script_.stable_share;
    for (const auto& [phase, share] : script_.phase_share) batch.phases[phase] = batch.time * share;
    log_.now += batch.time + Seconds(script_.untimed_s * static_cast<double>(iterations));
    counted_ += iterations;
    return batch;
  }

  // Each span has as many iterations as its time has room for, run by run, and one more.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    log_.events.push_back("spans " + std::to_string(spans.count));
    std::vector<Batch> all;
    log_.now += spans.ramp;
    for (int i = 0; i < spans.count; ++i) {
      const double iteration_s =
          script_
              .iteration_s[std::min(static_cast<std::size_t>(i), script_.iteration_s.size() - 1)];
      const std::int64_t iterations =
          1 + static_cast<std::int64_t>(spans.length.count() / iteration_s);
      all.push_back({.time = Seconds(iteration_s * static_cast<double>(iterations)),
                     .iterations = iterations});
      if (script_.stable_share > 0) all.back().stable = all.back().time * script_.stable_share;
      log_.now += all.back().time;
      counted_ += iterations;
      if (spans.stop && spans.stop()) break;
    }
    return all;
  }

  Checked Verify() override {
    log_.events.push_back("verify");
    Checked checked = {.checked = 100, .tolerance = 1e-3, .reference = "script"};
    if (++verifications_ == script_.wrong_at_verify) {
      checked.wrong = 1;
      checked.what = "element (3, 5) is 2, should be 1";
    }
    return checked;
  }

  Facts Describe() const override { return script_.facts; }
  std::optional<Work> OneIteration() const override { return script_.work; }

  // Every iteration so far, in bucket 7.
  std::map<std::string, Histogram> Histograms() const override {
    return {{"latency_s", {.counts = {{7, counted_}}}}};
  }

 private:
  Script script_;
  FakeLog& log_;
  int runs_ = 0;
  int verifications_ = 0;
  std::int64_t counted_ = 0;
};

// A case of 1e9 flops an iteration that follows scripts[0] in its first visit, and so on; the last
// script repeats.
inline Case FakeCase(const std::string& name, std::vector<Script> scripts, FakeLog& log) {
  auto visits = std::make_shared<std::size_t>(0);
  return {.probe = "fake",
          .params = {{"name", name}},
          .backend = "script",
          .work = {.flops = 1'000'000'000, .formula = "fake/1e9"},
          .units = {Unit{}},
          .prepare = [scripts = std::move(scripts), visits, &log](std::uint64_t) -> Prepared {
            const Script& script = scripts[std::min((*visits)++, scripts.size() - 1)];
            if (!script.skipped.reason.empty()) return script.skipped;
            return std::make_unique<FakeWorkload>(script, log);
          }};
}

// A meter of GPUs whose temperature and clock are functions of the time, read every second.
class ScriptedMeter : public Meter {
 public:
  using Of = std::function<double(double now_s)>;
  struct Gpu {
    Of celsius = {};
    Of mhz = [](double) { return 2000; };
  };
  ScriptedMeter(std::function<Seconds()> now, std::vector<Gpu> gpus)
      : now_(std::move(now)), gpus_(std::move(gpus)) {}
  std::vector<Telemetry> Begin() override {
    begin_ = now_();
    return Finish(Seconds(0));
  }
  std::vector<std::optional<Fitted>> Trends(Seconds later) override {
    std::vector<std::optional<Fitted>> trends;
    for (const Telemetry& seen : Finish(later)) {
      for (const std::optional<Fitted>& one : FitTrends(seen, 0)) trends.push_back(one);
    }
    return trends;
  }
  std::vector<Telemetry> Finish(Seconds later) override {
    std::vector<Telemetry> all;
    const double end_s = now_().count();
    for (const Gpu& gpu : gpus_) {
      Telemetry& seen = all.emplace_back(Telemetry{.unit = static_cast<int>(all.size())});
      for (double now_s = (begin_ + later).count();; now_s = std::min(now_s + 1, end_s)) {
        seen.at_s.push_back(now_s - made_.count());
        seen.power_w.push_back(now_s);
        seen.sm_mhz.push_back(gpu.mhz(now_s));
        seen.temperature_c.push_back(gpu.celsius(now_s));
        if (now_s >= end_s) break;
      }
    }
    return all;
  }

 private:
  std::function<Seconds()> now_;
  std::vector<Gpu> gpus_;
  Seconds made_ = now_();
  Seconds begin_ = now_();
};

// Several ranks as threads of this process. Every rank of a FakeRanks::Run must make the same
// calls in the same order.
class FakeRanks : public Ranks {
 public:
  // Calls body once on each of `size` ranks at once, `per_node` to a node.
  static void Run(int size, const std::function<void(Ranks&)>& body, int per_node = 1 << 30) {
    Shared shared(size);
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([&shared, &body, rank, per_node] {
        FakeRanks ranks(shared, rank, per_node);
        body(ranks);
      });
    }
  }

  int Rank() const override { return rank_; }
  int Size() const override { return static_cast<int>(shared_.texts.size()); }
  int LocalRank() const override { return rank_ % per_node_; }
  int Node() const override { return rank_ / per_node_; }
  void Barrier() override { shared_.barrier.arrive_and_wait(); }

  std::string Broadcast(const std::string& text) override { return Exchange(text).front(); }

  std::vector<std::string> Gather(const std::string& text) override {
    std::vector<std::string> all = Exchange(text);
    return rank_ == 0 ? all : std::vector<std::string>();
  }

  void Max(std::span<double> values) override {
    shared_.values[static_cast<std::size_t>(rank_)].assign(values.begin(), values.end());
    Barrier();
    std::vector<double> most(values.begin(), values.end());
    for (const std::vector<double>& other : shared_.values) {
      for (std::size_t i = 0; i < most.size(); ++i) most[i] = std::max(most[i], other[i]);
    }
    Barrier();
    std::copy(most.begin(), most.end(), values.begin());
  }

 private:
  struct Shared {
    explicit Shared(int size)
        : barrier(size),
          texts(static_cast<std::size_t>(size)),
          values(static_cast<std::size_t>(size)) {}
    std::barrier<> barrier;
    std::vector<std::string> texts;
    std::vector<std::vector<double>> values;
  };

  FakeRanks(Shared& shared, int rank, int per_node)
      : shared_(shared), rank_(rank), per_node_(per_node) {}

  // Every rank's text, on every rank.
  std::vector<std::string> Exchange(const std::string& text) {
    shared_.texts[static_cast<std::size_t>(rank_)] = text;
    Barrier();
    std::vector<std::string> all = shared_.texts;
    Barrier();
    return all;
  }

  Shared& shared_;
  int rank_;
  int per_node_;
};

}  // namespace assay
