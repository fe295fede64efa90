// This machine as data: its cores, memory, accelerators and networks, and what makes it noisy, each
// with its remedy. Everything is read below one root folder, so that a scripted folder can stand in
// for any machine; cores are counted by hwloc, of which the source is the sole includer.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/run.h"

namespace assay {

// The environment variables of this process.
std::map<std::string, std::string> ProcessEnvironment();

// The first line of a small file such as those of /proc and /sys, without spaces around it; empty
// where it can't be read.
std::string FirstLine(const std::filesystem::path& path);

struct MachineOptions {
  int threads = 0;         // worker threads of CPU cases; 0: one per usable core
  std::string root = "/";  // /proc, /sys, /run and /.dockerenv are looked for below it
  std::map<std::string, std::string> environment = ProcessEnvironment();
  // For tests: hwloc's synthetic description in place of this machine's topology, and CPU numbers
  // in place of this process's affinity.
  std::string topology = {};
  std::optional<std::vector<int>> cpus = {};
};

// All of Node that the operating system tells; node_id, identity, storage, env and the libraries'
// versions are others' to fill. Accelerators are those on the bus, `visible` and `used` 0, until a
// module that can run them says more. Never throws: what can't be read stays empty.
Node InspectMachine(const MachineOptions& options = {});

// Counts devices that a module can run on, an entry each with `visible` 1, among what is on the
// bus; where the bus has more, a note says so.
void AddVisible(const std::vector<Accelerator>& devices, Node& node);

// "aws p5.48xlarge us-east-1   8 x NVIDIA H100 80GB HBM3   driver 580.65, CUDA 13.0": one line for
// each kind of node, with how many there are ("2 x …") where there are several.
std::string MachineHeader(std::span<const Node> nodes);

// What makes the nodes noisy, a line each, with those that it holds of where that isn't all.
std::string NotesText(std::span<const Node> nodes);

// What `assay env` prints: the identity with how it was found and how sure that is, the machine,
// and what makes it noisy.
std::string MachineText(const Node& node);

}  // namespace assay
