// The structs of run.h as the result file has them: the keys of each in the order of FORMAT.md, and
// what its numbers may be. Each is described once, for what reads, writes and prints it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "results/base/dtype.h"
#include "results/file/run.h"
#include "results/file/told.h"

namespace assay {

// The sign that a number may have. It may never be infinite or NaN, which JSON can't write.
enum class Sign { kAny, kNotNegative, kPositive };

// Whether a number is finite and has that sign.
inline bool Allows(Sign sign, double value) {
  if (!std::isfinite(value)) return false;
  switch (sign) {
    case Sign::kAny:
      return true;
    case Sign::kNotNegative:
      return value >= 0;
    case Sign::kPositive:
      return value > 0;
  }
  return false;
}

// The words for a number that isn't allowed, to follow its key: "is -1 and must be 0 or above".
inline std::string NotAllowed(Sign sign, double value) {
  const char* rule = sign == Sign::kPositive ? "above 0" : "0 or above";
  return fmt::format("is {} and must be {}", value, sign == Sign::kAny ? "a number" : rule);
}

// Each struct is described by one function Fields, which all that reads and writes walks alike:
//   archive("key", value)            is always written, and must be there when reading;
//   archive.Maybe("key", value)      is written where it isn't the usual value (by default T{});
//   archive.OrInfinite("key", error) is written where it isn't 0, as null where it isn't finite;
//   archive.Object("key", has, f)    is an object within, described by f(archive of the object).
// A Sign after the value is the rule for its numbers; without one they may not be negative. A
// std::optional is null where it is empty, and may be absent when reading.
template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Work> work) {
  a.Maybe("flops", work.flops, Sign::kPositive);
  a.Maybe("bytes", work.bytes, Sign::kPositive);
  a.Maybe("bytes_min", work.bytes_min, Sign::kPositive);
  a.Maybe("ops", work.ops, Sign::kPositive);
  a("formula", work.formula);
  a("per", work.per);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Unit> unit) {
  a("rank", unit.rank);
  a("node", unit.node);
  a("device", unit.device);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Telemetry> telemetry) {
  a("unit", telemetry.unit);
  a("at_s", telemetry.at_s);
  a("sm_mhz", telemetry.sm_mhz);
  a("power_w", telemetry.power_w);
  a.Maybe("temperature_c", telemetry.temperature_c);
  a("energy_j", telemetry.energy_j);
  a("events", telemetry.events);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Trend> trend) {
  a("of", trend.of);
  a.Maybe("unit", trend.unit);
  a("per_minute", trend.per_minute, Sign::kAny);
  a("half_width", trend.half_width);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Sustained> sustained) {
  a("least_s", sustained.least_s, Sign::kPositive);
  a("heated_s", sustained.heated_s);
  a("counted_s", sustained.counted_s, Sign::kPositive);
  a("ended", sustained.ended);
  a("drift", sustained.drift);
  a.Maybe("start", sustained.start);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Visit> visit) {
  a("start_s", visit.start_s);
  a("order", visit.order);
  a.Maybe("round", visit.round);
  a("batch", visit.batch, Sign::kPositive);
  a.Maybe("iterations", visit.iterations, Sign::kPositive);
  a("time_s", visit.time_s, Sign::kPositive);
  a.Maybe("host_time_s", visit.host_time_s, Sign::kPositive);
  a.Maybe("stable_time_s", visit.stable_time_s, Sign::kPositive);
  a.Maybe("here_time_s", visit.here_time_s, Sign::kPositive);
  a.Maybe("phase_time_s", visit.phase_time_s, Sign::kPositive);
  a.Object("unit_time_s", !visit.unit_p50_s.empty() || !visit.unit_max_s.empty(), [&](auto& unit) {
    unit("p50", visit.unit_p50_s, Sign::kPositive);
    unit("max", visit.unit_max_s, Sign::kPositive);
  });
  a.Maybe("telemetry", visit.telemetry);
  a.Maybe("sustained", visit.sustained);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Verification> verify) {
  a("when", verify.when);
  a.Maybe("round", verify.round);
  a("checked", verify.checked);
  a("wrong", verify.wrong);
  a.OrInfinite("max_error", verify.max_error);
  a.Maybe("tolerance", verify.tolerance);
  a.Maybe("reference", verify.reference);
  a.Maybe("what", verify.what);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Histogram> histogram) {
  a("scheme", histogram.scheme);
  a("counts", histogram.counts);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Here> here) {
  a("probe", here.probe);
  a("params", here.params);
  a("work", here.work);
}

