#include "results/file/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "results/base/dtype.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/drift.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/figures/health.h"
#include "results/figures/model.h"

namespace assay {
namespace {

// Written in the order of FORMAT.md; read into a tree, where a hostile object of a million keys
// does not take a million steps for each.
using Json = nlohmann::ordered_json;
using Input = nlohmann::json;

constexpr const char* kFormat = "assay-run";
constexpr int kVersion = 1;
constexpr int kDeepest = 32;

// Invalid UTF-8, which a device's name may hold, is replaced: the file stays JSON.
template <class AnyJson>
std::string Dump(const AnyJson& json) {
  return json.dump(-1, ' ', false, AnyJson::error_handler_t::replace);
}

// The same with every text as Clean leaves it, keys included: what is printed may come from a file
// of a stranger.
Json Harmless(const Json& json) {
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    return Clean(text, text.size());
  }
  if (json.is_array()) {
    Json::array_t array;
    for (const Json& element : json) array.push_back(Harmless(element));
    return array;
  }
  if (!json.is_object()) return json;
  Json::object_t object;
  for (const auto& [key, value] : json.items()) {
    object.emplace_back(Clean(key, key.size()), Harmless(value));
  }
  return object;
}

// What a number may be: never infinite, nor none at all, for which JSON has no word.
enum class Sign { kAny, kNotNegative, kPositive };

bool Allows(Sign sign, double value) {
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

std::string NotAllowed(Sign sign, double value) {
  const char* rule = sign == Sign::kPositive ? "above 0" : "0 or above";
  return fmt::format("is {} and must be {}", value, sign == Sign::kAny ? "a number" : rule);
}

// The structs of run.h are described once each, by the functions Fields below, which a Writer and a
// Reader walk alike:
//   archive("key", value)         is always written, and must be there when reading;
//   archive.Maybe("key", value)   is written where it isn't the usual value;
//   archive.Object("key", has, f) is an object within, described by f(archive of the object).
// A std::optional is null where it is empty, and may be absent when reading.
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

// Params that a probe was given later: files from before have them as they were measured then.
void AddLaterParams(const std::string& probe, Params& params) {
  if (probe == "storage") params.emplace("cache", "cold");
}

// A dtype that a file has under a former name is told by its own, so that old and new are compared.
void RenameDtype(Params& params) {
  const auto dtype = params.find("dtype");
  const auto* name = dtype == params.end() ? nullptr : std::get_if<std::string>(&dtype->second);
  if (name == nullptr) return;
  if (const DtypeFacts* facts = FindDtype(*name)) dtype->second = std::string(facts->name);
}

// The kind of device of a record that does not say it, as in files from before records did. Nothing
// else looks at a backend's name for it.
std::string KindByBackend(std::string_view backend) {
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
  // What was never begun has nothing to say of the rest.
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

// All but `format`, `version` and `needs`, which decide whether this can be read at all, and
// `records`.
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
  a("offers", run.offers);
  a("ranks", run.ranks);
  a("nodes", run.nodes);
}

// Holds numbers to the rules that a Reader has for them: what it would refuse is never written.
class Writer {
 public:
  template <class T>
  using Ref = const T&;

  template <class T>
  void operator()(const char* key, const T& value, Sign sign = Sign::kNotNegative) {
    Check(key, value, sign);
    json_[key] = ToJson(value);
  }

  template <class T>
  void Maybe(const char* key, const T& value, Sign sign = Sign::kNotNegative, const T& usual = {}) {
    Check(key, value, sign);
    Json json = ToJson(value);
    if (json != ToJson(usual)) json_[key] = std::move(json);
  }

  // An error may be infinite or not a number, which JSON can't say: null.
  void OrInfinite(const char* key, double value) {
    if (value != 0) json_[key] = value;
  }

  template <class Describe>
  void Object(const char* key, bool has, const Describe& describe) {
    if (!has) return;
    Writer within;
    describe(within);
    json_[key] = std::move(within.json_);
  }

  template <class T>
  static Json ToJson(const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else {
      Writer writer;
      Fields(writer, value);
      return std::move(writer.json_);
    }
  }
  template <class T>
  static Json ToJson(const std::optional<T>& value) {
    return value ? ToJson(*value) : Json();
  }
  template <class T>
  static Json ToJson(const std::vector<T>& values) {
    Json json = Json::array();
    for (const T& value : values) json.push_back(ToJson(value));
    return json;
  }
  template <class T>
  static Json ToJson(const std::map<std::string, T>& values) {
    // Straight into the list that an ordered object is: looking each key up among those before it
    // would take a million steps for each of a hostile table's keys.
    Json::object_t object;
    for (const auto& [key, value] : values) object.emplace_back(key, ToJson(value));
    return object;
  }
  template <class... T>
  static Json ToJson(const std::variant<T...>& value) {
    return std::visit([](const auto& held) { return ToJson(held); }, value);
  }
  static Json ToJson(const std::pair<std::int64_t, std::int64_t>& pair) {
    return Json::array({pair.first, pair.second});
  }
  static Json ToJson(Status status) { return ToText(status); }

 private:
  // What isn't a number, and what has fields of its own, is no concern of these.
  template <class T>
  static void Check(const char* key, const T& value, Sign sign) {
    if constexpr (std::is_arithmetic_v<T>) {
      const auto number = static_cast<double>(value);
      if (Allows(sign, number)) return;
      throw Error(
          fmt::format("'{}' {}, so that no reader would take the file; report this as a bug", key,
                      NotAllowed(sign, number)));
    }
  }
  template <class T>
  static void Check(const char* key, const std::optional<T>& value, Sign sign) {
    if (value) Check(key, *value, sign);
  }
  template <class T>
  static void Check(const char* key, const std::vector<T>& values, Sign sign) {
    for (const T& value : values) Check(key, value, sign);
  }
  template <class T>
  static void Check(const char* key, const std::map<std::string, T>& values, Sign sign) {
    for (const auto& [name, value] : values) Check(key, value, sign);
  }
  static void Check(const char* key, const Fact& fact, Sign) {
    std::visit([&](const auto& held) { Check(key, held, Sign::kAny); }, fact);
  }

  Json json_ = Json::object();
};

// A value somewhere in a document, which knows where it is for errors.
class Reader {
 public:
  template <class T>
  using Ref = T&;

  Reader(const Input& json, std::string path, const std::string& source)
      : json_(json), path_(std::move(path)), source_(source) {}

  template <class T>
  void operator()(const char* key, T& value, Sign sign = Sign::kNotNegative) const {
    if (!Find(key)) Fail(fmt::format("has no '{}'", key));
    Within(key).Get(value, sign);
  }
  template <class T>
  void operator()(const char* key, std::optional<T>& value, Sign sign = Sign::kNotNegative) const {
    Maybe(key, value, sign);
  }

  template <class T>
  void Maybe(const char* key, T& value, Sign sign = Sign::kNotNegative,
             const std::type_identity_t<T>& usual = {}) const {
    if (Find(key)) {
      Within(key).Get(value, sign);
    } else {
      value = usual;
    }
  }

  void OrInfinite(const char* key, double& value) const {
    if (!Find(key)) return;
    const Reader within = Within(key);
    if (within.json_.is_null()) {
      value = std::numeric_limits<double>::infinity();
    } else {
      within.Get(value, Sign::kNotNegative);
    }
  }

  template <class Describe>
  void Object(const char* key, bool, const Describe& describe) const {
    if (!Find(key)) return;
    const Reader within = Within(key);
    within.ExpectObject();
    describe(within);
  }

  // The file's own structs.
  template <class T>
  void Get(T& value, Sign) const {
    ExpectObject();
    Fields(*this, value);
  }
  void Get(std::string& text, Sign) const {
    if (!json_.is_string()) Fail("must be a string");
    text = json_.get_ref<const std::string&>();
  }
  void Get(bool& value, Sign) const {
    if (!json_.is_boolean()) Fail("must be true or false");
    value = json_.get<bool>();
  }
  void Get(int& value, Sign sign) const { GetInteger(value, sign); }
  void Get(std::int64_t& value, Sign sign) const { GetInteger(value, sign); }
  void Get(std::uint64_t& value, Sign sign) const { GetInteger(value, sign); }
  void Get(double& value, Sign sign) const {
    if (!json_.is_number()) Fail("must be a number");
    value = json_.get<double>();
    Check(value, sign);
  }
  void Get(Status& status, Sign) const {
    std::string text;
    Get(text, {});
    const std::optional<Status> known = StatusFrom(text);
    if (!known) Fail("must be ok, partial, skipped, failed or wrong");
    status = *known;
  }
  void Get(Value& value, Sign) const {
    if (json_.is_number_integer()) {
      GetInteger(value.emplace<std::int64_t>(), Sign::kAny);
    } else if (json_.is_boolean()) {
      value = json_.get<bool>();
    } else if (json_.is_string()) {
      value = json_.get<std::string>();
    } else {
      Fail("must be an integer, true or false, or a string");
    }
  }
  void Get(Fact& fact, Sign) const {
    if (json_.is_number_float()) {
      Get(fact.emplace<double>(), Sign::kAny);
    } else {
      Value value;
      Get(value, {});
      std::visit([&](auto& held) { fact = std::move(held); }, value);
    }
  }
  void Get(Facts& facts, Sign) const {
    ExpectObject();
    ExpectFew();
    facts.clear();
    for (const auto& [key, json] : json_.items()) {
      // Null is what wasn't found out; a list or table is a fact of a later assay.
      if (json.is_null() || json.is_structured()) continue;
      Reader(json, fmt::format("{}.{}", path_, key), source_).Get(facts[key], {});
    }
  }
  template <class T>
  void Get(std::optional<T>& value, Sign sign) const {
    if (json_.is_null()) {
      value.reset();
    } else {
      Get(value.emplace(), sign);
    }
  }
  void Get(std::vector<double>& values, Sign sign) const {
    if (!json_.is_array()) Fail("must be a list");
    values.clear();
    values.reserve(json_.size());
    for (const Input& json : json_) {
      // There may be millions, so that a path is made only for the one that is refused.
      if (!json.is_number() || !Allows(sign, json.get<double>())) {
        double refused = 0;
        Element(values.size()).Get(refused, sign);
      }
      values.push_back(json.get<double>());
    }
  }
  template <class T>
  void Get(std::vector<T>& values, Sign sign) const {
    if (!json_.is_array()) Fail("must be a list");
    ExpectFew();
    values.clear();
    for (std::size_t i = 0; i < json_.size(); ++i) {
      // Not in place: there is no reference into a vector<bool> or while it grows.
      T value;
      Element(i).Get(value, sign);
      values.push_back(std::move(value));
    }
  }
  template <class T>
  void Get(std::map<std::string, T>& values, Sign sign) const {
    ExpectObject();
    ExpectFew();
    values.clear();
    for (const auto& [key, json] : json_.items()) {
      Reader(json, path_.empty() ? key : fmt::format("{}.{}", path_, key), source_)
          .Get(values[key], sign);
    }
  }
  void Get(std::pair<std::int64_t, std::int64_t>& pair, Sign) const {
    if (!json_.is_array() || json_.size() != 2) Fail("must be a list of two integers");
    Element(0).Get(pair.first, Sign::kNotNegative);
    Element(1).Get(pair.second, Sign::kNotNegative);
  }

  bool Find(const char* key) const { return json_.contains(key); }

  Reader Within(const char* key) const {
    return {json_.at(key), path_.empty() ? key : fmt::format("{}.{}", path_, key), source_};
  }

  void ExpectObject() const {
    if (!json_.is_object()) Fail("must be an object");
  }

  [[noreturn]] void Fail(const std::string& what) const {
    const std::string place = path_.empty() ? "the document" : "'" + Clean(path_) + "'";
    throw assay::Error(fmt::format(
        "{}: {} {}; it is damaged or wasn't written by assay, so measure again or take a sound "
        "copy",
        source_, place, what));
  }

 private:
  void Check(double value, Sign sign) const {
    if (!Allows(sign, value)) Fail(NotAllowed(sign, value));
  }

  template <class T>
  void GetInteger(T& value, Sign sign) const {
    if (!json_.is_number_integer()) Fail("must be an integer");
    const bool fits = json_.is_number_unsigned() ? std::in_range<T>(json_.get<std::uint64_t>())
                                                 : std::in_range<T>(json_.get<std::int64_t>());
    if (!fits) Fail(fmt::format("is {}, which is out of range", Dump(json_)));
    value = json_.get<T>();
    Check(static_cast<double>(value), sign);
  }

  void ExpectFew() const {
    constexpr std::size_t kMost = ReadLimits().entries;
    if (json_.size() > kMost) {
      Fail(fmt::format("has {} entries and may have {}", json_.size(), kMost));
    }
  }

  Reader Element(std::size_t index) const {
    return {json_.at(index), fmt::format("{}[{}]", path_, index), source_};
  }

  const Input& json_;
  std::string path_;
  const std::string& source_;
};

// Depth and number of values are bounded before anything is built. (The parser's own callback could
// do it, but looks at all earlier elements of a list at the end of each: quadratic time.)
void CheckBounds(std::string_view text, const std::string& source) {
  constexpr std::int64_t kMost = ReadLimits().values;
  int depth = 0;
  std::int64_t values = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (c == ',' || c == '[' || c == '{') ++values;
    if (depth > kDeepest) {
      throw Error(fmt::format("{}: it is nested deeper than {} levels, which assay never writes",
                              source, kDeepest));
    }
  }
  if (values > kMost) {
    throw Error(fmt::format("{}: it holds more than {} values; split it", source, kMost));
  }
}

// As CheckBounds counts them, and 16 bytes of text as one.
std::int64_t ValuesOf(const Input& json) {
  constexpr std::size_t kText = 16;
  if (json.is_string()) {
    return static_cast<std::int64_t>(json.get_ref<const std::string&>().size() / kText);
  }
  if (!json.is_structured()) return 0;
  auto values = static_cast<std::int64_t>(std::max<std::size_t>(1, json.size()));
  for (auto element = json.begin(); element != json.end(); ++element) {
    if (json.is_object()) values += static_cast<std::int64_t>(element.key().size() / kText);
    values += ValuesOf(*element);
  }
  return values;
}

Input Parse(std::string_view text, const std::string& source) {
  CheckBounds(text, source);
  try {
    return Input::parse(text.begin(), text.end());
  } catch (const Input::parse_error& error) {
    throw Error(fmt::format(
        "{}: this isn't JSON (byte {} of {}); give a result file that 'assay run' wrote", source,
        error.byte, text.size()));
  } catch (const Input::exception&) {
    throw Error(fmt::format("{}: it holds a number that is too large for a double", source));
  }
}

void CheckFormat(const Reader& reader, const Input& json, const std::string& source, Run& run) {
  reader.ExpectObject();
  const auto format = json.find("format");
  if (format == json.end() || *format != kFormat) {
    throw Error(fmt::format(
        "{}: this isn't an assay result ('format' isn't '{}'); give a file that 'assay run' wrote",
        source, kFormat));
  }
  reader("version", run.version, Sign::kPositive);
  if (run.version > kVersion) {
    throw Error(fmt::format(
        "{}: it was written in version {} of the format and this assay reads version {}; use a "
        "newer assay",
        source, run.version, kVersion));
  }
  reader("needs", run.needs);
  // No feature has been added to version 1 yet.
  if (!run.needs.empty()) {
    throw Error(fmt::format(
        "{}: it needs the feature '{}', which this assay doesn't know; use a newer assay", source,
        Clean(run.needs.front(), 64)));
  }
}

Json ToJson(const Interval& interval) {
  return {{"estimate", interval.estimate},
          {"low", interval.low},
          {"high", interval.high},
          {"units", interval.units},
          {"level", interval.level}};
}

Json ToJson(const std::optional<Interval>& interval) {
  return interval ? ToJson(*interval) : Json(nullptr);
}

Json ToJson(const Change& change) {
  Json json = {{"estimate", change.estimate},
               {"low", nullptr},
               {"high", nullptr},
               {"units", nullptr},
               {"level", change.level}};
  if (change.interval) json.update(ToJson(*change.interval));
  return json;
}

// What is said of a price beside its offer.
Json ToJson(const Chosen& price) {
  Json spread = nullptr;
  if (price.spread) {
    spread = {{"usd_low", price.spread->usd_low},
              {"usd_high", price.spread->usd_high},
              {"regions", price.spread->regions}};
  }
  return {{"usd_per_node_hour", Writer::ToJson(UsdPerNodeHour(price))},
          {"instead_of", Writer::ToJson(price.instead_of)},
          {"spread", std::move(spread)},
          {"why", price.why},
          {"note", price.note}};
}

Json ToJson(const Side& side) {
  return {{"names", side.names},
          {"offer", Writer::ToJson(side.price.offer)},
          {"price", ToJson(side.price)}};
}

Json ToJson(const std::vector<Side>& sides) {
  Json json = Json::array();
  for (const Side& side : sides) json.push_back(ToJson(side));
  return json;
}

Json ToJson(const std::vector<Cost>& costs) {
  Json json = Json::array();
  for (const Cost& cost : costs) {
    json.push_back({{"name", cost.name},
                    {"label", cost.label},
                    {"usd", cost.usd},
                    {"instead_of", Writer::ToJson(cost.instead_of)}});
  }
  return json;
}

Json ToJson(const std::optional<NodeFigure>& node) {
  if (!node) return nullptr;
  return {{"together", node->together.value},
          {"slowest_alone", Writer::ToJson(node->slowest_alone)},
          {"sum_alone", Writer::ToJson(node->sum_alone)}};
}

Json ToJson(const std::optional<Health>& health) {
  if (!health) return nullptr;
  Json devices = Json::array();
  for (const DeviceHealth& device : health->devices) {
    // JSON has no infinity.
    const bool has_z = device.z && std::isfinite(*device.z);
    devices.push_back({{"node", device.unit.node},
                       {"device", device.unit.device},
                       {"speed", device.speed.value},
                       {"z", has_z ? Json(*device.z) : Json(nullptr)},
                       {"clock_mhz", Writer::ToJson(device.clock_mhz)},
                       {"temperature_c", Writer::ToJson(device.temperature_c)},
                       {"standing", ToText(device.standing)},
                       {"why", device.why}});
  }
  return {
      {"devices", std::move(devices)}, {"slowest", health->slowest}, {"spread", health->spread}};
}

Json ToJson(const std::optional<OverlapFigure>& overlap) {
  if (!overlap) return nullptr;
  return {{"compute_alone", overlap->compute_alone},
          {"compute_together", overlap->compute_together},
          {"communicate_alone", overlap->communicate_alone},
          {"communicate_together", overlap->communicate_together},
          {"compute_slowdown", overlap->compute_slowdown},
          {"communicate_slowdown", overlap->communicate_slowdown},
          {"exposed_s", overlap->exposed_s},
          {"exposed_low_s", Writer::ToJson(overlap->exposed_low_s)},
          {"exposed_high_s", Writer::ToJson(overlap->exposed_high_s)},
          {"hidden", overlap->hidden}};
}

Json ToJson(const std::optional<PowerFigure>& power) {
  if (!power) return nullptr;
  return {{"watts", power->watts},
          {"joules_per_tflop", Writer::ToJson(power->joules_per_tflop)},
          {"held_back", power->held_back}};
}

Json ToJson(const std::optional<OfPeak>& of) {
  if (!of) return nullptr;
  return {{"device", of->device},
          {"of_spec", of->of_spec},
          {"clock_mhz", Writer::ToJson(of->clock_mhz)},
          {"of_clock", Writer::ToJson(of->of_clock)}};
}

Json ToJson(const std::optional<Drift>& drift) {
  if (!drift) return nullptr;
  const auto factor = [](const Interval& of) {
    return Json{{"estimate", of.estimate}, {"low", of.low}, {"high", of.high}};
  };
  return {{"per_minute", factor(drift->per_minute)},
          {"over_all", factor(drift->over_all)},
          {"span_s", drift->span_s},
          {"rounds", drift->over_all.units},
          {"verdict", ToText(VerdictOn(*drift))}};
}

Json ToJson(const Record& record, const Pacing& pacing) {
  const auto speed = [&](double time_s) {
    return Speed(record)->value * *UsualTime(record) / time_s;
  };
  Json json = {{"statistic", ToText(pacing.statistic)},
               {"paced", pacing.why.empty() ? Json(nullptr) : Json(pacing.why)},
               {"spans", pacing.spans},
               {"measured_s", pacing.measured_s},
               {"burst", nullptr}};
  if (pacing.burst && Speed(record)) {
    json["burst"] = {{"each_visit", pacing.burst->each_visit},
                     {"lasted_s", pacing.burst->lasted_s},
                     {"speed_before", speed(pacing.burst->before_s)},
                     {"speed_after", speed(pacing.burst->after_s)}};
  }
  return json;
}

// One value a round, in the unit of the record's speed.
std::vector<double> RoundSpeeds(const Record& record) {
  const std::optional<Rate> speed = Speed(record);
  const std::optional<double> usual = UsualTime(record);
  std::vector<double> speeds;
  if (!speed || !usual) return speeds;
  for (const double log_time : LogRoundTimes(record)) {
    speeds.push_back(speed->value * *usual / std::exp(log_time));
  }
  return speeds;
}

Json FiguresOf(const Run& run, const Record& record, const RunFigures& figures,
               const std::optional<Health>& health, const Chosen& price) {
  const std::optional<Rate> speed = Speed(record);
  const std::optional<Rate> stable = StableSpeed(record);
  const std::optional<Wire> wire = WireRate(record);
  const std::optional<Judged> judged = Judge(figures.Type(), record);
  const std::string unpriced = WhyUnpriced(run, record, figures.Type());
  const std::optional<Cached> cached = CachedOf(run, record);
  return {{"probe", record.probe},
          {"case", CaseLabel(record.probe, record.params)},
          {"key", MatchKey(record)},
          {"backend", record.backend},
          {"device", {{"kind", record.device.kind}, {"name", record.device.name}}},
          {"status", ToText(record.status)},
          {"reason", record.reason},
          {"remedy", record.remedy},
          {"complete", record.complete},
          {"rounds", record.rounds.size()},
          {"median_s", Writer::ToJson(MedianTime(record))},
          {"mean_s", Writer::ToJson(MeanTime(record))},
          {"mean_to_median", Writer::ToJson(MeanToMedian(record))},
          {"pacing", ToJson(record, PacingOf(record))},
          {"speed", speed ? Json(speed->value) : Json(nullptr)},
          {"round_speeds", RoundSpeeds(record)},
          {"unit", speed ? Json(speed->unit) : Json(nullptr)},
          {"interval", ToJson(SpeedInterval(record))},
          {"drift", ToJson(DriftOf(record))},
          {"of_here", Writer::ToJson(OfHere(record))},
          {"busbw", Writer::ToJson(BusBandwidth(record))},
          {"wire_gbs", wire ? Json(wire->bytes_per_s / 1e9) : Json(nullptr)},
          {"wire_model", wire ? Json(wire->model) : Json(nullptr)},
          {"expected_gbs", judged ? Writer::ToJson(judged->expected_gbs) : Json(nullptr)},
          {"standing", judged ? Json(ToText(judged->standing)) : Json(nullptr)},
          {"standing_why", judged ? Json(judged->why) : Json(nullptr)},
          {"cached", cached ? Json{{"mark", cached->mark}, {"why", cached->why}} : Json(nullptr)},
          {"stable_speed", stable ? Json(stable->value) : Json(nullptr)},
          {"node", ToJson(figures.Node(record))},
          {"health", ToJson(health)},
          {"overlap", ToJson(OverlapOf(record))},
          {"power", ToJson(PowerOf(record))},
          {"of_peak", ToJson(OfPeakOf(run, record))},
          {"used", Writer::ToJson(figures.Used(record))},
          {"unpriced", unpriced.empty() ? Json(nullptr) : Json(unpriced)},
          {"costs", ToJson(CostsAt(run, record, price, figures.Type()))}};
}

// With the indices of its cases, and the sizes that these have.
Json ToJson(const Fit& fit, const std::vector<Record>& records) {
  Json cases = Json::array();
  Json bytes = Json::array();
  for (const Record* record : fit.sweep) {
    cases.push_back(record - records.data());
    bytes.push_back(record->work.bytes.value_or(0));
  }
  return {{"probe", fit.sweep.front()->probe}, {"label", FitLabel(fit)},
          {"start_s", fit.model.start_s},      {"per_byte_s", fit.model.per_byte_s},
          {"residual", fit.model.residual},    {"cases", std::move(cases)},
          {"bytes", std::move(bytes)}};
}

}  // namespace

