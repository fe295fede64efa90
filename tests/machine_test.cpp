#include "runner/program/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "tests/scripted_root.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

MachineOptions Options(const ScriptedRoot& root) {
  return {.root = root.Path(), .environment = {}, .topology = "package:2 core:4 pu:2"};
}

std::vector<std::string> Whats(const Node& node) {
  std::vector<std::string> whats;
  for (const Note& note : node.notes) {
    EXPECT_NE(note.remedy, "") << note.what;
    whats.push_back(note.what);
  }
  return whats;
}

// The one note of a machine that is quiet but for one file.
std::string NoteOf(const std::string& file, const std::string& text) {
  ScriptedRoot root;
  root.Write("proc/meminfo", "MemTotal: 8388608 kB\nSwapTotal: 4194304 kB\nSwapFree: 4194304 kB\n");
  root.Write(file, text);
  const auto whats = Whats(InspectMachine(Options(root)));
  if (whats.size() > 1) return "several";
  return whats.empty() ? "" : whats.front();
}

TEST(Machine, CoresAreCountedAsPresentVisibleAndUsed) {
  const ScriptedRoot root;
  MachineOptions options = Options(root);
  Node node = InspectMachine(options);
  EXPECT_EQ(node.cpu.sockets, 2);
  EXPECT_EQ(node.cpu.cores_present, 8);
  EXPECT_EQ(node.cpu.cores_visible, 8);
  EXPECT_EQ(node.cpu.cores_used, 8);

  options.cpus = {{0, 1, 2}};  // both threads of core 0, one of core 1
  options.threads = 1;
  node = InspectMachine(options);
  EXPECT_EQ(node.cpu.cores_present, 8);
  EXPECT_EQ(node.cpu.cores_visible, 2);
  EXPECT_EQ(node.cpu.cores_used, 1);
  EXPECT_THAT(Whats(node), ElementsAre("this process may run on 2 of 8 cores"));
}