// A param that its probe has had only since some version, with the value that records from before
// were measured with. It is a row here and no field of the file, since those records lack the key.
struct LaterParam {
  std::string probe = {};
  std::string param = {};
  Value value = {};
};
inline const std::vector<LaterParam>& LaterParams() {
  static const std::vector<LaterParam> all = {
      {.probe = "storage", .param = "cache", .value = std::string("cold")}};
  return all;
}

// Adds the later params of that probe which `params` lacks.
inline void AddLaterParams(const std::string& probe, Params& params) {
  for (const LaterParam& later : LaterParams()) {
    if (later.probe == probe) params.emplace(later.param, later.value);
  }
}

// Replaces the former name of a dtype by its own, so that old and new files are compared.
inline void RenameDtype(Params& params) {
  const auto dtype = params.find("dtype");
  const auto* name = dtype == params.end() ? nullptr : std::get_if<std::string>(&dtype->second);
  if (name == nullptr) return;
  if (const DtypeFacts* facts = FindDtype(*name)) dtype->second = std::string(facts->name);
}

// The kind of device of a record that does not say it, as in files from before records did. Nothing
// else looks at a backend's name for it.
inline std::string KindByBackend(std::string_view backend) {
  constexpr std::array<std::string_view, 5> kOnGpus = {"cublas", "cublaslt", "cuda", "cudnn",
                                                       "nccl"};
  return std::ranges::find(kOnGpus, backend) == kOnGpus.end() ? "cpu" : "gpu";
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Record> record) {
  a("probe", record.probe);
  a("method", record.method, Sign::kPositive);
  a("params", record.params);
  using Of = std::remove_reference_t<typename Archive::template Ref<Record>>;
  if constexpr (!std::is_const_v<Of>) {
    AddLaterParams(record.probe, record.params);
    RenameDtype(record.params);
  }
  a("backend", record.backend);
  a("status", record.status);
  a.Maybe("reason", record.reason);
  a.Maybe("remedy", record.remedy);
  const std::string usual_kind = KindByBackend(record.backend);
  if constexpr (!std::is_const_v<Of>) record.device = {.kind = usual_kind};
  a.Object("device", record.status != Status::kSkipped || record.device.kind != usual_kind,
           [&](auto& device) {
             device("kind", record.device.kind);
             device.Maybe("name", record.device.name);
           });
  // A case that was never begun has nothing to say of the rest.
  const auto measured = [&](const char* key, auto& value, const auto& usual) {
    if (record.status == Status::kSkipped) {
      a.Maybe(key, value, Sign::kNotNegative, usual);
    } else {
      a(key, value);
    }
  };
  measured("complete", record.complete, true);
  measured("stopped", record.stopped, std::string());
  measured("work", record.work, Work());
  measured("facts", record.facts, Facts());
  a.Maybe("units", record.units);
  a.Maybe("storage", record.storage);
  a.Maybe("here", record.here);
  measured("rounds", record.rounds, std::vector<Visit>());
  measured("histograms", record.histograms, std::map<std::string, Histogram>());
  a.Maybe("verify", record.verify);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<AskedCase> asked) {
  a("on", asked.on);
  a("seed", asked.seed);
  a("how", asked.how);
  a("record", asked.record);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Batch> batch) {
  a("time_s", batch.time);
  a.Maybe("unit_time_s", batch.per_unit);
  a.Maybe("host_time_s", batch.host);
  a.Maybe("iterations", batch.iterations);
  a.Maybe("stable_time_s", batch.stable);
  a.Maybe("phase_time_s", batch.phases);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Checked> checked) {
  a("checked", checked.checked);
  a("wrong", checked.wrong);
  a.OrInfinite("max_error", checked.max_error);
  a.Maybe("tolerance", checked.tolerance);
  a.Maybe("reference", checked.reference);
  a.Maybe("what", checked.what);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Fitted> fitted) {
  a("trend", fitted.trend);
  a("noise", fitted.noise);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Told> told) {
  a.Maybe("batches", told.batches);
  a.Maybe("checked", told.checked);
  a.Maybe("facts", told.facts);
  a.Maybe("histograms", told.histograms);
  a.Maybe("how", told.how);
  a.Maybe("work", told.work);
  a.Maybe("telemetry", told.telemetry);
  a.Maybe("trends", told.trends);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Finding> finding) {
  a("value", finding.value);
  a("how", finding.how);
  a("confidence", finding.confidence);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Identity> identity) {
  a("provider", identity.provider);
  a("instance", identity.instance);
  a("region", identity.region);
  a("zone_id", identity.zone_id);
  a("purchase", identity.purchase);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Cpu> cpu) {
  a("model", cpu.model);
  a("sockets", cpu.sockets);
  a("cores_present", cpu.cores_present);
  a("cores_visible", cpu.cores_visible);
  a("cores_used", cpu.cores_used);
  a("isa", cpu.isa);
  a("quota", cpu.quota, Sign::kPositive);
  a.Maybe("quota_period_s", cpu.quota_period_s, Sign::kPositive);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Accelerator> accelerator) {
  a("name", accelerator.name);
  a("present", accelerator.present);
  a("visible", accelerator.visible);
  a("used", accelerator.used);
  a("memory_bytes", accelerator.memory_bytes);
  a("vbios", accelerator.vbios);
  a("power_limit_w", accelerator.power_limit_w);
  a("ecc", accelerator.ecc);
  a("mig", accelerator.mig);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Nic> nic) {
  a("kind", nic.kind);
  a("count", nic.count);
  a("gbps", nic.gbps);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Volume> volume) {
  a("path_id", volume.path_id);
  a("kind", volume.kind);
  a("device", volume.device);
  a("volume_type", volume.volume_type);
  a("gib", volume.gib);
  a("iops", volume.iops);
  a("mbps", volume.mbps);
  a("fs", volume.fs);
  a("mount", volume.mount);
  a("raid", volume.raid);
  a("how", volume.how);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Note> note) {
  a("what", note.what);
  a("remedy", note.remedy);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Node> node) {
  a("node_id", node.node_id);
  a("in_container", node.in_container);
  a("virtualization", node.virtualization);
  a("identity", node.identity);
  a("cpu", node.cpu);
  a("memory_bytes", node.memory_bytes);
  a("accelerators", node.accelerators);
  a("nics", node.nics);
  a("storage", node.storage);
  a("software", node.software);
  a("env", node.env);
  a("notes", node.notes);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Offer> offer) {
  a("provider", offer.provider);
  a("seller", offer.seller);
  a("instance", offer.instance);
  a("region", offer.region);
  a("zone", offer.zone);
  a("resource", offer.resource);
  a("purchase", offer.purchase);
  a("offered", offer.offered);
  a("term_months", offer.term_months);
  a("upfront_usd", offer.upfront_usd);
  a("usd_per_hour", offer.usd_per_hour, Sign::kPositive);
  a("usd_low", offer.usd_low, Sign::kPositive);
  a("usd_high", offer.usd_high, Sign::kPositive);
  a("price_date", offer.price_date);
  a("date_precision", offer.date_precision);
  a("kind", offer.kind);
  a("source", offer.source);
  a("private", offer.is_private);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<RankPlace> place) {
  a("rank", place.rank);
  a("node", place.node);
  a("devices", place.devices);
  a("numa", place.numa, Sign::kAny);  // -1 where it isn't known
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Build> build) {
  a("version", build.version);
  a("commit", build.commit);
  a("dirty", build.dirty);
  a("build", build.build);
  a("image_digest", build.image_digest);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<SuiteName> suite) {
  a("name", suite.name);
  a("version", suite.version);
  a("sha256", suite.sha256);
}

