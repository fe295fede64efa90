#include "runner/program/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwloc.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "results/base/files.h"
#include "results/base/text.h"
#include "results/file/nodes.h"
#include "runner/core/handle.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Lines(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> Words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// The number at the beginning of `text`: 400 for "400 Gb/sec (4X NDR)".
template <class Number = double>
std::optional<Number> NumberOf(std::string_view text) {
  Number number = {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return {};
  return number;
}

// The first value of `key` in the lines of a file of "key : value", such as /proc/cpuinfo.
std::string ValueOf(const std::vector<std::string>& lines, std::string_view key) {
  for (const std::string& line : lines) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string_view name = std::string_view(line).substr(0, colon);
    while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
    if (name != key) continue;
    const auto begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

fs::path Canonical(const fs::path& path) {
  std::error_code error;
  return fs::canonical(path, error);
}

double Gib(std::int64_t bytes) { return static_cast<double>(bytes) / (1U << 30U); }

// ---- processors

struct Topology {
  int sockets = 0;
  int numa_nodes = 0;
  int cores = 0;               // all cores of the machine
  int visible = 0;             // cores with a hardware thread that this process may use
  std::vector<int> cpus = {};  // hardware threads that this process may use
};

// Asks hwloc for the processors; empty where it can't tell.
Topology ReadTopology(const MachineOptions& options) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return {};
  const Handle<std::remove_pointer_t<hwloc_topology_t>, hwloc_topology_destroy> topology(raw);
  // Disallowed cores are included, since a container's cpuset must not hide what the node is paid
  // for.
  hwloc_topology_set_flags(raw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  if (!options.topology.empty() &&
      hwloc_topology_set_synthetic(raw, options.topology.c_str()) != 0) {
    return {};
  }
  if (hwloc_topology_load(raw) != 0) return {};

  const Handle<hwloc_bitmap_s, hwloc_bitmap_free> mine(
      hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(raw)));
  const Handle<hwloc_bitmap_s, hwloc_bitmap_free> bound(hwloc_bitmap_alloc());
  bool is_bound = false;
  if (options.cpus) {
    for (const int cpu : *options.cpus) hwloc_bitmap_set(bound.get(), static_cast<unsigned>(cpu));
    is_bound = true;
  } else {
    is_bound = hwloc_get_cpubind(raw, bound.get(), HWLOC_CPUBIND_PROCESS) == 0;
  }
  if (is_bound) hwloc_bitmap_and(mine.get(), mine.get(), bound.get());

  Topology found;
  found.sockets = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_PACKAGE);
  found.numa_nodes = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_NUMANODE);
  // Some virtual machines describe no cores, only hardware threads.
  const bool cores = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_CORE) > 0;
  const hwloc_obj_type_t type = cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  for (hwloc_obj_t core = nullptr;
       (core = hwloc_get_next_obj_by_type(raw, type, core)) != nullptr;) {
    ++found.cores;
    if (hwloc_bitmap_intersects(core->cpuset, mine.get()) != 0) ++found.visible;
  }
  for (int cpu = hwloc_bitmap_first(mine.get()); cpu >= 0;
       cpu = hwloc_bitmap_next(mine.get(), cpu)) {
    found.cpus.push_back(cpu);
  }
  return found;
}

// The instruction set extensions that matter to the workloads, among those that the kernel lets
// programs use.
std::vector<std::string> IsaOf(const std::set<std::string>& flags) {
  std::vector<std::string> isa;
  for (const char* name :
       {"avx2",        "fma",         "f16c",     "avx_vnni", "avx512f",  "avx512bw", "avx512_vnni",
        "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "avx10",
        "asimd",       "asimddp",     "bf16",     "i8mm",     "sve",      "sve2",     "sme"}) {
    if (flags.count(name) != 0) isa.emplace_back(name);
  }
  return isa;
}

std::string CpuModel(const std::vector<std::string>& cpuinfo) {
  const std::string model = ValueOf(cpuinfo, "model name");
  if (!model.empty()) return Clean(model);
  const std::string part = ValueOf(cpuinfo, "CPU part");  // Arm names its parts by number only
  if (part.empty()) return "unknown";
  return Clean("Arm " + ValueOf(cpuinfo, "CPU implementer") + " part " + part);
}

