#include "runner/program/choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "collectives/collectives.h"
#include "results/base/names.h"
#include "results/base/text.h"

namespace assay {

std::string ChoiceText(const RunOptions& options) {
  std::vector<std::string> words;
  for (const auto& [option, names] :
       {std::pair("--backend", &options.backends), {"--device", &options.devices}}) {
    if (!names->empty()) words.push_back(fmt::format("{} {}", option, fmt::join(*names, ",")));
  }
  return fmt::format("{}", fmt::join(words, " "));
}

Error NothingLeft(const RunOptions& options, const std::vector<std::string>& asked,
                  const std::vector<Probe>& probes) {
  std::string what = "'assay list' shows what does";
  for (const Probe& probe : probes) {
    if (asked != std::vector{probe.name}) continue;
    what = fmt::format("{} has backends {}", probe.name, fmt::join(probe.backends, ", "));
  }
  const std::string choice = ChoiceText(options);
  return Error(fmt::format("nothing that was asked for can run{}{}; {}",
                           choice.empty() ? "" : " with ", choice, what));
}

std::vector<Case> UnfoldQuestions(const std::vector<Question>& questions,
                                  const std::vector<Probe>& probes, const RunOptions& options) {
  std::vector<Case> cases;
  for (const Question& question : questions) {
    const auto probe = std::find_if(probes.begin(), probes.end(), [&](const Probe& candidate) {
      return candidate.name == question.probe;
    });
    std::vector<Case> others;  // the cases in the dtype that replaces one that devices lack
    if (question.instead) others = probe->unfold(*question.instead);
    for (Case& unfolded : probe->unfold(question.params)) {
      if (unfolded.lacks_dtype) {
        const auto other = std::ranges::find_if(others, [&](const Case& candidate) {
          return candidate.backend == unfolded.backend &&
                 std::ranges::equal(candidate.units, unfolded.units, {}, &Unit::device,
                                    &Unit::device);
        });
        if (other != others.end()) unfolded = *other;
      }
      const auto same = [&](const Case& other) {
        return other.probe == unfolded.probe && other.backend == unfolded.backend &&
               other.accelerator == unfolded.accelerator && other.params == unfolded.params;
      };
      // Resolved values ("0: automatic") may make two questions one.
      if (std::none_of(cases.begin(), cases.end(), same)) cases.push_back(std::move(unfolded));
    }
  }
  if (cases.empty()) {
    std::set<std::string> asked;
    for (const Question& question : questions) asked.insert(question.probe);
    throw NothingLeft(options, {asked.begin(), asked.end()}, probes);
  }
  return cases;
}

std::vector<Case> CasesOfRun(const RunOptions& options, const Suite& suite,
                             const std::vector<Probe>& probes) {
  CheckChoice(options, probes);
  return UnfoldQuestions(Unfold(suite, probes,
                                {.probes = options.probes,
                                 .set = options.set,
                                 .dtypes = options.dtypes,
                                 .regime = options.regime}),
                         probes, options);
}

void CheckChoice(const RunOptions& options, const std::vector<Probe>& probes) {
  const auto check = [](const char* what, const std::vector<std::string>& asked,
                        const std::set<std::string>& known, const std::string& why) {
    for (const std::string& name : asked) {
      if (known.contains(name)) continue;
      throw Error(fmt::format("there is no {} {}; {}{}", what, Clean(name, 64),
                              DidYouMeanAmong(name, {known.begin(), known.end()}), why));
    }
  };
  std::set<std::string> backends;
  for (const Probe& probe : probes) backends.insert(probe.backends.begin(), probe.backends.end());
  check("backend", options.backends, backends, "");
  if (options.devices.empty()) return;
  std::set<std::string> devices = {Setup::kAllDevices};
  std::map<std::string, Skipped> absent;  // backends with devices of their own
  for (const Probe& probe : probes) {
    if (!probe.devices) continue;
    const std::vector<std::string> own = probe.devices();
    devices.insert(own.begin(), own.end());
    absent.merge(probe.absent());
  }
  std::string why;
  if (!absent.empty()) {
    const auto& [backend, no] = *absent.begin();
    why = fmt::format(" ({} has none here: {}; try: {})", backend, Clean(no.reason),
                      Clean(no.remedy));
  }
  check("device", options.devices, devices, why);
}

std::vector<Case> PlacedOn(Cluster& cluster, std::vector<Case> cases,
                           const std::string& require_transport) {
  for (Case& one : cases) {
    one = cluster.Placed(std::move(one));
    if (!require_transport.empty()) {
      one = collectives::Demanding(std::move(one), require_transport);
    }
  }
  return cases;
}

}  // namespace assay