std::string RunToJson(const Run& run) {
  Json header = {{"format", kFormat}, {"version", run.version}, {"needs", run.needs}};
  header.update(Writer::ToJson(run));
  std::string text = Dump(header);
  text.pop_back();  // the closing brace
  text += ",\"records\":[";
  const char* separator = "\n";
  for (const Record& record : run.records) {
    text += separator + RecordToJson(record);
    separator = ",\n";
  }
  return text + "]}\n";
}

Run RunFromJson(std::string_view text, const std::string& source) {
  const Input json = Parse(text, source);
  const Reader reader(json, "", source);
  Run run;
  CheckFormat(reader, json, source, run);
  Fields(reader, run);
  reader("records", run.records);
  if (const std::string broken = BrokenReference(run); !broken.empty()) reader.Fail(broken);
  return run;
}

std::string RecordToJson(const Record& record) { return Dump(Writer::ToJson(record)); }

Record RecordFromJson(std::string_view text, const std::string& source, HeldValues* held) {
  const Input json = Parse(text, source);
  Record record;
  Reader(json, "", source).Get(record, {});
  if (held != nullptr) {
    const auto rounds = json.find("rounds");
    held->rounds = rounds == json.end() ? 0 : ValuesOf(*rounds);
    held->rest = ValuesOf(json) - held->rounds;
  }
  return record;
}

