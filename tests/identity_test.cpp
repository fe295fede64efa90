#include "runner/program/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/base/error.h"
#include "tests/loopback_server.h"
#include "tests/scripted_root.h"

namespace assay {
namespace {

using ::testing::IsEmpty;

// The files of /sys/class/dmi/id by which clouds are known.
void WriteDmi(const ScriptedRoot& root, const std::string& vendor, const std::string& product,
              const std::string& tag) {
  root.Write("sys/class/dmi/id/sys_vendor", vendor + "\n");
  root.Write("sys/class/dmi/id/product_name", product + "\n");
  root.Write("sys/class/dmi/id/chassis_asset_tag", tag + "\n");
}

IdentityOptions Options(const ScriptedRoot& root, const std::string& url) {
  return {.metadata = {.url = url}, .root = root.Path(), .environment = {}};
}

std::string Text(const Finding& finding) {
  return finding.value + ", " + finding.how + ", " + finding.confidence;
}

InstanceFacts Facts(const std::string& provider, const std::string& instance,
                    const std::string& accelerator, int count, std::optional<double> memory,
                    std::optional<int> vcpus, std::optional<double> gib) {
  InstanceFacts facts;
  facts.provider = provider;
  facts.instance = instance;
  facts.accelerator = accelerator;
  facts.accelerator_count = count;
  facts.accelerator_memory_gib = memory;
  facts.vcpus = vcpus;
  facts.memory_gib = gib;
  return facts;
}

std::vector<InstanceFacts> SmallCatalog() {
  return {Facts("aws", "p5.48xlarge", "H100", 8, 80, 192, 2048),
          Facts("aws", "p5e.48xlarge", "H200", 8, 141, 192, 2048),
          Facts("aws", "p5en.48xlarge", "H200", 8, 141, 192, 2048),
          Facts("lambda", "gpu_8x_h100_sxm5", "H100", 8, 80, 208, 1800),
          Facts("azure", "Standard_NC80adis_H100_v5", "H100-NVL", 2, 94, 80, 640),
          Facts("aws", "g6.xlarge", "L4", 1, 24, 4, 16),
          Facts("coreweave", "gd-8xh100ib-i128", "H100", 8, 80, {}, {})};
}

Node Hardware(const std::string& accelerator, int count, int cores, std::int64_t gib) {
  Node node;
  node.cpu.cores_present = cores;
  node.memory_bytes = gib << 30U;
  if (count > 0) {
    Accelerator found;
    found.name = accelerator;
    found.present = count;
    node.accelerators.push_back(found);
  }
  return node;
}

TEST(Identity, OnAwsDmiNamesTheCloudAndTheServiceTheRest) {
  ScriptedRoot root;
  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "Amazon EC2");
  LoopbackServer server(AwsService(AwsLeaves()));
  const Identified found = Identify(Options(root, server.Url()), {});
  EXPECT_EQ(Text(found.identity.provider), "aws, dmi, certain");
  EXPECT_EQ(Text(found.identity.instance), "p5.48xlarge, imds, certain");
  EXPECT_EQ(Text(found.identity.region), "us-east-1, imds, certain");
  EXPECT_EQ(Text(found.identity.zone_id), "use1-az4, imds, certain");
  EXPECT_EQ(Text(found.identity.purchase), "spot, imds, certain");
  EXPECT_THAT(found.notes, IsEmpty());
}

TEST(Identity, OnGcpTheAnswerIsGooglesOwn) {
  ScriptedRoot root;
  WriteDmi(root, "Google", "Google Compute Engine", "");
  LoopbackServer server(GcpService(GcpLeaves()));
  const Identity identity = Identify(Options(root, server.Url()), {}).identity;
  EXPECT_EQ(Text(identity.provider), "gcp, dmi, certain");
  EXPECT_EQ(Text(identity.instance), "a3-highgpu-8g, imds, certain");
  EXPECT_EQ(Text(identity.region), "us-south1, imds, certain");
  EXPECT_EQ(Text(identity.purchase), "on_demand, imds, likely");
}

TEST(Identity, OnAzureTheAssetTagIsTheEvidence) {
  ScriptedRoot root;
  WriteDmi(root, "Microsoft Corporation", "Virtual Machine", "7783-7084-3265-9085-8269-3286-77");
  LoopbackServer server(AzureService(AzureLeaves()));
  const Identity identity = Identify(Options(root, server.Url()), {}).identity;
  EXPECT_EQ(Text(identity.provider), "azure, dmi, certain");
  EXPECT_EQ(Text(identity.instance), "Standard_ND96isr_H100_v5, imds, certain");
}

TEST(Identity, OnOciBareMetalTheAssetTagIsTheEvidenceToo) {
  ScriptedRoot root;
  WriteDmi(root, "Oracle Corporation", "ORACLE SERVER E5-2c", "OracleCloud.com");
  LoopbackServer server(OciService(OciLeaves()));
  const Identity identity = Identify(Options(root, server.Url()), {}).identity;
  EXPECT_EQ(Text(identity.provider), "oci, dmi, certain");
  EXPECT_EQ(Text(identity.instance), "BM.GPU.H100.8, imds, certain");
  EXPECT_EQ(Text(identity.zone_id), "PHX-AD-1, imds, certain");
  EXPECT_EQ(Text(identity.purchase), "unknown, none, none");
}

TEST(Identity, OldAwsMachinesAreKnownByXensIdentifier) {
  ScriptedRoot root;
  WriteDmi(root, "Xen", "HVM domU", "");
  root.Write("sys/hypervisor/uuid", "ec2a1b2c-0000-0000-0000-000000000000\n");
  LoopbackServer server(AwsService(AwsLeaves()));
  EXPECT_EQ(Text(Identify(Options(root, server.Url()), {}).identity.provider), "aws, dmi, certain");
}

TEST(Identity, WhereDmiNamesNoCloudWithAServiceNothingIsSent) {
  struct {
    const char* vendor;
    const char* product;
    const char* tag;
    const char* provider;
  } const machines[] = {
      {"Microsoft Corporation", "Virtual Machine", "0000-0000", "unknown, none, none"},
      {"OpenStack Foundation", "OpenStack Nova", "", "openstack, dmi, guess"},
      {"Alibaba Cloud", "Alibaba Cloud ECS", "", "alibaba, dmi, certain"},
      {"Supermicro", "SYS-821GE-TNHR", "Default string", "unknown, none, none"},
      {"Xen", "HVM domU", "", "unknown, none, none"},
      {"\x1b[2J<script>", "Amazon EC2", "amazon", "unknown, none, none"},
  };
  LoopbackServer server(AwsService(AwsLeaves()));
  for (const auto& machine : machines) {
    ScriptedRoot root;
    WriteDmi(root, machine.vendor, machine.product, machine.tag);
    const Identity identity = Identify(Options(root, server.Url()), {}).identity;
    EXPECT_EQ(Text(identity.provider), machine.provider) << machine.vendor;
    EXPECT_EQ(Text(identity.instance), "unknown, none, none") << machine.vendor;
  }
  const ScriptedRoot without_dmi;
  EXPECT_EQ(Identify(Options(without_dmi, server.Url()), {}).identity.provider.value, "unknown");
  EXPECT_EQ(server.Connections(), 0);
}

TEST(Identity, TheOffSwitchSendsNothing) {
  ScriptedRoot root;
  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "");
  LoopbackServer server(AwsService(AwsLeaves()));
  IdentityOptions options = Options(root, server.Url());
  options.no_metadata = true;
  const Identity identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.instance), "p5.48xlarge, dmi, likely");
  EXPECT_EQ(Text(identity.region), "unknown, none, none");
  EXPECT_EQ(server.Connections(), 0);
}

