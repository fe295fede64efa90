// The setup of a command: its probes, its rank of a cluster, and a description of this node.
#pragma once

#include <memory>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"
#include "runner/cluster/cluster.h"
#include "runner/core/probe.h"
#include "runner/program/cli.h"

namespace assay {

// Makes the Setup of a command's options; the roster is the caller's to fill in. `modules` must
// outlive it, its copies, and all probes and cases that are made from it.
Setup MakeSetup(const RunOptions& options, const Modules& modules);

// All probes of this program, folder by folder, as `assay list` shows them.
std::vector<Probe> AllProbes(const Setup& setup);

// Makes the abilities of a rank of this program: to describe its node, and every case that its own
// probes have. `modules` and `catalog` must outlive it and its cases.
Member MakeMember(const RunOptions& options, const Modules& modules, const Catalog& catalog);
// Makes the abilities of a rank that assay starts for itself, which is asked for nothing but cases
// of several ranks. `modules` must outlive it and its cases.
Member WorkerMember(const Modules& modules);

// The cluster of rank 0. `modules`, `ranks` and `catalog` must outlive it and its cases.
std::unique_ptr<Cluster> MakeCluster(const RunOptions& options, const Modules& modules,
                                     Ranks& ranks, const Catalog& catalog);

// Describes this machine: its hardware and software, the environment variables that may move
// figures, what instance it is, the volume that holds setup.storage_path, and notes on what makes
// it noisy or stayed unknown. Opens the devices of the modules, and may ask the cloud's metadata
// service, for the time that Identify (runner/program/identity.h) takes at most. Throws Error for a
// metadata URL that isn't loopback.
Node ThisNode(const Setup& setup, const IdentityFlags& flags, const Catalog& catalog);

}  // namespace assay