TEST(Machine, TheCpuIsReadFromTheKernel) {
  ScriptedRoot root;
  root.Write(
      "proc/cpuinfo",
      "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8488C\n"
      "flags\t\t: fpu avx2 fma avx512f avx512_bf16 amx_tile amx_bf16 hypervisor unheard_of\n");
  root.Write("proc/sys/kernel/osrelease", "6.8.0-1021-aws\n");
  root.Write("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
  root.Write("proc/meminfo", "MemTotal:       2113929216 kB\n");
  const Node node = InspectMachine(Options(root));
  EXPECT_EQ(node.cpu.model, "Intel(R) Xeon(R) Platinum 8488C");
  EXPECT_THAT(node.cpu.isa,
              ElementsAre("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"));
  EXPECT_EQ(node.software.at("kernel"), "6.8.0-1021-aws");
  EXPECT_EQ(node.virtualization, "kvm");
  EXPECT_EQ(node.memory_bytes, std::int64_t{2113929216} * 1024);
}

TEST(Machine, VirtualizationIsNamed) {
  const auto kind = [](const std::string& flags, const std::string& vendor,
                       const std::string& product) {
    ScriptedRoot root;
    root.Write("proc/cpuinfo", "flags : " + flags + "\n");
    root.Write("sys/class/dmi/id/sys_vendor", vendor);
    root.Write("sys/class/dmi/id/product_name", product);
    return InspectMachine(Options(root)).virtualization;
  };
  EXPECT_EQ(kind("fpu", "Supermicro", "SYS-821GE"), "none");
  EXPECT_EQ(kind("fpu", "Amazon EC2", "g4dn.metal"), "none");
  EXPECT_EQ(kind("", "Amazon EC2", "m7g.metal"), "none");  // Arm has no such flag
  EXPECT_EQ(kind("", "Amazon EC2", "m7g.large"), "kvm");
  EXPECT_EQ(kind("fpu hypervisor", "Google", "Google Compute Engine"), "kvm");
  EXPECT_EQ(kind("fpu hypervisor", "Microsoft Corporation", "Virtual Machine"), "hyperv");
  EXPECT_EQ(kind("fpu hypervisor", "Xen", "HVM domU"), "xen");
  EXPECT_EQ(kind("fpu hypervisor", "VMware, Inc.", "VMware7,1"), "vmware");
  EXPECT_EQ(kind("fpu hypervisor", "Someone", "Something"), "unknown");
}

TEST(Machine, AContainerIsKnownByItsMarks) {
  const auto contained = [](const std::string& file, const std::string& text,
                            const std::string& variable = "") {
    ScriptedRoot root;
    if (!file.empty()) root.Write(file, text);
    MachineOptions options = Options(root);
    if (!variable.empty()) options.environment[variable] = "1";
    return InspectMachine(options).in_container;
  };
  EXPECT_FALSE(contained("", ""));
  EXPECT_FALSE(contained("proc/1/cgroup", "0::/init.scope\n"));
  EXPECT_TRUE(contained(".dockerenv", ""));
  EXPECT_TRUE(contained("run/.containerenv", ""));
  EXPECT_TRUE(contained("run/host/container-manager", "systemd-nspawn"));
  EXPECT_TRUE(contained(".singularity.d/runscript", ""));
  EXPECT_TRUE(contained("proc/1/cgroup", "12:cpu:/kubepods/burstable/pod1\n"));
  EXPECT_TRUE(contained("", "", "container"));
  EXPECT_TRUE(contained("", "", "KUBERNETES_SERVICE_HOST"));
}

TEST(Machine, AcceleratorsAreCountedOnTheBusAndNamedByTheirDriver) {
  ScriptedRoot root;
  const auto card = [&](const std::string& address, const std::string& vendor,
                        const std::string& device, const std::string& kind) {
    const std::string folder = "sys/bus/pci/devices/" + address;
    root.Write(folder + "/vendor", vendor + "\n");
    root.Write(folder + "/device", device + "\n");
    root.Write(folder + "/class", kind + "\n");
  };
  card("0000:17:00.0", "0x10de", "0x2330", "0x030200");
  card("0000:18:00.0", "0x10de", "0x2330", "0x030200");
  card("0000:19:00.0", "0x10de", "0x22a3", "0x068000");  // an NVSwitch is a bridge
  card("0000:1a:00.0", "0x1a03", "0x2000", "0x030000");  // the console's graphics
  card("0000:1b:00.0", "0x1002", "0x74a1", "0x120000");
  card("0000:1b:02.0", "0x1002", "0x74b5", "0x120000");
  root.Write("sys/bus/pci/devices/0000:1b:02.0/physfn/vendor", "0x1002");  // a part of the former
  // In a container the driver may show one of two.
  root.Write("proc/driver/nvidia/gpus/0000:17:00.0/information",
             "Model: \t\t NVIDIA H100 80GB HBM3\nGPU UUID: \t GPU-canary\n");
  root.Write("proc/driver/nvidia/gpus/0000:18:00.0/information", "Model: NVIDIA H100 80GB HBM3\n");
  root.Write("sys/module/nvidia/version", "580.65.06\n");

  const Node node = InspectMachine(Options(root));
  ASSERT_EQ(node.accelerators.size(), 2U);
  EXPECT_EQ(node.accelerators[0].name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(node.accelerators[0].present, 2);
  EXPECT_EQ(node.accelerators[0].visible, 0);
  EXPECT_EQ(node.accelerators[0].used, 0);
  EXPECT_EQ(node.accelerators[1].name, "PCI 1002:74a1");
  EXPECT_EQ(node.accelerators[1].present, 1);
  EXPECT_EQ(node.software.at("driver"), "580.65.06");
  EXPECT_THAT(MachineText(node), Not(HasSubstr("canary")));
}

TEST(Machine, NetworksAreCountedByKindAndSpeed) {
  ScriptedRoot root;
  for (const std::string& nic : {std::string("rdmap1"), std::string("rdmap2")}) {
    root.Link("sys/class/infiniband/" + nic + "/device", "sys/devices/" + nic);
    root.Link("sys/devices/" + nic + "/driver", "sys/bus/pci/drivers/efa");
    root.Write("sys/class/infiniband/" + nic + "/ports/1/rate", "100 Gb/sec (4X EDR)\n");
  }
  root.Link("sys/class/infiniband/mlx5_0/device", "sys/devices/mlx0");
  root.Link("sys/devices/mlx0/driver", "sys/bus/pci/drivers/mlx5_core");
  root.Write("sys/class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand\n");
  root.Write("sys/class/infiniband/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n");
  root.Link("sys/class/infiniband/mlx5_1/device", "sys/devices/mlx1");
  root.Write("sys/class/infiniband/mlx5_1/ports/1/link_layer", "Ethernet\n");
  root.Write("sys/class/infiniband/mlx5_1/ports/1/rate", "200 Gb/sec (4X HDR)\n");
  // The same card once more, as an Ethernet interface.
  root.Link("sys/class/net/ens1/device", "sys/devices/mlx1");
  root.Write("sys/class/net/ens1/type", "1\n");
  root.Link("sys/class/net/eth0/device", "sys/devices/virtio0");
  root.Write("sys/class/net/eth0/type", "1\n");
  root.Write("sys/class/net/eth0/speed", "-1\n");
  root.Write("sys/class/net/eth0/address", "52:54:00:ca:na:ry\n");
  root.Link("sys/class/net/eth1/device", "sys/devices/e1000");
  root.Write("sys/class/net/eth1/type", "1\n");
  root.Write("sys/class/net/eth1/speed", "25000\n");
  root.Write("sys/class/net/lo/type", "772\n");
  root.Write("sys/class/net/docker0/type", "1\n");

  std::vector<std::string> found;
  for (const Nic& nic : InspectMachine(Options(root)).nics) {
    found.push_back(std::to_string(nic.count) + " " + nic.kind + " " +
                    std::to_string(static_cast<int>(nic.gbps.value_or(-1))));
  }
  EXPECT_THAT(found, ElementsAre("2 efa 100", "1 ethernet -1", "1 ethernet 25", "1 infiniband 400",
                                 "1 roce 200"));
}

TEST(Machine, AQuietMachineHasNoNotes) {
  ScriptedRoot root;
  root.Write("proc/meminfo", "MemTotal: 8388608 kB\nSwapTotal: 4194304 kB\nSwapFree: 4190000 kB\n");
  root.Write("proc/loadavg", "0.20 0.30 9.00 1/95 27159\n");
  root.Write("proc/stat", "cpu  100000 0 50000 9000000 513 0 86 900 0 0\n");
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/memory.max", "max\n");
  root.Write("proc/sys/kernel/numa_balancing", "0\n");
  root.Write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  root.Write("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "performance\n");
  root.Write("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "3500000\n");
  root.Write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3500000\n");
  root.Write("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
  root.Write("sys/devices/system/cpu/smt/active", "0\n");
  const Node node = InspectMachine(Options(root));
  EXPECT_THAT(Whats(node), IsEmpty());
  EXPECT_THAT(MachineText(node), HasSubstr("nothing found that makes it noisy"));
}

TEST(Machine, EachNoiseIsSaidOnce) {
  EXPECT_EQ(NoteOf("sys/devices/system/cpu/cpufreq/policy3/scaling_governor", "schedutil\n"),
            "CPU governor is 'schedutil'");
  EXPECT_EQ(NoteOf("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
            "turbo is on, so clocks follow temperature and neighbours");
  EXPECT_EQ(NoteOf("sys/devices/system/cpu/cpufreq/boost", "1\n"),
            "boost is on, so clocks follow temperature and neighbours");
  EXPECT_EQ(NoteOf("proc/loadavg", "3.24 1.00 1.00 1/95 27159\n"),
            "the load average of the last minute is 3.2 on 8 cores");
  EXPECT_EQ(NoteOf("proc/stat", "cpu  5000 0 4000 9000000 513 0 0 1000 0 0\n"),
            "the hypervisor withheld 10.0 % of the CPU time wanted since boot (steal)");
  EXPECT_EQ(
      NoteOf("proc/meminfo", "MemTotal: 8388608 kB\nSwapTotal: 4194304 kB\nSwapFree: 2097152 kB\n"),
      "2.0 GiB of memory are swapped out");
  EXPECT_EQ(NoteOf("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
            "transparent huge pages are off");
}

TEST(Machine, HardwareThreadsThatShareACoreAreSaidWhereTheyCanBeTurnedOff) {
  ScriptedRoot root;
  root.Write("sys/devices/system/cpu/smt/active", "1\n");
  root.Write("sys/devices/system/cpu/smt/control", "on\n");
  EXPECT_THAT(Whats(InspectMachine(Options(root))),
              ElementsAre(HasSubstr("two hardware threads share each core")));
  root.Write("sys/devices/system/cpu/smt/control", "notsupported\n");
  EXPECT_THAT(Whats(InspectMachine(Options(root))), IsEmpty());
}

TEST(Machine, ALoweredClockLimitIsSaidWithBothValues) {
  ScriptedRoot root;
  root.Write("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "2100000\n");
  root.Write("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3500000\n");
  const Node node = InspectMachine(Options(root));
  EXPECT_THAT(Whats(node), ElementsAre("CPU clock is limited to 2.10 of 3.50 GHz"));
  EXPECT_EQ(node.notes[0].remedy, "sudo cpupower frequency-set -u 3.50GHz");
}

TEST(Machine, NumaBalancingMattersWithSeveralNodesOnly) {
  ScriptedRoot root;
  root.Write("proc/sys/kernel/numa_balancing", "1\n");
  MachineOptions options = Options(root);
  EXPECT_THAT(Whats(InspectMachine(options)), IsEmpty());
  options.topology = "numa:2 core:4 pu:1";
  EXPECT_THAT(Whats(InspectMachine(options)),
              ElementsAre("the kernel moves memory between NUMA nodes while it is used"));
}

TEST(Machine, TheTightestMemoryLimitOfAContainerIsSaid) {
  ScriptedRoot v2;
  v2.Write("proc/meminfo", "MemTotal: 8388608 kB\n");
  v2.Write("proc/self/cgroup", "0::/pod/task\n");
  v2.Write("sys/fs/cgroup/pod/memory.max", "2147483648\n");
  v2.Write("sys/fs/cgroup/pod/task/memory.max", "max\n");
  Node node = InspectMachine(Options(v2));
  EXPECT_EQ(node.memory_bytes, std::int64_t{8} << 30U);
  EXPECT_THAT(Whats(node), ElementsAre("the container may use 2.0 of 8.0 GiB of memory"));

  ScriptedRoot v1;
  v1.Write("proc/meminfo", "MemTotal: 8388608 kB\n");
  v1.Write("proc/self/cgroup", "4:cpuset,memory:/task\n0::/\n");
  v1.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  v1.Write("sys/fs/cgroup/memory/task/memory.limit_in_bytes", "1073741824\n");
  EXPECT_THAT(Whats(InspectMachine(Options(v1))),
              ElementsAre("the container may use 1.0 of 8.0 GiB of memory"));
}

TEST(Machine, ACpuQuotaIsSaid) {
  ScriptedRoot root;
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  const Node node = InspectMachine(Options(root));
  ASSERT_TRUE(node.cpu.quota);
  EXPECT_EQ(*node.cpu.quota, 1.5);
  EXPECT_EQ(node.cpu.cores_used, 2);  // as many threads as the quota can feed
  EXPECT_THAT(Whats(node), ElementsAre("the container may use the time of 1.5 of 8 cores"));
}

TEST(Machine, HostileFilesStayHarmless) {
  ScriptedRoot root;
  root.Write("proc/cpuinfo", "model name : \x1b]0;owned\x07Xeon\nflags : fpu\n");
  root.Write("proc/meminfo", "MemTotal: a lot\nSwapTotal:\n:\n");
  root.Write("proc/stat", "cpu 1 2 3\n");
  root.Write("proc/self/cgroup", "garbage\n::\n4:memory\n");
  root.Write("proc/loadavg", "\n");
  root.Write("proc/driver/nvidia/gpus/0000:17:00.0/information", "Model: \x1b[31mNVIDIA\n");
  const Node node = InspectMachine(Options(root));
  EXPECT_EQ(node.memory_bytes, 0);
  EXPECT_THAT(MachineText(node) + MachineHeader({&node, 1}), Not(HasSubstr("\x1b")));
}

TEST(Machine, TheHeaderIsOneLine) {
  Node node;
  node.identity.provider.value = "aws";
  node.identity.instance.value = "p5.48xlarge";
  node.identity.region.value = "us-east-1";
  Accelerator accelerator;
  accelerator.name = "NVIDIA H100 80GB HBM3";
  accelerator.present = 8;
  node.accelerators = {accelerator};
  node.software = {{"driver", "580.65"}, {"cuda", "13.0"}, {"kernel", "6.8"}};
  EXPECT_EQ(MachineHeader({&node, 1}),
            "aws p5.48xlarge us-east-1   8 x NVIDIA H100 80GB HBM3   driver 580.65, CUDA 13.0");

  Node laptop;
  laptop.cpu.model = "AMD EPYC";
  laptop.cpu.cores_present = 2;
  laptop.software = {{"kernel", "6.18"}};
  EXPECT_EQ(MachineHeader({&laptop, 1}), "unknown machine   AMD EPYC, 2 cores   kernel 6.18");

  // A line for each kind of node.
  EXPECT_EQ(MachineHeader(std::vector{laptop, node, laptop}),
            "2 x unknown machine   AMD EPYC, 2 cores   kernel 6.18\n"
            "1 x aws p5.48xlarge us-east-1   8 x NVIDIA H100 80GB HBM3   driver 580.65, CUDA 13.0");
}

TEST(Machine, ANoteOfSomeNodesSaysOfWhich) {
  std::vector<Node> nodes(3);
  for (Node& node : nodes) node.notes = {{.what = "swap is on", .remedy = "swapoff -a"}};
  nodes[2].notes.push_back({.what = "it is busy", .remedy = "wait"});
  EXPECT_EQ(NotesText(nodes),
            "note: swap is on; fix: swapoff -a\nnote: it is busy; fix: wait (node 2)\n");
  EXPECT_EQ(NotesText({&nodes[2], 1}),
            "note: swap is on; fix: swapoff -a\nnote: it is busy; fix: wait\n");
}

TEST(Machine, TheTextSaysHowAndHowSurely) {
  Node node;
  node.identity.provider = {.value = "aws", .how = "dmi", .confidence = "certain"};
  node.identity.instance = {.value = "p5.48xlarge", .how = "flag", .confidence = "certain"};
  node.identity.purchase = {.value = "on_demand", .how = "imds", .confidence = "likely"};
  node.cpu = {.model = "Xeon",
              .sockets = 2,
              .cores_present = 96,
              .cores_visible = 96,
              .cores_used = 48,
              .isa = {"avx2", "amx_tile"},
              .quota = 48.5};
  node.memory_bytes = std::int64_t{2048} << 30U;
  node.nics = {{.kind = "efa", .count = 32, .gbps = 100}};
  node.virtualization = "kvm";
  node.in_container = true;
  node.software = {{"kernel", "6.8"}};
  node.notes = {{.what = "CPU governor is 'schedutil'",
                 .remedy = "sudo cpupower frequency-set -g performance"}};
  EXPECT_EQ(MachineText(node), R"(identity
  provider     aws                         certain, from DMI
  instance     p5.48xlarge                 given on the command line
  region       unknown
  zone         unknown
  purchase     on_demand                   likely, from the metadata service
  what is unknown can be given: --provider, --instance, --region, --purchase

machine
  CPU          Xeon, 2 sockets
  cores        96 present, 96 visible, 48 used; quota 48.5
  extensions   avx2 amx_tile
  memory       2048.0 GiB
  accelerators none
  network      32 x efa, 100 Gb/s
  runs on      virtual machine (kvm), in a container
  kernel       6.8

note: CPU governor is 'schedutil'; fix: sudo cpupower frequency-set -g performance
)");
}

// The real thing beside the scripted ones.
TEST(Machine, ThisMachineIsFound) {
  const Node node = InspectMachine();
  EXPECT_NE(node.cpu.model, "");
  EXPECT_GE(node.cpu.sockets, 1);
  EXPECT_GE(node.cpu.cores_visible, 1);
  EXPECT_LE(node.cpu.cores_visible, node.cpu.cores_present);
  EXPECT_LE(node.cpu.cores_used, node.cpu.cores_visible);
  EXPECT_LE(node.cpu.cores_visible, static_cast<int>(std::thread::hardware_concurrency()));
  EXPECT_GT(node.memory_bytes, std::int64_t{64} << 20U);
  EXPECT_NE(node.software.at("kernel"), "");
  EXPECT_NE(node.virtualization, "");
}

Accelerator Visible(const std::string& name) {
  Accelerator accelerator;
  accelerator.name = name;
  accelerator.visible = 1;
  accelerator.memory_bytes = std::int64_t{80} << 30;
  return accelerator;
}

TEST(AddVisible, CountsWhatAModuleSeesOfWhatIsOnTheBus) {
  Node node;
  node.accelerators.push_back(Visible("NVIDIA H100"));
  node.accelerators[0].present = 8;
  node.accelerators[0].visible = 0;
  AddVisible({Visible("NVIDIA H100"), Visible("NVIDIA H100")}, node);
  ASSERT_EQ(node.accelerators.size(), 1U);
  EXPECT_EQ(node.accelerators[0].present, 8);
  EXPECT_EQ(node.accelerators[0].visible, 2);
  EXPECT_EQ(node.accelerators[0].memory_bytes, std::int64_t{80} << 30);
  EXPECT_THAT(Whats(node), ElementsAre(HasSubstr("2 of 8 NVIDIA H100 are visible")));
}

TEST(AddVisible, GivesTheBussNumbersTheirName) {
  Node node;
  node.accelerators.push_back(Visible("PCI 10de:2330"));
  node.accelerators[0].present = 2;
  node.accelerators[0].visible = 0;
  AddVisible({Visible("NVIDIA H100"), Visible("NVIDIA H100")}, node);
  ASSERT_EQ(node.accelerators.size(), 1U);
  EXPECT_EQ(node.accelerators[0].name, "NVIDIA H100");
  EXPECT_EQ(node.accelerators[0].visible, 2);
  EXPECT_THAT(Whats(node), IsEmpty());
}

TEST(AddVisible, WhatTheBusDoesNotShowIsThereAllTheSame) {
  Node node;
  AddVisible({Visible("NVIDIA H100")}, node);
  ASSERT_EQ(node.accelerators.size(), 1U);
  EXPECT_EQ(node.accelerators[0].present, 1);
  AddVisible({}, node);
  EXPECT_EQ(node.accelerators[0].visible, 1);
}

}  // namespace
}  // namespace assay
