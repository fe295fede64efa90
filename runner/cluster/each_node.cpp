#include "runner/cluster/each_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "results/base/error.h"
#include "results/file/json.h"
#include "results/file/nodes.h"

namespace assay {
namespace {

// A node's news travels as a record in JSON.
class EachNodeWorkload : public Workload {
 public:
  EachNodeWorkload(std::unique_ptr<Workload> own, Ranks& ranks)
      : own_(std::move(own)), ranks_(ranks) {}

  Batch Run(std::int64_t iterations) override {
    ranks_.Barrier();
    double longest_s[] = {0};
    const std::vector<Record> nodes = Collect(
        [&](Record& told) {
          const Batch batch = own_->Run(iterations);
          Visit& visit = told.rounds.emplace_back();
          visit.batch = iterations;
          visit.time_s = {longest_s[0] = batch.time.count()};
          if (batch.host.count() > 0) visit.host_time_s = {batch.host.count()};
          for (const Seconds& unit : batch.per_unit) visit.unit_p50_s.push_back(unit.count());
          visit.unit_max_s = visit.unit_p50_s;
        },
        longest_s);
    Batch slowest = {.time = Seconds(longest_s[0])};
    for (const Record& node : nodes) {
      const Visit& visit = node.rounds.at(0);
      if (visit.unit_p50_s.size() != nodes[0].rounds.at(0).unit_p50_s.size()) {
        throw Error(
            fmt::format("one node has {} devices for this case, another {}; hold nodes of one "
                        "type, or choose with --device",
                        nodes[0].rounds.at(0).unit_p50_s.size(), visit.unit_p50_s.size()));
      }
      const std::vector<double>& units = visit.unit_p50_s.empty() ? visit.time_s : visit.unit_p50_s;
      for (const double unit_s : units) slowest.per_unit.emplace_back(unit_s);
      for (const double host_s : visit.host_time_s) {
        slowest.host = std::max(slowest.host, Seconds(host_s));
      }
    }
    return slowest;
  }

  // All nodes wait for the slowest one, so that what it did in a span is what all did.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    ranks_.Barrier();
    const std::vector<Record> nodes = Collect([&](Record& told) {
      Visit& visit = told.rounds.emplace_back();
      visit.batch = 1;
      for (const Batch& span : own_->RunSpans(spans)) {
        const auto iterations = static_cast<double>(span.iterations);
        visit.iterations.push_back(span.iterations);
        visit.time_s.push_back(span.time.count() / iterations);
        if (span.stable) visit.stable_time_s.push_back(span.stable->count() / iterations);
      }
    });
    std::vector<Batch> slowest;
    for (const Record& node : nodes) {
      const Visit& visit = node.rounds.at(0);
      if (&node == &nodes[0]) slowest.resize(visit.time_s.size());
      slowest.resize(std::min(slowest.size(), visit.time_s.size()));
      for (std::size_t i = 0; i < slowest.size(); ++i) {
        Batch& span = slowest[i];
        const auto iterations = static_cast<double>(visit.iterations.at(i));
        if (span.iterations > 0 &&
            span.time.count() / static_cast<double>(span.iterations) >= visit.time_s[i]) {
          continue;
        }
        span.iterations = visit.iterations[i];
        span.time = Seconds(visit.time_s[i] * iterations);
        if (i < visit.stable_time_s.size())
          span.stable = Seconds(visit.stable_time_s[i] * iterations);
      }
    }
    return slowest;
  }

  Checked Verify() override {
    const std::vector<Record> nodes = Collect([&](Record& told) {
      const Checked checked = own_->Verify();
      told.verify = Verification{.checked = checked.checked,
                                 .wrong = checked.wrong,
                                 .max_error = checked.max_error,
                                 .tolerance = checked.tolerance,
                                 .reference = checked.reference,
                                 .what = checked.what};
    });
    Checked all;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const Verification& one = nodes[i].verify.value();
      all.checked += one.checked;
      all.wrong += one.wrong;
      all.max_error = std::max(all.max_error, one.max_error);
      all.tolerance = std::max(all.tolerance, one.tolerance);
      all.reference = one.reference;
      if (one.what && !all.what) all.what = fmt::format("node {}: {}", i, *one.what);
    }
    return all;
  }

  Facts Describe() const override {
    std::vector<Facts> all;
    for (Record& node : Collect([&](Record& told) { told.facts = own_->Describe(); })) {
      all.push_back(std::move(node.facts));
    }
    return FactsOfNodes(all);
  }

  std::map<std::string, Histogram> Histograms() const override {
    std::map<std::string, std::map<std::int64_t, std::int64_t>> sums;
    const std::vector<Record> nodes =
        Collect([&](Record& told) { told.histograms = own_->Histograms(); });
    std::map<std::string, Histogram> all;
    for (const Record& node : nodes) {
      for (const auto& [name, histogram] : node.histograms) {
        all[name].scheme = histogram.scheme;
        for (const auto& [bucket, count] : histogram.counts) sums[name][bucket] += count;
      }
    }
    for (auto& [name, histogram] : all)
      histogram.counts.assign(sums[name].begin(), sums[name].end());
    return all;
  }

 private:
  // Gathers the nodes' records, in their order on rank 0 and empty elsewhere. `most` becomes, on
  // all ranks, the maximum over nodes.
  std::vector<Record> Collect(const auto& tell, std::span<double> most = {}) const {
    std::string text = fmt::format("{}\t", ranks_.Node());
    if (own_) {
      Record told = {.probe = "each node"};
      try {
        tell(told);
      } catch (const std::exception& error) {
        told = {.probe = "each node", .status = Status::kFailed, .reason = error.what()};
      }
      text += RecordToJson(told);
    }
    if (!most.empty()) ranks_.Max(most);
    std::vector<Record> all;
    for (const std::string& one : ranks_.Gather(text)) {
      const std::size_t tab = one.find('\t');
      if (tab + 1 >= one.size()) continue;
      const std::string node = "node " + one.substr(0, tab);
      all.push_back(RecordFromJson(one.substr(tab + 1), node));
      if (all.back().status == Status::kFailed) {
        throw Error(fmt::format("{}: {}", node, all.back().reason));
      }
    }
    return all;
  }

  std::unique_ptr<Workload> own_;  // null except on the first rank of a node
  Ranks& ranks_;
};

}  // namespace

Prepared OnEachNode(Prepared own, Ranks& ranks) {
  if (std::holds_alternative<Skipped>(own)) return own;
  auto& workload = std::get<std::unique_ptr<Workload>>(own);
  if (ranks.LocalRank() != 0) workload.reset();
  return std::make_unique<EachNodeWorkload>(std::move(workload), ranks);
}

}  // namespace assay