std::string NodeToJson(const Node& node) { return Dump(Writer::ToJson(node)); }

Node NodeFromJson(std::string_view text, const std::string& source) {
  const Input json = Parse(text, source);
  Node node;
  Reader(json, "", source).Get(node, {});
  return node;
}

std::string JsonText(std::string_view text) { return Dump(Json(text)); }

std::string WithStrings(std::string_view text,
                        const std::function<std::string(const std::string&)>& change) {
  const auto changed = [&](const auto& self, const Json& json) -> Json {
    if (json.is_string()) return change(json.get_ref<const std::string&>());
    if (!json.is_structured()) return json;
    Json copy = json;
    for (Json& element : copy) element = self(self, element);
    return copy;
  };
  Parse(text, "a JSON document");  // says what is wrong with it
  return changed(changed, Json::parse(text)).dump(2, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

std::string FiguresToJson(const Run& run, const Chosen& price, const std::string& name) {
  const RunHealth health(run);
  const RunFigures figures(run);
  Json cases = Json::array();
  for (const Record& record : run.records) {
    cases.push_back(FiguresOf(run, record, figures, health.Of(record), price));
  }
  Json fits = Json::array();
  for (const Fit& fit : FitsOf(run.records)) fits.push_back(ToJson(fit, run.records));
  const Headline headline = HeadlineOf(run);
  const Json json = {
      {"format", "assay-figures"},
      {"version", 1},
      {"run", run.id},
      {"name", name},
      {"complete", run.complete},
      {"division", DivisionOf(run)},
      {"offer", Writer::ToJson(price.offer)},
      {"price", ToJson(price)},
      {"usd_per_hour", Writer::ToJson(UsdPerHour(run, price))},
      {"headline",
       {{"name", headline.name},
        {"case", headline.record == nullptr ? Json(nullptr) : Json(MatchKey(*headline.record))},
        {"absent", headline.absent}}},
      {"cases", std::move(cases)},
      {"fits", std::move(fits)}};
  return Dump(Harmless(json));
}

std::string ComparisonToJson(const Comparison& comparison) {
  Json cases = Json::array();
  for (const CompareRow& row : comparison.rows) {
    cases.push_back(
        {{"probe", row.probe},
         {"case", CaseLabel(row.probe, row.params)},
         {"backend", row.backend},
         {"device_kind", row.kind},
         {"params", Writer::ToJson(row.params)},
         {"baseline", row.baseline},
         {"candidate", row.candidate},
         {"unit", row.unit},
         {"change", ToJson(row.change)},
         {"confidence", Writer::ToJson(row.confidence)},
         {"between_runs", row.between_runs},
         {"margin", row.margin},
         {"verdict", VerdictText(row, row.verdict)},
         {"resolution", Writer::ToJson(row.resolution)},
         {"more_runs", Writer::ToJson(row.more_runs)},
         {"per_usd_change", Writer::ToJson(row.per_usd_change)},
         {"per_usd_envelope", ToJson(row.per_usd_envelope)},
         {"per_usd_verdict",
          row.per_usd_verdict ? Json(VerdictText(row, *row.per_usd_verdict)) : Json(nullptr)},
         {"note", NoteOf(row)}});
  }
  const Json json = {{"format", "assay-comparison"},
                     {"version", 1},
                     {"baseline", ToJson(comparison.baseline)},
                     {"candidate", ToJson(comparison.candidate)},
                     {"cases", std::move(cases)},
                     {"only_baseline", comparison.only_baseline},
                     {"only_candidate", comparison.only_candidate},
                     {"differences", comparison.differences},
                     {"notes", comparison.notes}};
  return Dump(Harmless(json));
}

std::string RankingToJson(const Ranking& ranking) {
  Json cases = Json::array();
  for (const RankedCase& ranked : ranking.cases) {
    Json entries = Json::array();
    for (const RankEntry& entry : ranked.entries) {
      entries.push_back({{"side", entry.side},
                         {"backend", entry.backend},
                         {"speed", entry.speed},
                         {"by_speed", entry.by_speed},
                         {"usd", Writer::ToJson(entry.usd)},
                         {"instead_of", Writer::ToJson(ranking.sides[entry.side].price.instead_of)},
                         {"by_usd", Writer::ToJson(entry.by_usd)},
                         {"note", entry.note}});
    }
    cases.push_back({{"probe", ranked.probe},
                     {"device_kind", ranked.kind},
                     {"case", CaseLabel(ranked.probe, ranked.params)},
                     {"params", Writer::ToJson(ranked.params)},
                     {"unit", ranked.unit},
                     {"cost_label", ranked.cost_label},
                     {"entries", std::move(entries)}});
  }
  const Json json = {{"format", "assay-ranking"},
                     {"version", 1},
                     {"sides", ToJson(ranking.sides)},
                     {"cases", std::move(cases)},
                     {"notes", ranking.notes}};
  return Dump(Harmless(json));
}

}  // namespace assay
