// The cases of a command: those that its questions unfold into, on the backends and devices that
// were asked for.
#pragma once

#include <string>
#include <vector>

#include "results/base/error.h"
#include "runner/cluster/cluster.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"
#include "runner/program/suite.h"

namespace assay {

// The backends and devices that were asked for by name: "--backend onednn --device cpu"; "" where
// none were.
std::string ChoiceText(const RunOptions& options);

// Throws Error, with the right name where there is one like it, for a backend that none of `probes`
// has and for a device that isn't there.
void CheckChoice(const RunOptions& options, const std::vector<Probe>& probes);

// Makes the Error for a command whose backends and devices leave nothing of the probes that were
// asked for. It says which backends or devices the probe does have.
Error NothingLeft(const RunOptions& options, const std::vector<std::string>& asked,
                  const std::vector<Probe>& probes);

// The cases that the questions unfold into, each once. Throws what Probe::unfold throws, and Error
// where the backends and devices that were asked for leave none. REQUIRES: each question's probe is
// among `probes`.
std::vector<Case> UnfoldQuestions(const std::vector<Question>& questions,
                                  const std::vector<Probe>& probes, const RunOptions& options);

// The cases of `assay run` with these options. Throws Error where they ask for what isn't there.
std::vector<Case> CasesOfRun(const RunOptions& options, const Suite& suite,
                             const std::vector<Probe>& probes);

// The cases as the cluster places them. Where `require_transport` isn't "", cases of several ranks
// fail if their data went over another transport.
std::vector<Case> PlacedOn(Cluster& cluster, std::vector<Case> cases,
                           const std::string& require_transport);

}  // namespace assay
