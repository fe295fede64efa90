#include "runner/cluster/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <utility>
#include <variant>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/file/json.h"

namespace assay {
namespace {

bool TakePrefix(std::string& text, const std::string& prefix) {
  if (!text.starts_with(prefix)) return false;
  text.erase(0, prefix.size());
  return true;
}

Told TheRanksTold(const std::string& answer) { return ToldFromJson(answer, "what the ranks say"); }

Batch TheBatch(Told told) {
  if (told.batches.empty()) throw Error("the ranks gave no time for their run");
  return std::move(told.batches[0]);
}

Checked TheCheck(Told told) {
  if (!told.checked) throw Error("the ranks did not say what they checked");
  return *std::move(told.checked);
}

class JobWorkload : public Workload {
 public:
  JobWorkload(std::shared_ptr<Job> job, Facts facts, std::size_t groups,
              std::optional<Work> work = {})
      : job_(std::move(job)), facts_(std::move(facts)), groups_(groups), work_(std::move(work)) {}

  Batch Run(std::int64_t iterations) override {
    std::vector<Told> all = Ask(fmt::format("run {}", iterations));
    if (groups_ == 0) return TheBatch(std::move(all[0]));
    Batch together;
    for (Told& of_group : all) {
      together.parts.push_back(TheBatch(std::move(of_group)));
      together.time = std::max(together.time, together.parts.back().time);
    }
    return together;
  }

  // Spans can't be ended early here. Only cases of one node have them, and all ranks do those
  // together.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    std::vector<Batch> batches = std::move(
        Ask(fmt::format("spans {} {} {}", spans.ramp.count(), spans.length.count(), spans.count))[0]
            .batches);
    for (const Batch& span : batches) {
      if (span.iterations < 1) throw Error("the ranks gave a span in which nothing ended");
    }
    return batches;
  }

  Checked Verify() override {
    std::vector<Told> told = Ask("verify");
    Checked all = TheCheck(std::move(told[0]));
    for (std::size_t i = 1; i < told.size(); ++i) {
      Checked checked = TheCheck(std::move(told[i]));
      all.checked += checked.checked;
      all.wrong += checked.wrong;
      all.max_error = std::max(all.max_error, checked.max_error);
      if (!all.what) all.what = std::move(checked.what);
    }
    return all;
  }

  Facts Describe() const override {
    Facts all;
    ForEach(Ask("describe"), [&](const std::string& prefix, Told& told) {
      told.facts.insert(facts_.begin(), facts_.end());
      for (const auto& [name, fact] : told.facts) all[prefix + name] = fact;
    });
    return all;
  }

  std::optional<Work> OneIteration() const override { return work_; }

  std::map<std::string, Histogram> Histograms() const override {
    std::map<std::string, Histogram> all;
    ForEach(Ask("histograms"), [&](const std::string& prefix, Told& told) {
      for (auto& [name, histogram] : told.histograms) all[prefix + name] = std::move(histogram);
    });
    return all;
  }

 private:
  // Asks the job, and returns the answer of each group, or the one answer of all ranks.
  std::vector<Told> Ask(const std::string& command) const {
    std::istringstream answers(job_->Ask(command));
    std::vector<Told> all;
    for (std::string answer; std::getline(answers, answer, kNextGroup);) {
      all.push_back(TheRanksTold(answer));
    }
    if (all.size() != std::max<std::size_t>(1, groups_)) {
      throw Error(fmt::format("{} of ranks gave {}", CountText(groups_, "group"),
                              CountText(all.size(), "answer")));
    }
    return all;
  }

  template <class Body>
  void ForEach(std::vector<Told> all, const Body& body) const {
    for (std::size_t i = 0; i < all.size(); ++i) {
      body(groups_ == 0 ? "" : fmt::format("{}/", i), all[i]);
    }
  }

  std::shared_ptr<Job> job_;
  Facts facts_;
  std::size_t groups_;  // 0: all ranks together
  std::optional<Work> work_;
};

// The meter of MeterOnEachNode. Unit u of a node has the number NODE * units_ + u among those of
// all nodes.
class JobMeter : public Meter {
 public:
  JobMeter(std::shared_ptr<Job> job, const AskedCase& asked, int units)
      : job_(std::move(job)), units_(units) {
    job_->Ask("meter of " + AskedCaseToJson(asked));
  }

  std::vector<Telemetry> Begin() override { return AskForTelemetry("meter begin"); }

