#include "runner/cluster/each_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/file/json.h"
#include "results/file/nodes.h"
#include "results/file/told.h"

namespace assay {
namespace {

// The words that go before what a node tells, or before the reason why it tells nothing.
const std::string kTold = "told ";
const std::string kFailed = "failed ";

class EachNodeWorkload : public Workload {
 public:
  EachNodeWorkload(std::unique_ptr<Workload> own, Ranks& ranks)
      : own_(std::move(own)), ranks_(ranks) {}

  Batch Run(std::int64_t iterations) override {
    ranks_.Barrier();
    double longest_s[] = {0};
    const std::vector<Told> nodes = Collect(
        [&]() -> Told {
          const Batch batch = own_->Run(iterations);
          longest_s[0] = batch.time.count();
          return {.batches = {batch}};
        },
        longest_s);
    Batch slowest = {.time = Seconds(longest_s[0])};
    for (const Told& node : nodes) {
      const Batch& batch = node.batches.at(0);
      const std::size_t devices = nodes[0].batches.at(0).per_unit.size();
      if (batch.per_unit.size() != devices) {
        throw Error(fmt::format(
            "one node has {} for this case, another {}; hold nodes of one type, or choose "
            "with --device",
            CountText(devices, "device"), batch.per_unit.size()));
      }
      if (devices == 0) slowest.per_unit.push_back(batch.time);
      slowest.per_unit.insert(slowest.per_unit.end(), batch.per_unit.begin(), batch.per_unit.end());
      slowest.host = std::max(slowest.host, batch.host);
    }
    return slowest;
  }

  // All nodes wait for the slowest one, so that what it did in a span is what all did.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    ranks_.Barrier();
    const std::vector<Told> nodes =
        Collect([&]() -> Told { return {.batches = own_->RunSpans(spans)}; });
    const auto each = [](const Batch& span) {
      return span.time / static_cast<double>(std::max<std::int64_t>(1, span.iterations));
    };
    std::vector<Batch> slowest;
    for (const Told& node : nodes) {
      if (&node == &nodes[0]) slowest = node.batches;
      slowest.resize(std::min(slowest.size(), node.batches.size()));
      for (std::size_t i = 0; i < slowest.size(); ++i) {
        if (each(node.batches[i]) > each(slowest[i])) slowest[i] = node.batches[i];
      }
    }
    return slowest;
  }

  Checked Verify() override {
    const std::vector<Told> nodes = Collect([&]() -> Told { return {.checked = own_->Verify()}; });
    Checked all;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const Checked& one = nodes[i].checked.value();
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
    for (Told& node : Collect([&]() -> Told { return {.facts = own_->Describe()}; })) {
      all.push_back(std::move(node.facts));
    }
    return FactsOfNodes(all);
  }

  std::map<std::string, Histogram> Histograms() const override {
    std::map<std::string, std::map<std::int64_t, std::int64_t>> sums;
    const std::vector<Told> nodes =
        Collect([&]() -> Told { return {.histograms = own_->Histograms()}; });
    std::map<std::string, Histogram> all;
    for (const Told& node : nodes) {
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
  // Gathers what each node tells, by node, on rank 0; empty elsewhere. `most` becomes the largest
  // value of any node, on all ranks.
  std::vector<Told> Collect(const std::function<Told()>& tell, std::span<double> most = {}) const {
    std::string text = fmt::format("{}\t", ranks_.Node());
    if (own_) {
      try {
        text += kTold + ToldToJson(tell());
      } catch (const std::exception& error) {
        text += kFailed + error.what();
      }
    }
    if (!most.empty()) ranks_.Max(most);
    std::vector<Told> all;
    for (const std::string& one : ranks_.Gather(text)) {
      const std::size_t tab = one.find('\t');
      if (tab >= one.size() - 1) continue;
      const std::string node = "node " + one.substr(0, tab);
      const std::string says = one.substr(tab + 1);
      if (says.starts_with(kFailed)) {
        throw Error(fmt::format("{}: {}", node, says.substr(kFailed.size())));
      }
      all.push_back(ToldFromJson(says.substr(std::min(kTold.size(), says.size())), node));
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
