// The means of a command: its probes, its rank of a cluster, and what this node is.
#pragma once

#include <memory>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"
#include "runner/cluster/cluster.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"

namespace assay {

// The way to measure, by a command's options. `modules` must outlive it.
Setup MakeSetup(const RunOptions& options, const Modules& modules);

// All probes of this program, folder by folder, as `assay list` shows them.
std::vector<Probe> AllProbes(const Setup& setup);

// The things that a rank of this program can do by itself: describe its node, and every case that
// its own probes have. `modules` and `catalog` must outlive it.
Member MakeMember(const RunOptions& options, const Modules& modules, const Catalog& catalog);
// What a rank can do that assay starts for itself, which is told nothing but cases.
Member WorkerMember(const Modules& modules);

// The cluster of rank 0. `modules`, `ranks` and `catalog` must outlive it and its
// cases.
std::unique_ptr<Cluster> MakeCluster(const RunOptions& options, const Modules& modules,
                                     Ranks& ranks, const Catalog& catalog);

// Describes this machine: its hardware, what instance it is, the volume of storage_path, and notes
// on what makes it noisy.
Node ThisNode(const Setup& setup, const IdentityFlags& flags, const Catalog& catalog);

}  // namespace assay
