// Forty secrets of the kinds that a machine, its cloud and its user have, and where each turns up.
// Whatever assay writes (file, journal, page, log, error) must hold none of them: plant the texts,
// then search for the secrets.
#pragma once

#include <string>
#include <vector>

namespace assay {

struct Canary {
  enum Where { kEnvironment, kArgument, kDmi, kMetadata, kDevice, kLog, kReason };
  Where where;
  std::string text;    // what is there; for kEnvironment "NAME=value", for kArgument "option=value"
  std::string secret;  // the part that must not be found
};

inline std::vector<Canary> Canaries() {
  using enum Canary::Where;
  return {
      // Environment variables: names that aren't allowed, and values that an allowed name shouldn't
      // have.
      {kEnvironment, "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYcanary01key",
       "bPxRfiCYcanary01key"},
      {kEnvironment, "HF_TOKEN=hf_canary02canary02canary02", "canary02"},
      {kEnvironment, "OMPI_MCA_orte_hnp_uri=3405643776.0;tcp://10.77.3.3:41711", "10.77.3.3"},
      {kEnvironment, "SLURM_JOB_ACCOUNT=canary04-budget", "canary04"},
      {kEnvironment, "SLURM_NODELIST=canary05-[001-004]", "canary05"},
      {kEnvironment, "SSH_CONNECTION=203.0.113.6 50022 10.77.6.6 22", "203.0.113.6"},
      {kEnvironment, "NCCL_SOCKET_IFNAME=canary07@vlan", "canary07"},
      {kEnvironment, "NCCL_TUNER_CONFIG_PATH=/home/canary08/tuner.csv", "canary08"},
      {kEnvironment, "NCCL_TOPO_FILE=https://canary09.example/topo.xml?sig=1", "canary09"},
      {kEnvironment, "CUDA_VISIBLE_DEVICES=GPU-8932f937-d72c-4106-c12f-20bd9fca9f10",
       "20bd9fca9f10"},
      {kEnvironment, "NCCL_IB_HCA=fe80::ca11:a2ff:fe00:11", "ca11:a2ff"},
      {kEnvironment, "UCX_NET_DEVICES=02:ca:7a:7e:00:12", "ca:7a:7e"},
      {kEnvironment, "OMP_PLACES=Q2FuYXJ5MTNDYW5hcnkxM0NhbmFyeTEz", "Q2FuYXJ5MTN"},
      // Typed arguments.
      {kArgument, "out=/home/canary14/results/a.json", "canary14"},
      {kArgument, "storage_path=/mnt/canary15", "canary15"},
      {kArgument, "price=31.16", "31.16"},
      {kArgument, "discount=0.17", "0.17"},
      {kArgument, "filter=https://canary18.example/?token=x", "canary18"},
      {kArgument, "set=owner=canary19@corp.example", "canary19"},
      {kArgument, "max_cost=4321.20", "4321.20"},
      // Texts of the firmware (DMI).
      {kDmi, "board asset tag i-0ca7a7e0ca7a7e021", "0ca7a7e021"},
      {kDmi, "product uuid ec2ca7a7-9099-7caf-fd22-0ca7a7e00022", "0ca7a7e00022"},
      {kDmi, "Serial Number: CANARY23-9021", "CANARY23"},
      {kDmi, "chassis asset tag: 7783-CANARY24-11", "CANARY24"},
      // Replies of a metadata service.
      {kMetadata, R"("accountId" : "251251251251")", "251251251251"},
      {kMetadata, "projects/canary26-prod/zones/us-central1-a", "canary26"},
      {kMetadata, "/subscriptions/ca7a7e27-1111-2222-3333-444444444427/resourceGroups/canary27rg",
       "canary27rg"},
      {kMetadata, "ip-10-77-28-28.ec2.internal", "10-77-28-28"},
      {kMetadata, "arn:aws:iam::292929292929:role/canary29", "canary29"},
      {kMetadata, "user-data: IyEvYmluL2Jhc2gKZXhwb3J0IFNFQ1JFVD1jYW5hcnkzMA==", "IyEvYmluL2Jhc2g"},
      // Names of devices.
      {kDevice, "Amazon Elastic Block Store vol0ca7a7e0ca7a7e031", "0ca7a7e031"},
      {kDevice, "mlx5_0 gid fe80:0000:0000:0000:0ca7:7eff:fe00:0032", "0ca7:7eff"},
      {kDevice, "nvme serial=S5CANARY33X", "S5CANARY33X"},
      {kDevice, "eth0 (02:42:ca:7a:7e:34)", "ca:7a:7e:34"},
      // Logs of libraries.
      {kLog, "connect to 172.31.35.35<45035> failed", "172.31.35.35"},
      {kLog, "[canary36.corp.internal:01234] mca_base: component not found", "canary36"},
      {kLog, "could not open /root/.canary37/config", "canary37"},
      {kLog, "Authorization: Bearer eyJjYW5hcnkzOCI6MX0.e30.c2ln", "eyJjYW5hcnkzOCI6MX0"},
      // Texts that become the reason of a failure.
      {kReason, "mount of canary39@storage.corp.example:/export failed", "canary39"},
      {kReason, "GET https://bucket.example/x?X-Amz-Signature=ca7a7e40ca7a7e40 gave 403",
       "ca7a7e40"},
  };
}

}  // namespace assay