  std::vector<std::optional<Fitted>> Trends(Seconds later) override {
    std::vector<std::optional<Fitted>> all;
    ForEachNode(fmt::format("meter trends {}", later.count()), [&](int first, Told& told) {
      for (std::optional<Fitted>& one : told.trends) {
        if (one) one->trend.unit += first;
        all.push_back(std::move(one));
      }
    });
    return all;
  }

  std::vector<Telemetry> Finish(Seconds later) override {
    return AskForTelemetry(fmt::format("meter finish {}", later.count()));
  }

 private:
  std::vector<Telemetry> AskForTelemetry(const std::string& command) {
    std::vector<Telemetry> all;
    ForEachNode(command, [&](int first, Told& told) {
      for (Telemetry& one : told.telemetry) {
        one.unit += first;
        all.push_back(std::move(one));
      }
    });
    return all;
  }

  // Calls `body` for each node, with the number of its first unit and what the node tells.
  void ForEachNode(const std::string& command,
                   const std::function<void(int first, Told& told)>& body) {
    std::istringstream fields(job_->Ask(command));
    int first = 0;
    for (std::string field; std::getline(fields, field, '\t'); first += units_) {
      Told told = TheRanksTold(field);
      body(first, told);
    }
  }

  std::shared_ptr<Job> job_;
  int units_;
};

}  // namespace

std::string TakeAnswer(std::string answer) {
  if (answer == "ok") return "";
  if (TakePrefix(answer, "ok ") || answer.starts_with("skipped ")) return answer;
  TakePrefix(answer, "error ");
  throw Error(answer);
}

std::vector<int> AskNodes(Job& job) {
  std::istringstream words(job.Ask("hello"));
  std::vector<int> nodes;
  for (int node = 0; words >> node;) nodes.push_back(node);
  return nodes;
}

std::vector<Whereabouts> AskWhereabouts(Job& job, const AskedCase* asked) {
  const std::vector<int> nodes = AskNodes(job);
  std::vector<Whereabouts> all;
  std::istringstream fields(job.Ask("who"));
  std::string field;
  while (std::getline(fields, field, '\t')) {
    std::istringstream words(field);
    Whereabouts& one = all.emplace_back();
    words >> one.pid >> one.processor >> one.numa >> std::ws;
    std::getline(words, one.host);
  }
  if (all.size() != nodes.size()) throw Error("the ranks did not say where they are");
  for (std::size_t rank = 0; rank < all.size(); ++rank) all[rank].node = nodes[rank];
  if (asked == nullptr) return all;
  std::istringstream devices(job.Ask("devices " + AskedCaseToJson(*asked)));
  for (std::size_t rank = 0; std::getline(devices, field, '\t') && rank < all.size(); ++rank) {
    std::istringstream words(field);
    RankDevice& device = all[rank].device.emplace();
    words >> device.index >> device.id >> std::ws;
    std::getline(words, device.name);
  }
  return all;
}

std::vector<Node> AskDescriptions(Job& job) {
  std::vector<Node> nodes;
  std::istringstream fields(job.Ask("nodes"));
  for (std::string field; std::getline(fields, field, '\t');) {
    nodes.push_back(NodeFromJson(field, fmt::format("what node {} says of itself", nodes.size())));
  }
  return nodes;
}

int FewestCores(Job& job) {
  std::istringstream words(job.Ask("cores"));
  std::optional<int> fewest;
  for (int cores = 0; words >> cores;) fewest = std::min(cores, fewest.value_or(cores));
  return fewest.value_or(1);
}

Prepared PrepareOn(std::shared_ptr<Job> job, const AskedCase& asked, const Facts& facts,
                   std::size_t groups, Params* settled) {
  std::string no = job->Ask("prepare " + AskedCaseToJson(asked));
  if (TakePrefix(no, "skipped ")) {
    const std::size_t tab = std::min(no.find('\t'), no.size());
    return Skipped{.reason = no.substr(0, tab), .remedy = no.substr(std::min(tab + 1, no.size()))};
  }
  std::optional<Work> work;
  if (settled != nullptr) {
    Told told = TheRanksTold(job->Ask("settle"));
    for (auto& [name, value] : told.how) (*settled)[name] = std::move(value);
    work = std::move(told.work);
  }
  return std::make_unique<JobWorkload>(std::move(job), facts, groups, std::move(work));
}

std::unique_ptr<Meter> MeterOnEachNode(std::shared_ptr<Job> job, const AskedCase& asked,
                                       int units) {
  return std::make_unique<JobMeter>(std::move(job), asked, units);
}

}  // namespace assay