// ---- where it runs

// The hypervisor's signature in CPUID leaf 0x40000000, which the kernel's own detection reads too;
// empty where there is none.
std::string HypervisorSignature() {
#if defined(__x86_64__)
  std::array<unsigned, 4> r = {};
  __cpuid(0x40000000U, r[0], r[1], r[2], r[3]);
  std::string text(12, '\0');
  std::memcpy(text.data(), &r[1], 12);
  return text.substr(0, text.find('\0'));
#else
  return {};
#endif
}

// The hypervisor under this machine: "kvm", "xen", …; "none" on bare metal, and "unknown" where it
// can't be told.
std::string Virtualization(const fs::path& root, const std::set<std::string>& flags) {
  const fs::path dmi = root / "sys/class/dmi/id";
  const std::string vendor = FirstLine(dmi / "sys_vendor");
  const std::string product = FirstLine(dmi / "product_name");
  const bool x86 = flags.count("fpu") != 0;
  if (x86 && flags.count("hypervisor") == 0) return "none";
  if (product.find(".metal") != std::string::npos) return "none";
  const std::string signature = x86 && root == "/" ? HypervisorSignature() : "";
  // QEMU without a hypervisor interprets each instruction: such figures are no machine's.
  if (signature == "TCGTCGTCGTCG") return "emulated";
  const std::string type = FirstLine(root / "sys/hypervisor/type");
  const auto has = [&](const char* text) {
    return vendor.find(text) != std::string::npos || product.find(text) != std::string::npos;
  };
  if (type == "xen" || has("Xen")) return "xen";
  if (vendor == "Microsoft Corporation" && product == "Virtual Machine") return "hyperv";
  if (has("VMware")) return "vmware";
  for (const char* kvm :
       {"Amazon EC2", "Google Compute Engine", "QEMU", "KVM", "OpenStack", "Alibaba Cloud"}) {
    if (has(kvm)) return "kvm";
  }
  if (signature == "KVMKVMKVM") return "kvm";
  if (signature == "Microsoft Hv") return "hyperv";
  if (signature == "XenVMMXenVMM") return "xen";
  if (signature == "VMwareVMware") return "vmware";
  return "unknown";
}

// Whether this process runs in a container, by the marks that container engines leave.
bool InContainer(const fs::path& root, const std::map<std::string, std::string>& environment) {
  for (const char* mark :
       {".dockerenv", "run/.containerenv", "run/host/container-manager", ".singularity.d"}) {
    if (Exists(root / mark)) return true;
  }
  for (const char* name : {"container", "KUBERNETES_SERVICE_HOST"}) {
    if (environment.count(name) != 0) return true;
  }
  for (const std::string& line : Lines(root / "proc/1/cgroup")) {
    for (const char* word : {"docker", "kubepods", "containerd", "libpod", "lxc"}) {
      if (line.find(word) != std::string::npos) return true;
    }
  }
  return false;
}

// ---- memory

// A value of /proc/meminfo in bytes.
std::int64_t Memory(const std::vector<std::string>& meminfo, std::string_view key) {
  return NumberOf<std::int64_t>(ValueOf(meminfo, key)).value_or(0) * 1024;
}

// ---- devices

// The accelerators on the PCI bus, which shows them inside containers too: NVIDIA, AMD and Habana
// in the classes "display" (03) and "processing accelerator" (12). A virtual function counts as its
// card where the card itself is here.
std::vector<Accelerator> Accelerators(const fs::path& root) {
  std::map<std::string, std::string> names;  // by address on the bus
  for (const fs::path& device : EntriesOf(root / "sys/bus/pci/devices")) {
    const std::string vendor = FirstLine(device / "vendor");
    const std::string kind = FirstLine(device / "class").substr(0, 4);
    if (kind != "0x03" && kind != "0x12") continue;
    if (vendor != "0x10de" && vendor != "0x1002" && vendor != "0x1da3") continue;
    if (Exists(device / "physfn")) continue;
    const std::string id = FirstLine(device / "device");
    names[device.filename()] =
        fmt::format("PCI {}:{}", vendor.substr(2), id.size() > 2 ? id.substr(2) : "unknown");
  }
  // NVIDIA's driver knows the product's name.
  for (const fs::path& gpu : EntriesOf(root / "proc/driver/nvidia/gpus")) {
    const std::string model = ValueOf(Lines(gpu / "information"), "Model");
    if (!model.empty()) names[gpu.filename()] = model;
  }
  std::map<std::string, int> counts;
  for (const auto& [address, name] : names) ++counts[Clean(name)];
  std::vector<Accelerator> accelerators;
  for (const auto& [name, count] : counts) {
    Accelerator accelerator;
    accelerator.name = name;
    accelerator.present = count;
    accelerators.push_back(accelerator);
  }
  return accelerators;
}