TEST(Identity, FlagsWinAndAreAllThatIsNeeded) {
  ScriptedRoot root;
  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "");
  LoopbackServer server(AwsService(AwsLeaves()));
  IdentityOptions options = Options(root, server.Url());
  options.instance = "p5.4xlarge";
  Identity identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.instance), "p5.4xlarge, flag, certain");
  EXPECT_EQ(Text(identity.region), "us-east-1, imds, certain");
  const int asked = server.Connections();

  options.region = "eu-north-1";
  options.purchase = "reserved";
  identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.provider), "aws, dmi, certain");
  EXPECT_EQ(Text(identity.region), "eu-north-1, flag, certain");
  EXPECT_EQ(Text(identity.purchase), "reserved, flag, certain");
  EXPECT_EQ(server.Connections(), asked);
}

TEST(Identity, AnInstanceAndARegionByFlagLeaveThePurchaseToTheMachine) {
  ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instance = "p5.48xlarge";
  options.region = "us-east-1";
  options.instances = SmallCatalog();
  Identity identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.provider), "aws, catalog, likely");
  EXPECT_EQ(Text(identity.purchase), "unknown, none, none");

  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "");
  LoopbackServer server(AwsService(AwsLeaves()));
  options.metadata.url = server.Url();
  identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.instance), "p5.48xlarge, flag, certain");
  EXPECT_EQ(Text(identity.purchase), "spot, imds, certain");
}