template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<RunCost> cost) {
  a("nodes", cost.nodes, Sign::kPositive);
  a("purchase", cost.purchase);
  a("price_date", cost.price_date);
  a("usd_per_node_hour", cost.usd_per_node_hour, Sign::kPositive);
  a("unit_s", cost.unit_s, Sign::kPositive);
  a("minimum_s", cost.minimum_s, Sign::kPositive);
  a("before_s", cost.before_s);
  a("planned_s", cost.planned_s);
  a("held_s", cost.held_s);
  a("billed_s", cost.billed_s);
  a("first_verified_s", cost.first_verified_s);
  a("planned_usd", cost.planned_usd);
  a("usd", cost.usd);
  a("first_verified_usd", cost.first_verified_usd);
  a("private", cost.is_private);
}

// The fields of a run without `format`, `version` and `needs`, which decide whether it can be read
// at all, and without `records`.
template <class Archive>
void Fields(Archive& a, typename Archive::template Ref<Run> run) {
  a("id", run.id);
  a("campaign", run.campaign);
  a("seed", run.seed);
  a("status", run.status);
  a("started", run.started);
  a("ended", run.ended);
  a("complete", run.complete);
  a("rounds", run.rounds);
  a("division", run.division);
  a("assay", run.assay);
  a("suite", run.suite);
  a("command", run.command);
  a("timeline_s", run.timeline_s, Sign::kAny);
  a("catalog_sha256", run.catalog_sha256);
  a("cost", run.cost);
  a("offers", run.offers);
  a("ranks", run.ranks);
  a("nodes", run.nodes);
}

}  // namespace assay
