// This machine as data: its cores, memory, accelerators and networks, and what makes it noisy, each
// with its remedy. Everything is read below one root folder, so that a scripted folder can stand in
// for any machine. Cores are counted by hwloc, whose headers only the source includes.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/file/run.h"

namespace assay {

// The environment variables of this process.
std::map<std::string, std::string> ProcessEnvironment();

// The first line of a small file, such as those of /proc and /sys, without surrounding spaces;
// empty where the file can't be read.
std::string FirstLine(const std::filesystem::path& path);

// The places to look in, and stand-ins for tests.
struct MachineOptions {
  int threads = 0;         // worker threads of CPU cases; 0: one per usable core
  std::string root = "/";  // the folder below which /proc, /sys, /run and /.dockerenv are read
  std::map<std::string, std::string> environment = ProcessEnvironment();
  // Stand-ins for tests: hwloc's synthetic description in place of this machine's topology, and CPU
  // numbers in place of this process's affinity.
  std::string topology = {};
  std::optional<std::vector<int>> cpus = {};
};

// Describes this machine as far as the operating system tells. node_id, identity, storage, env and
// the libraries' versions are left for others to fill. Accelerators are those on the bus, with
// `visible` and `used` 0 until AddVisible. Never throws: what can't be read stays empty.
Node InspectMachine(const MachineOptions& options = {});

// Counts the devices that a module can run on, which have one entry each with `visible` 1, among
// the accelerators of the bus. Where the bus has more, a note says so.
void AddVisible(const std::vector<Accelerator>& devices, Node& node);

// The header that describes the machine: "aws p5.48xlarge us-east-1   8 x NVIDIA H100 80GB HBM3
// driver 580.65, CUDA 13.0". It has one line for each kind of node, with the number of such nodes
// ("2 x …") where there are several.
std::string MachineHeader(std::span<const Node> nodes);

// The notes on what makes the nodes noisy, one a line. A note that doesn't hold for all nodes names
// those that it holds for.
std::string NotesText(std::span<const Node> nodes);

// The text that `assay env` prints: the identity, with how it was found and how sure that is, the
// machine, and what makes it noisy.
std::string MachineText(const Node& node);

}  // namespace assay