TEST(Identity, NamesAreThoseOfTheCloudHoweverTheyAreTyped) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = SmallCatalog();
  options.provider = "AWS";
  options.instance = "P5.48XLarge";
  options.region = "us-east-1a";
  Identity identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.provider), "aws, flag, certain");
  EXPECT_EQ(Text(identity.instance), "p5.48xlarge, flag, certain");
  EXPECT_EQ(Text(identity.region), "us-east-1, flag, certain");
  // The provider follows from the name.
  options.provider = "";
  options.instance = "standard_nc80adis_h100_v5";
  options.region = "EastUS2";
  identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.provider), "azure, catalog, likely");
  EXPECT_EQ(Text(identity.instance), "Standard_NC80adis_H100_v5, flag, certain");
  EXPECT_EQ(Text(identity.region), "eastus2, flag, certain");
}

TEST(Identity, AnInstanceThatTheHardwareCantBeIsNoted) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = SmallCatalog();
  options.instances.push_back(Facts("aws", "trn1.2xlarge", "Trainium1", 1, 32, 8, 32));
  options.devices = {{.name = "H100 SXM", .match = {"NVIDIA H100 80GB HBM3", "10de:2330"}},
                     {.name = "Trainium1", .match = {"1d0f:7164"}}};
  const auto note = [&](const std::string& instance, const Node& node) -> std::string {
    options.instance = instance;
    const Identified found = Identify(options, node);
    return found.notes.empty() ? "" : found.notes[0].what;
  };
  const std::string gpu = "NVIDIA H100 80GB HBM3";
  const std::string cant = "this can't be aws p5.48xlarge, which has ";
  EXPECT_EQ(note("p5.48xlarge", Hardware(gpu, 8, 96, 2015)), "");
  EXPECT_EQ(note("p5.48xlarge", Hardware(gpu, 8, 192, 1844)), "") << "a tenth less is still it";
  EXPECT_EQ(note("p5.48xlarge", Hardware(gpu, 8, 192, 1843)),
            cant + "2048 GiB of memory and this machine 1843.0");
  EXPECT_EQ(note("p5.48xlarge", Hardware(gpu, 8, 95, 2015)),
            cant + "192 vCPU and this machine 95 cores");
  EXPECT_EQ(note("p5.48xlarge", Hardware(gpu, 4, 96, 2015)),
            cant + "8 x H100 and this machine 4 x " + gpu);
  EXPECT_EQ(note("p5.48xlarge", Hardware("NVIDIA H200", 8, 96, 2015)),
            cant + "8 x H100 and this machine 8 x NVIDIA H200");
  EXPECT_EQ(note("p5.48xlarge", Hardware("", 0, 96, 2015)),
            cant + "8 x H100 and this machine shows none");
  EXPECT_EQ(note("P5.48xlarge", Hardware("", 0, 2, 16)),
            cant + "8 x H100 and this machine shows none");
  EXPECT_EQ(note("trn1.2xlarge", Hardware("", 0, 4, 31)), "") << "not looked for";
  EXPECT_EQ(note("c7i.large", Hardware("", 0, 2, 16)), "") << "nothing is known of it";
  // A container may be handed some of the node's.
  Node container = Hardware(gpu, 4, 96, 2015);
  container.in_container = true;
  EXPECT_EQ(note("p5.48xlarge", container), "");
  container.accelerators[0].present = 16;
  EXPECT_NE(note("p5.48xlarge", container), "");
  container.accelerators.clear();
  EXPECT_EQ(note("p5.48xlarge", container), "");
  // The cloud's own word is not doubted.
  options.instance = "";
  options.environment = {{"ASSAY_K8S_INSTANCE_TYPE", "p5.48xlarge"}};
  const Identified pod = Identify(options, Hardware("", 0, 2, 16));
  ASSERT_EQ(pod.notes.size(), 1U);
  EXPECT_EQ(pod.notes[0].remedy, "mend ASSAY_K8S_INSTANCE_TYPE, or give --instance");
}

TEST(Identity, AResellersMachineIsNotNamedByTheCloudBelow) {
  ScriptedRoot root;
  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "");
  LoopbackServer server(AwsService(AwsLeaves()));
  IdentityOptions options = Options(root, server.Url());
  options.provider = "reseller";
  const Identity identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.provider), "reseller, flag, certain");
  EXPECT_EQ(Text(identity.instance), "unknown, none, none");
  EXPECT_EQ(server.Connections(), 0);
}

TEST(Identity, AServiceThatFailsLeavesANoteAndWhatDmiKnows) {
  ScriptedRoot root;
  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "");
  const Identified found =
      Identify(Options(root, "http://127.0.0.1:" + std::to_string(ClosedPort())), {});
  EXPECT_EQ(Text(found.identity.instance), "p5.48xlarge, dmi, likely");
  ASSERT_EQ(found.notes.size(), 1U);
  EXPECT_EQ(found.notes[0].what, "the metadata service of aws can't be reached");
  EXPECT_NE(found.notes[0].remedy, "");
}

