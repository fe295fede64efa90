// The cases of a command: what its questions unfold into, of which its backends and devices choose.
#pragma once

#include <string>
#include <vector>

#include "results/base/error.h"
#include "runner/cluster/cluster.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/suite.h"

namespace assay {

// "--backend onednn --device cpu": what was asked for by name; "" where nothing was.
std::string ChoiceText(const RunOptions& options);

// Throws Error, with the right name where there is one like it, for a backend that none of `probes`
// has and for a device that isn't there.
void CheckChoice(const RunOptions& options, const std::vector<Probe>& probes);

// Makes the Error for a command whose backends and devices leave nothing of the probes that were
// asked for. It says which backends or devices the probe does have.
Error NothingLeft(const RunOptions& options, const std::vector<std::string>& asked,
                  const std::vector<Probe>& probes);

// The cases that the questions unfold into, each once. Throws Error where the backends and devices
// that were asked for leave none.
std::vector<Case> UnfoldQuestions(const std::vector<Question>& questions,
                                  const std::vector<Probe>& probes, const RunOptions& options);

// The cases of `assay run` with these options. Throws Error where they ask for what isn't there.
std::vector<Case> CasesOfRun(const RunOptions& options, const Suite& suite,
                             const std::vector<Probe>& probes);

// The cases as the cluster places them. Cases of several ranks fail where their data went over
// something else than `require_transport`, if that is given.
std::vector<Case> PlacedOn(Cluster& cluster, std::vector<Case> cases,
                           const std::string& require_transport);

}  // namespace assay
