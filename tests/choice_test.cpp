// Which backends and devices there are, as `assay list` tells of them, and which are asked for.
#include "runner/program/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "collectives/collectives.h"
#include "kernels/kernels.h"
#include "results/base/error.h"
#include "results/base/names.h"
#include "runner/core/module.h"
#include "runner/program/commands.h"
#include "runner/program/setup.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const Skipped kNoGpu = {.reason = "there is no GPU", .remedy = "rent one", .module = "far"};

// A probe by these backends, of which those whose name is "gpu" have no device. It has a case by
// each that is asked for.
Probe ProbeBy(const std::string& name, const std::vector<std::string>& backends,
              const RunOptions& options) {
  const Setup setup = {.backends = options.backends, .devices = options.devices};
  return {.name = name,
          .summary = "measures",
          .unfold =
              [=](const Params&) {
                std::vector<Case> cases;
                for (const std::string& backend : backends) {
                  if (setup.TakesBackend(backend))
                    cases.push_back({.probe = name, .backend = backend});
                }
                return cases;
              },
          .backends = backends,
          .absent =
              [=] {
                std::map<std::string, Skipped> absent;
                if (std::ranges::count(backends, "gpu") > 0) absent["gpu"] = kNoGpu;
                return absent;
              },
          .devices = [] { return std::vector<std::string>{"cpu"}; }};
}

std::vector<Probe> Probes(const RunOptions& options) {
  std::vector<Probe> probes = {ProbeBy("gemm", {"onednn", "gpu"}, options),
                               ProbeBy("storage", {"io_uring", "psync"}, options)};
  probes[1].devices = nullptr;
  return probes;
}

// The cases as "PROBE BACKEND", or the error.
std::vector<std::string> CasesFor(const RunOptions& options) {
  Suite suite;
  for (const char* probe : {"gemm", "storage"}) suite.entries.push_back({.probe = probe});
  std::vector<std::string> found;
  try {
    for (const Case& one : CasesOfRun(options, suite, Probes(options))) {
      found.push_back(one.probe + ' ' + one.backend);
    }
  } catch (const Error& error) {
    found.emplace_back(error.what());
  }
  return found;
}

TEST(Choice, ANameThatThereIsNotIsOneSentenceWithTheRightOne) {
  EXPECT_THAT(CasesFor({.backends = {"onednm"}}),
              ElementsAre("there is no backend onednm; did you mean onednn?"));
  EXPECT_THAT(CasesFor({.backends = {"onednn", "nosuch"}}),
              ElementsAre("there is no backend nosuch; there are gpu, io_uring, onednn, psync"))
      << "beside one that there is";
  EXPECT_THAT(CasesFor({.probes = {"storage"}, .backends = {"psynk"}}),
              ElementsAre("there is no backend psynk; did you mean psync?"));
  EXPECT_THAT(CasesFor({.backends = {"\033[2J"}}),
              ElementsAre(StartsWith("there is no backend ?[2J;")));
}

TEST(Choice, ADeviceThatThereIsNotIsToldWithWhatKeepsItAway) {
  EXPECT_THAT(CasesFor({.devices = {"cuda:0"}}),
              ElementsAre("there is no device cuda:0; there are all, cpu (gpu has none here: there "
                          "is no GPU; try: rent one)"));
  EXPECT_THAT(CasesFor({.devices = {"cpu", "gpu"}}),
              ElementsAre(StartsWith("there is no device gpu; did you mean cpu?")));
  EXPECT_EQ(CasesFor({.devices = {"all"}}).size(), 4U);
}

TEST(Choice, AProbeThatRunsByNoneOfThemHasNoCase) {
  EXPECT_THAT(CasesFor({.backends = {"onednn"}}), ElementsAre("gemm onednn"));
  EXPECT_THAT(CasesFor({.backends = {"psync", "onednn"}}),
              ElementsAre("gemm onednn", "storage psync"));
}

TEST(Choice, WhereNothingIsLeftThatIsOneSentence) {
  EXPECT_THAT(CasesFor({.probes = {"storage"}, .backends = {"onednn"}}),
              ElementsAre("nothing that was asked for can run with --backend onednn; storage has "
                          "backends io_uring, psync"));
}

TEST(Choice, AllNamesThatThereAreAreInSmallLetters) {
  const Modules modules(std::vector<Modules::Entry>{{.name = "cuda", .reason = "it was left out"}});
  const assay::Setup setup = {.modules = &modules, .gemm = kernels::GemmBeside(modules)};
  for (const Probe& probe : AllProbes(setup)) {
    EXPECT_FALSE(probe.backends.empty()) << probe.name;
    for (const std::string& backend : probe.backends) EXPECT_EQ(Lower(backend), backend);
    if (!probe.devices) continue;
    for (const std::string& device : probe.devices()) EXPECT_EQ(Lower(device), device);
  }
}

TEST(List, ABackendIsOfTheModuleOfItsNameWhereSeveralLackTheSame) {
  const Modules modules(std::vector<Modules::Entry>{
      {.name = "far", .reason = "there is no driver", .remedy = "rent one"},
      {.name = "near", .reason = "there is no driver", .remedy = "rent one"}});
  const auto no = [](const char* module) {
    return Skipped{.reason = "there is no driver", .remedy = "rent one", .module = module};
  };
  Probe probe = ProbeBy("gemm", {"one", "near"}, {});
  probe.absent = [no] {
    return std::map<std::string, Skipped>{{"one", no("far")}, {"near", no("near")}};
  };
  EXPECT_THAT(ListText({probe}, modules, {}),
              HasSubstr("not here: one (module far), near (module near)\n"));
}

TEST(List, EachReasonIsSaidOnceAndProbesReferToIt) {
  const Modules modules(std::vector<Modules::Entry>{
      {.name = "far", .reason = "there is no GPU", .remedy = "rent one"}});
  EXPECT_EQ(ListText({ProbeBy("gemm", {"onednn", "gpu"}, {}), ProbeBy("copy", {"gpu"}, {})},
                     modules, {{"onednn", "2.6"}}),
            "probes:\n"
            "  gemm           measures\n"
            "                 backends: onednn; not here: gpu (module far)\n"
            "                 params: \n"
            "  copy           measures\n"
            "                 backends: none; not here: gpu (module far)\n"
            "                 params: \n"
            "\n"
            "modules:\n"
            "  far            not loaded: there is no GPU; try: rent one\n"
            "\n"
            "libraries:\n"
            "  onednn         2.6\n");
}

TEST(List, AReasonThatIsNoModulesHasALineOfItsOwn) {
  std::vector<Probe> probes = {ProbeBy("gemm", {"onednn", "gpu"}, {}),
                               ProbeBy("copy", {"gpu"}, {})};
  for (Probe& probe : probes) {
    probe.absent = [] {
      return std::map<std::string, Skipped>{
          {"gpu", {.reason = "there is no GPU", .remedy = "rent one"}}};
    };
  }
  const std::string text = ListText(probes, {}, {});
  EXPECT_THAT(text, HasSubstr("backends: onednn; not here: gpu\n"));
  EXPECT_THAT(text, HasSubstr("\nbackends that can't run here:\n  gpu: there is no GPU; try: rent "
                              "one\n"));
}

}  // namespace
}  // namespace assay