TEST(Identity, AUrlThatIsNotLoopbackIsRefused) {
  ScriptedRoot root;
  WriteDmi(root, "Amazon EC2", "p5.48xlarge", "");
  EXPECT_THROW(Identify(Options(root, "http://192.0.2.1"), {}), Error);
}

TEST(Identity, KubernetesLabelsComeAfterWhatTheMachineSays) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.environment = {{"ASSAY_K8S_INSTANCE_TYPE", "gd-8xh100ib-i128"},
                         {"ASSAY_K8S_REGION", "us-east-04"},
                         {"ASSAY_K8S_ZONE", "us-east-04a"},
                         {"ASSAY_K8S_SECRET", "canary"}};
  options.instances = SmallCatalog();
  const Identity identity = Identify(options, {}).identity;
  EXPECT_EQ(Text(identity.instance), "gd-8xh100ib-i128, k8s, likely");
  EXPECT_EQ(Text(identity.region), "us-east-04, k8s, likely");
  EXPECT_EQ(Text(identity.zone_id), "us-east-04a, k8s, likely");
  EXPECT_EQ(Text(identity.provider), "coreweave, catalog, likely");

  options.environment["ASSAY_K8S_INSTANCE_TYPE"] = "<img src=x>";
  EXPECT_EQ(Text(Identify(options, {}).identity.instance), "unknown, none, none");
}

TEST(Identity, HardwareThatFitsOneInstanceOfAKnownProviderIsLikelyIt) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = SmallCatalog();
  options.provider = "lambda";
  const Node node = Hardware("NVIDIA H100 80GB HBM3", 8, 104, 1771);
  const Identity identity = Identify(options, node).identity;
  EXPECT_EQ(Text(identity.instance), "gpu_8x_h100_sxm5, inventory, likely");
}

TEST(Identity, HardwareThatFitsOneInstanceAnywhereIsAGuess) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = SmallCatalog();
  const Identity identity = Identify(options, Hardware("NVIDIA L4", 1, 2, 15)).identity;
  EXPECT_EQ(Text(identity.instance), "g6.xlarge, inventory, guess");
  EXPECT_EQ(Text(identity.provider), "aws, inventory, guess");
}

TEST(Identity, HardwareThatFitsSeveralIsUnknownAndSaysWhich) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = SmallCatalog();
  const Identified found = Identify(options, Hardware("NVIDIA H200", 8, 96, 2015));
  EXPECT_EQ(Text(found.identity.instance), "unknown, none, none");
  ASSERT_EQ(found.notes.size(), 1U);
  EXPECT_EQ(found.notes[0].what,
            "the hardware fits several instances: aws p5e.48xlarge, aws p5en.48xlarge");
}

TEST(Identity, MemoryFitsWithinATenthEitherWay) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = {Facts("aws", "g6.xlarge", "L4", 1, 24, 4, 16)};
  const auto fits = [&](double gib, std::optional<double> accelerator_gib) {
    Node node = Hardware("NVIDIA L4", 1, 2, 0);
    const auto bytes = [](double of) { return static_cast<std::int64_t>(of * (1LL << 30)); };
    node.memory_bytes = bytes(gib);
    if (accelerator_gib) node.accelerators[0].memory_bytes = bytes(*accelerator_gib);
    return Identify(options, node).identity.instance.value == "g6.xlarge";
  };
  EXPECT_TRUE(fits(14.41, std::nullopt));
  EXPECT_FALSE(fits(14.39, std::nullopt));
  EXPECT_TRUE(fits(17.59, std::nullopt));
  EXPECT_FALSE(fits(17.61, std::nullopt));
  EXPECT_TRUE(fits(16, 21.61));
  EXPECT_FALSE(fits(16, 21.59));
  EXPECT_TRUE(fits(16, 26.39));
  EXPECT_FALSE(fits(16, 26.41));
}

TEST(Identity, HardwareThatFitsNothingStaysUnknown) {
  const ScriptedRoot root;
  IdentityOptions options = Options(root, "");
  options.instances = {Facts("aws", "g6.xlarge", "L4", 1, 24, 4, 16)};
  const Node machines[] = {
      Hardware("NVIDIA L40S", 1, 2, 15),  // L4 is the beginning of its name only
      Hardware("NVIDIA L4", 2, 2, 15),    // one more than g6.xlarge has
      Hardware("NVIDIA L4", 1, 3, 15),    // 3 or 6 hardware threads are not 4
      Hardware("NVIDIA L4", 1, 2, 64),    // four times its memory
      Hardware("", 0, 2, 15),             // none
  };
  for (const Node& machine : machines) {
    EXPECT_EQ(Text(Identify(options, machine).identity.instance), "unknown, none, none");
  }
}

}  // namespace
}  // namespace assay