// The network adapters by kind and speed. An adapter that has RDMA counts once, although it is a
// network device as well.
std::vector<Nic> Nics(const fs::path& root) {
  std::map<std::pair<std::string, double>, int> counts;  // by kind and speed; speed 0: unknown
  std::set<fs::path> rdma;
  for (const fs::path& nic : EntriesOf(root / "sys/class/infiniband")) {
    const fs::path device = Canonical(nic / "device");
    rdma.insert(device);
    const bool efa = Canonical(device / "driver").filename() == "efa";
    const bool ethernet = FirstLine(nic / "ports/1/link_layer") == "Ethernet";
    const double gbps = NumberOf(FirstLine(nic / "ports/1/rate")).value_or(0);
    ++counts[{efa ? "efa" : ethernet ? "roce" : "infiniband", gbps}];
  }
  for (const fs::path& nic : EntriesOf(root / "sys/class/net")) {
    const fs::path device = Canonical(nic / "device");
    if (device.empty() || rdma.count(device) != 0) continue;  // virtual, or counted above
    if (FirstLine(nic / "type") != "1") continue;             // ARPHRD_ETHER
    const double mbps = NumberOf(FirstLine(nic / "speed")).value_or(0);
    ++counts[{"ethernet", mbps > 0 ? mbps / 1000 : 0}];
  }
  std::vector<Nic> nics;
  for (const auto& [key, count] : counts) {
    Nic nic{.kind = key.first, .count = count, .gbps = {}};
    if (key.second > 0) nic.gbps = key.second;
    nics.push_back(nic);
  }
  return nics;
}

// ---- noise

// The share of steal time since boot in the time that this machine wanted to run. Only a machine
// that wants to run sees any steal, so it is divided by all time but idle and waiting for devices
// (proc(5), /proc/stat: user nice system idle iowait irq softirq steal). It is counted since boot,
// because an idle machine would see none in a short sample.
double StealShare(const std::string& stat) {
  const auto words = Words(stat);
  if (words.size() < 9 || words[0] != "cpu") return 0;
  double wanted = 0;
  for (const std::size_t column : {1U, 2U, 3U, 6U, 7U, 8U}) {
    wanted += NumberOf(words[column]).value_or(0);
  }
  const double steal = NumberOf(words[8]).value_or(0);
  return wanted >= 100 ? steal / wanted : 0;  // under a second's ticks say nothing
}

// Notes on settings by which the CPU's clock varies.
std::vector<Note> ClockNotes(const fs::path& cpu) {
  std::vector<Note> notes;
  std::set<std::string> governors;
  std::optional<std::pair<double, double>> limit;  // clocks in kHz: allowed, possible
  for (const fs::path& policy : EntriesOf(cpu / "cpufreq")) {
    const std::string governor = FirstLine(policy / "scaling_governor");
    if (!governor.empty() && governor != "performance") governors.insert(Clean(governor));
    const auto allowed = NumberOf(FirstLine(policy / "scaling_max_freq"));
    const auto possible = NumberOf(FirstLine(policy / "cpuinfo_max_freq"));
    if (allowed && possible && *allowed < *possible && (!limit || *allowed < limit->first)) {
      limit = {*allowed, *possible};
    }
  }
  for (const std::string& governor : governors) {
    notes.push_back({.what = "CPU governor is '" + governor + "'",
                     .remedy = "sudo cpupower frequency-set -g performance"});
  }
  if (limit) {
    notes.push_back(
        {.what = fmt::format("CPU clock is limited to {:.2f} of {:.2f} GHz", limit->first / 1e6,
                             limit->second / 1e6),
         .remedy = fmt::format("sudo cpupower frequency-set -u {:.2f}GHz", limit->second / 1e6)});
  }
  if (FirstLine(cpu / "intel_pstate/no_turbo") == "0") {
    notes.push_back({.what = "turbo is on, so clocks follow temperature and neighbours",
                     .remedy = "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"});
  } else if (FirstLine(cpu / "cpufreq/boost") == "1") {
    notes.push_back({.what = "boost is on, so clocks follow temperature and neighbours",
                     .remedy = "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"});
  }
  return notes;
}

