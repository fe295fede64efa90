// A Run in which every field of run.h is set, and no two fields that could be mixed up are alike:
// what is lost or swapped on the way to a file and back is seen.
#pragma once

#include "results/file/run.h"

namespace assay {

inline Record SampleGemm() {
  Record gemm;
  gemm.probe = "gemm";
  gemm.method = 1;
  gemm.params = {{"dtype", "bf16"},         {"acc", "f32"},
                 {"m", std::int64_t{8192}}, {"n", std::int64_t{4096}},
                 {"k", std::int64_t{2048}}, {"batch", std::int64_t{1}},
                 {"cache", "cold"},         {"inputs", "normal"},
                 {"regime", "burst"},       {"algo", "default"},
                 {"scope", "node"}};
  gemm.backend = "fake";
  gemm.device = {.kind = "gpu", .name = "NVIDIA H200"};
  gemm.status = Status::kPartial;
  gemm.reason = "one of 2 devices was lost";
  gemm.remedy = "look at dmesg";
  gemm.complete = false;
  gemm.stopped = "time";
  gemm.work = {
      .flops = 137438953472, .bytes = 11, .bytes_min = 67108864, .ops = 3, .formula = "gemm/2mnk"};
  gemm.facts = {{"algo_id", "7"},
                {"workspace_bytes", std::int64_t{33554432}},
                {"pack_s", 0.25},
                {"packed", true},
                {"whole", 2.0}};
  gemm.units = {{.rank = 0, .node = 0, .device = 0}, {.rank = 1, .node = 1, .device = 3}};
  gemm.here = Here{.probe = "peak",
                   .params = {{"dtype", "bf16"}, {"scope", "node"}},
                   .work = {.flops = 1000, .formula = "peak/flops"}};
  gemm.rounds = {
      {.start_s = 12.4,
       .order = 7,
       .round = 2,
       .batch = 32,
       .time_s = {0.001543, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1.0 / 3.0},
       .host_time_s = {0.001561, 0.001559},
       .stable_time_s = {0.002},
       .unit_p50_s = {0.00154, 0.00153},
       .unit_max_s = {0.00155, 0.00156},
       .here_time_s = {0.0009},
       .phase_time_s = {{"compute", {0.0011, 0.0012}}, {"communicate", {0.0013}}},
       .telemetry = {{.unit = 1,
                      .at_s = {12.4},
                      .sm_mhz = {1620},
                      .power_w = {698.5},
                      .energy_j = 41.2,
                      .events = {"sw_power_cap"}}},
       .sustained =
           Sustained{.least_s = 60,
                     .heated_s = 60.5,
                     .counted_s = 61.25,
                     .ended = "steady",
                     .drift = {{.of = "time_s", .per_minute = -0.0012, .half_width = 0.0031}},
                     .start = {{.unit = 1,
                                .at_s = {12.1},
                                .sm_mhz = {1980},
                                .power_w = {71.5},
                                .temperature_c = {34}}}}},
      {.start_s = 30.25, .order = 2, .batch = 33, .time_s = {0.0016}}};
  gemm.histograms = {{"latency_s", {.scheme = "loglin64", .counts = {{812, 40}, {813, 1}}}}};
  gemm.verify = Verification{.when = "first",
                             .round = 3,
                             .checked = 65536,
                             .wrong = 2,
                             .max_error = 0.004,
                             .tolerance = 0.008,
                             .reference = "f64 rows",
                             .what = "C[3, 4] is 2 and should be 1"};
  return gemm;
}

inline Record SampleStorage() {
  Record storage;
  storage.probe = "storage";
  storage.params = {{"pattern", "randread"},
                    {"block_bytes", std::int64_t{4096}},
                    {"depth", std::int64_t{32}},
                    {"jobs", std::int64_t{1}},
                    {"direct", true},
                    {"cache", "cold"}};
  storage.backend = "io_uring";
  storage.stopped = "ci";
  storage.storage = 0;
  storage.work = {.bytes = 4096, .ops = 1, .formula = "io/bytes", .per = "iteration"};
  storage.facts = {{"flags", "fixed_buffers, defer_taskrun"}, {"direct", "proved"}};
  storage.rounds = {{.start_s = 20.1, .order = 2, .batch = 20000, .time_s = {0.0000132}}};
  storage.verify = Verification{.checked = 4096};
  return storage;
}

inline Record SampleSkip() {
  Record skip;
  skip.probe = "fabric";
  skip.backend = "ofi";
  skip.status = Status::kSkipped;
  skip.reason = "needs two ranks";
  skip.remedy = "mpirun -np 2 assay run fabric";
  return skip;
}

inline Node SampleNode() {
  const Finding finding = {.value = "aws", .how = "dmi", .confidence = "certain"};
  Node node;
  node.node_id = "5f3e";
  node.in_container = true;
  node.virtualization = "kvm";
  node.identity = {.provider = finding,
                   .instance = {.value = "p5.48xlarge", .how = "imds", .confidence = "likely"},
                   .region = {.value = "us-east-1", .how = "flag", .confidence = "guess"},
                   .zone_id = {.value = "use1-az4", .how = "imds", .confidence = "certain"},
                   .purchase = {.value = "spot", .how = "imds", .confidence = "certain"}};
  node.cpu = {.model = "AMD EPYC 7R13",
              .sockets = 2,
              .cores_present = 192,
              .cores_visible = 96,
              .cores_used = 48,
              .isa = {"avx512_bf16", "amx"},
              .quota = 47.5};
  node.memory_bytes = 2199023255552;
  node.accelerators = {{.name = "NVIDIA H100 80GB HBM3",
                        .present = 8,
                        .visible = 4,
                        .used = 2,
                        .memory_bytes = 85899345920,
                        .vbios = "96.00.74",
                        .power_limit_w = 700,
                        .ecc = true,
                        .mig = false}};
  node.nics = {{.kind = "efa", .count = 32, .gbps = 100}};
  node.storage = {{.path_id = 0,
                   .kind = "local",
                   .device = "Amazon EC2 NVMe Instance Storage",
                   .volume_type = "instance",
                   .gib = 28610,
                   .iops = 3000,
                   .mbps = 125,
                   .fs = "xfs",
                   .mount = {"noatime"},
                   .raid = "raid0 x8",
                   .how = "nvme"}};
  node.software = {{"kernel", "6.8"},      {"driver", "580.65"}, {"cuda", "13.0"},
                   {"cublas", "13.1.0.3"}, {"nccl", "2.28.9"},   {"mpi", "Open MPI 4.1.7"},
                   {"libfabric", "1.22"},  {"onednn", "2.6.3"}};
  node.env = {{"NCCL_DEBUG", "INFO"}};
  node.notes = {{.what = "GPU clocks are not locked", .remedy = "sudo nvidia-smi -lgc 1980"}};
  return node;
}

inline Run SampleRun() {
  Run run;
  run.id = "0d3f6a52";
  run.campaign = "spring";
  run.seed = 18446744073709551615U;
  run.status = "interrupted";
  run.started = "2026-11-21T22:40:13Z";
  run.ended = "2026-11-21T22:42:40Z";
  run.complete = false;
  run.rounds = 5;
  run.division = "open";
  run.assay = {
      .version = "0.1.0",
      .commit = "abc1234",
      .dirty = true,
      .build = "Release GNU 12.2.0",
      .image_digest = "sha256:5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"};
  run.suite = {.name = "quick", .version = 2, .sha256 = "9f86d081884c7d65"};
  run.command = {{"probes", {"gemm", "storage"}}, {"dtype", {"bf16"}}};
  run.timeline_s = {{"boot", -412.5},
                    {"container", -38.0},
                    {"process", 0.0},
                    {"first_result", 6.1},
                    {"first_verified", 6.5}};
  run.catalog_sha256 = "60303ae22b998861";
  run.cost = RunCost{.nodes = 2,
                     .purchase = "reserved",
                     .price_date = "2025-10",
                     .usd_per_node_hour = 54.5,
                     .unit_s = 1.5,
                     .minimum_s = 60.5,
                     .before_s = 412.25,
                     .planned_s = 118.5,
                     .held_s = 120.4,
                     .billed_s = 121.5,
                     .first_verified_s = 418.75,
                     .planned_usd = 3.59,
                     .usd = 3.68,
                     .first_verified_usd = 12.68,
                     .is_private = true};
  run.offers = {{.provider = "aws",
                 .seller = "aws-marketplace",
                 .instance = "p5.48xlarge",
                 .region = "us-east-1",
                 .zone = "us-east-1a",
                 .resource = "node",
                 .purchase = "reserved",
                 .offered = true,
                 .term_months = 12,
                 .upfront_usd = 0,
                 .usd_per_hour = 55.04,
                 .usd_low = 50.5,
                 .usd_high = 60.5,
                 .price_date = "2025-11",
                 .date_precision = "not_before",
                 .kind = "list",
                 .source = "aws.amazon.com/ec2/pricing",
                 .is_private = false},
                {.provider = "aws",
                 .seller = "aws",
                 .instance = "p5.48xlarge",
                 .region = "us-east-2",
                 .purchase = "on_demand",
                 .offered = false,
                 .price_date = "undated",
                 .date_precision = "undated",
                 .kind = "typed",
                 .source = "--price",
                 .is_private = true}};
  run.ranks = {{.rank = 0, .node = 0, .devices = {0, 1}, .numa = 0},
               {.rank = 1, .node = 1, .devices = {}, .numa = -1}};
  run.nodes = {SampleNode(), SampleNode()};
  run.records = {SampleGemm(), SampleStorage(), SampleSkip()};
  return run;
}

}  // namespace assay