// Notes on everything that makes this machine noisy, each with its remedy.
std::vector<Note> Noise(const fs::path& root, const Node& node, const Topology& topology) {
  std::vector<Note> notes;
  const auto say = [&](std::string what, std::string remedy) {
    notes.push_back({.what = std::move(what), .remedy = std::move(remedy)});
  };
  const double load = NumberOf(FirstLine(root / "proc/loadavg")).value_or(0);
  const double quiet = std::max(0.5, 0.05 * node.cpu.cores_present);
  if (load > quiet) {
    say(fmt::format("the load average of the last minute is {:.1f} on {}", load,
                    CountText(node.cpu.cores_present, "core")),
        fmt::format("end other work, or wait until uptime shows less than {:.1f}", quiet));
  }
  const double steal = StealShare(FirstLine(root / "proc/stat"));
  if (steal > 0.01) {
    say(fmt::format("the hypervisor withheld {} of the CPU time wanted since boot (steal)",
                    Percent(steal)),
        "use an instance type with CPUs of its own, or a dedicated host");
  }
  if (node.cpu.quota && *node.cpu.quota < node.cpu.cores_present) {
    say(fmt::format("the container may use the time of {:.3g} of {} cores", *node.cpu.quota,
                    node.cpu.cores_present),
        "start it without --cpus (Kubernetes: without a CPU limit)");
  }
  if (node.cpu.cores_visible < node.cpu.cores_present) {
    say(fmt::format("this process may run on {} of {} cores", node.cpu.cores_visible,
                    node.cpu.cores_present),
        "start it without taskset or a cpuset, and with the whole node (Slurm: --exclusive)");
  }
  for (Note& note : ClockNotes(root / "sys/devices/system/cpu")) notes.push_back(std::move(note));
  if (FirstLine(root / "sys/devices/system/cpu/smt/active") == "1" &&
      FirstLine(root / "sys/devices/system/cpu/smt/control") == "on") {
    say("two hardware threads share each core, so other work can slow a measured one",
        "echo off | sudo tee /sys/devices/system/cpu/smt/control");
  }
  const auto meminfo = Lines(root / "proc/meminfo");
  const std::int64_t swapped = Memory(meminfo, "SwapTotal") - Memory(meminfo, "SwapFree");
  if (swapped > std::int64_t{64} << 20U) {
    say(fmt::format("{:.1f} GiB of memory are swapped out", Gib(swapped)), "sudo swapoff -a");
  }
  const std::int64_t limit = MemoryLimit(root);
  if (limit < node.memory_bytes) {
    say(fmt::format("the container may use {:.1f} of {:.1f} GiB of memory", Gib(limit),
                    Gib(node.memory_bytes)),
        "start it without --memory (Kubernetes: without a memory limit)");
  }
  if (FirstLine(root / "sys/kernel/mm/transparent_hugepage/enabled").find("[never]") !=
      std::string::npos) {
    say("transparent huge pages are off",
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
  }
  const std::string balancing = FirstLine(root / "proc/sys/kernel/numa_balancing");
  if (topology.numa_nodes > 1 && !balancing.empty() && balancing != "0") {
    say("the kernel moves memory between NUMA nodes while it is used",
        "sudo sysctl kernel.numa_balancing=0");
  }
  return notes;
}

// ---- text

// The source of a finding in words.
std::string HowFound(const Finding& finding) {
  static const std::map<std::string, std::string> words = {
      {"flag", "given on the command line"},        {"dmi", "from DMI"},
      {"imds", "from the metadata service"},        {"k8s", "from Kubernetes labels"},
      {"catalog", "from the catalog of instances"}, {"inventory", "from the hardware found"}};
  if (finding.how == "none") return "";
  const auto found = words.find(finding.how);
  const std::string how = found == words.end() ? finding.how : found->second;
  return finding.how == "flag" ? how : finding.confidence + ", " + how;
}

std::string Joined(const std::vector<std::string>& parts, const char* separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

// The header of one node.
std::string HeaderOf(const Node& node) {
  std::vector<std::string> names;
  for (const Finding* finding :
       {&node.identity.provider, &node.identity.instance, &node.identity.region}) {
    if (finding->value != "unknown") names.push_back(finding->value);
  }
  std::vector<std::string> parts = {names.empty() ? "unknown machine" : Joined(names, " ")};
  for (const Accelerator& accelerator : node.accelerators) {
    parts.push_back(fmt::format("{} x {}", accelerator.present, accelerator.name));
  }
  if (node.accelerators.empty()) {
    parts.push_back(node.cpu.model + ", " + CountText(node.cpu.cores_present, "core"));
  }
  std::vector<std::string> software;
  const auto add = [&](const char* label, const char* key) {
    const auto found = node.software.find(key);
    if (found == node.software.end()) return;
    const bool is_named = found->second.starts_with(label);
    software.push_back(is_named ? found->second : label + (" " + found->second));
  };
  add("driver", "driver");
  add("CUDA", "cuda");
  if (software.empty()) add("kernel", "kernel");
  if (!software.empty()) parts.push_back(Joined(software, ", "));
  return Clean(Joined(parts, "   "), 1024);
}

}  // namespace

std::map<std::string, std::string> ProcessEnvironment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

std::string FirstLine(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const auto begin = line.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return {};
  return line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
}

Node InspectMachine(const MachineOptions& options) {
  const fs::path root = options.root;
  const auto cpuinfo = Lines(root / "proc/cpuinfo");
  std::set<std::string> flags;
  for (const char* key : {"flags", "Features"}) {
    for (std::string& flag : Words(ValueOf(cpuinfo, key))) flags.insert(std::move(flag));
  }
  const Topology topology = ReadTopology(options);

  Node node;
  node.in_container = InContainer(root, options.environment);
  node.virtualization = Virtualization(root, flags);
  node.cpu.model = CpuModel(cpuinfo);
  node.cpu.sockets = topology.sockets;
  node.cpu.cores_present = topology.cores;
  node.cpu.cores_visible = topology.visible;
  const int threads = options.threads > 0
                          ? options.threads
                          : static_cast<int>(CoresAmong(topology.cpus, options.root).size());
  node.cpu.cores_used = std::min(threads, topology.visible);
  node.cpu.isa = IsaOf(flags);
  if (const std::optional<Quota> quota = CpuQuota(options.root)) {
    node.cpu.quota = quota->cores;
    node.cpu.quota_period_s = quota->period.count();
  }
  node.memory_bytes = Memory(Lines(root / "proc/meminfo"), "MemTotal");
  node.accelerators = Accelerators(root);
  node.nics = Nics(root);
  const std::string kernel = FirstLine(root / "proc/sys/kernel/osrelease");
  if (!kernel.empty()) node.software["kernel"] = Clean(kernel);
  const std::string driver = FirstLine(root / "sys/module/nvidia/version");
  if (!driver.empty()) node.software["driver"] = Clean(driver);
  node.notes = Noise(root, node, topology);
  return node;
}

void AddVisible(const std::vector<Accelerator>& devices, Node& node) {
  if (devices.empty()) return;
  std::vector<Accelerator>& all = node.accelerators;
  for (const Accelerator& device : devices) {
    auto same = std::find_if(all.begin(), all.end(),
                             [&](const Accelerator& other) { return other.name == device.name; });
    if (same == all.end()) {
      // Where the driver gives no product names, the accelerator on the bus has only its numbers as
      // a name.
      same = std::find_if(all.begin(), all.end(), [](const Accelerator& other) {
        return other.name.starts_with("PCI 10de:") && other.visible == 0;
      });
      if (same == all.end()) same = all.insert(all.end(), Accelerator{});
      same->name = device.name;
    }
    ++same->visible;
    same->present = std::max(same->present, same->visible);
    same->memory_bytes = device.memory_bytes;
    same->vbios = device.vbios;
    same->power_limit_w = device.power_limit_w;
    same->ecc = device.ecc;
    same->mig = device.mig;
  }
  for (const Accelerator& accelerator : all) {
    if (accelerator.visible == 0 || accelerator.visible == accelerator.present) continue;
    node.notes.push_back(
        {.what = fmt::format("{} of {} {} are visible, and the whole node is paid for",
                             accelerator.visible, accelerator.present, accelerator.name),
         .remedy = "unset CUDA_VISIBLE_DEVICES; in a container: --gpus all"});
  }
}

std::string MachineHeader(std::span<const Node> nodes) {
  std::string text;
  for (const Saying& kind :
       Gather(nodes, [](const Node& node) { return std::vector{HeaderOf(node)}; })) {
    if (!text.empty()) text += '\n';
    if (nodes.size() > 1) text += fmt::format("{} x ", kind.nodes.size());
    text += kind.text;
  }
  return text;
}

std::string NotesText(std::span<const Node> nodes) {
  const auto says = [](const Node& node) {
    std::vector<std::string> lines;
    for (const Note& note : node.notes) {
      lines.push_back(fmt::format("note: {}; fix: {}", Clean(note.what), Clean(note.remedy)));
    }
    return lines;
  };
  std::string text;
  for (const Saying& note : Gather(nodes, says)) {
    text += note.text;
    if (note.nodes.size() < nodes.size()) text += fmt::format(" ({})", note.Who());
    text += '\n';
  }
  return text;
}

std::string MachineText(const Node& node) {
  std::string text = "identity\n";
  const auto row = [&](std::string_view label, const std::string& value) {
    text += fmt::format("  {:<13}{}\n", label, Clean(value, 1024));
  };
  const auto finding = [&](std::string_view label, const Finding& found) {
    const std::string how = HowFound(found);
    row(label, how.empty() ? found.value : fmt::format("{:<28}{}", found.value, how));
  };
  finding("provider", node.identity.provider);
  finding("instance", node.identity.instance);
  finding("region", node.identity.region);
  finding("zone", node.identity.zone_id);
  finding("purchase", node.identity.purchase);
  for (const Finding* asked : {&node.identity.provider, &node.identity.instance,
                               &node.identity.region, &node.identity.purchase}) {
    if (asked->value != "unknown") continue;
    text += "  what is unknown can be given: --provider, --instance, --region, --purchase\n";
    break;
  }

  text += "\nmachine\n";
  row("CPU", node.cpu.model + ", " + CountText(node.cpu.sockets, "socket"));
  row("cores", fmt::format("{} present, {} visible, {} used{}", node.cpu.cores_present,
                           node.cpu.cores_visible, node.cpu.cores_used,
                           node.cpu.quota ? fmt::format("; quota {:.3g}", *node.cpu.quota) : ""));
  row("extensions", node.cpu.isa.empty() ? "none known here" : Joined(node.cpu.isa, " "));
  row("memory", fmt::format("{:.1f} GiB", Gib(node.memory_bytes)));
  for (const Accelerator& accelerator : node.accelerators) {
    row("accelerators", fmt::format("{} x {}: {} visible, {} used", accelerator.present,
                                    accelerator.name, accelerator.visible, accelerator.used));
  }
  if (node.accelerators.empty()) row("accelerators", "none");
  for (const Nic& nic : node.nics) {
    row("network", fmt::format("{} x {}{}", nic.count, nic.kind,
                               nic.gbps ? fmt::format(", {:g} Gb/s", *nic.gbps) : ""));
  }
  const std::string where = node.virtualization == "none"
                                ? "bare metal"
                                : "virtual machine (" + node.virtualization + ")";
  row("runs on", node.in_container ? where + ", in a container" : where);
  for (const auto& [name, version] : node.software) row(name, version);

  text += node.notes.empty() ? "\nnothing found that makes it noisy\n" : "\n";
  for (const Note& note : node.notes) {
    text += Clean(fmt::format("note: {}; fix: {}", note.what, note.remedy), 1024) + "\n";
  }
  return text;
}

}  // namespace assay
