#include "results/file/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {
namespace {

const Value& ParamOf(const Params& params, const std::string& name) {
  const auto found = params.find(name);
  if (found == params.end()) throw Error(fmt::format("the param '{}' is missing", name));
  return found->second;
}

template <class T>
const T& TypedParam(const Params& params, const std::string& name, const char* type) {
  const Value& value = ParamOf(params, name);
  if (const T* typed = std::get_if<T>(&value)) return *typed;
  throw Error(fmt::format("the param '{}' is '{}'; give {}", name, ToText(value), type));
}

constexpr std::array<std::pair<Status, std::string_view>, 5> kStatuses = {{
    {Status::kOk, "ok"},
    {Status::kPartial, "partial"},
    {Status::kSkipped, "skipped"},
    {Status::kFailed, "failed"},
    {Status::kWrong, "wrong"},
}};

}  // namespace

std::string DeviceName(std::string_view kind, int index) {
  return kind == "gpu" ? fmt::format("cuda:{}", index) : "cpu";
}

std::string TextOf(const Facts& facts, const std::string& name) {
  const auto fact = facts.find(name);
  const auto* text = fact == facts.end() ? nullptr : std::get_if<std::string>(&fact->second);
  return text == nullptr ? "" : *text;
}

std::string ToText(const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *integer);
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  return std::get<std::string>(value);
}

std::string ToText(const Params& params) {
  std::string text;
  for (const auto& [name, value] : params) {
    if (!text.empty()) text += ',';
    text += name + '=' + ToText(value);
  }
  return text;
}

std::int64_t IntegerOf(const Params& params, const std::string& name) {
  return TypedParam<std::int64_t>(params, name, "an integer");
}

bool BooleanOf(const Params& params, const std::string& name) {
  return TypedParam<bool>(params, name, "true or false");
}

const std::string& StringOf(const Params& params, const std::string& name) {
  return TypedParam<std::string>(params, name, "a word");
}

const std::string& WordOf(const Params& params, const std::string& name,
                          const std::vector<std::string>& words, std::string_view before) {
  const std::string& value = StringOf(params, name);
  if (std::ranges::find(words, value) != words.end()) return value;
  throw Error(fmt::format("{}{} is '{}'; give one of: {}", before, name, Clean(value),
                          fmt::join(words, ", ")));
}

std::int64_t IntegerWithin(const Params& params, const std::string& name, std::int64_t least,
                           std::int64_t most, std::string_view before) {
  const std::int64_t value = IntegerOf(params, name);
  if (value >= least && value <= most) return value;
  throw Error(
      fmt::format("{}{} is {}; give a value from {} to {}", before, name, value, least, most));
}

std::string_view ToText(Status status) {
  for (const auto& [value, text] : kStatuses) {
    if (value == status) return text;
  }
  return "failed";
}

std::optional<Status> StatusFrom(std::string_view text) {
  for (const auto& [value, name] : kStatuses) {
    if (name == text) return value;
  }
  return std::nullopt;
}

std::string MatchKey(const Record& record) {
  return fmt::format("{}/{}/{}", record.probe, record.method, ToText(record.params));
}

std::string RecordKey(const Record& record) {
  std::string key = MatchKey(record) + '/' + record.backend;
  for (const Unit& unit : record.units) {
    key += fmt::format("/{}.{}.{}", unit.rank, unit.node, unit.device);
  }
  return key;
}

std::string BrokenReference(const Run& run) {
  const auto outside = [](int index, const auto& list) {
    return index < 0 || static_cast<std::size_t>(index) >= list.size();
  };
  if (run.nodes.empty()) return "has no node";
  for (const RankPlace& place : run.ranks) {
    if (outside(place.node, run.nodes)) {
      return fmt::format("places rank {} on node {} of {}", place.rank, place.node,
                         run.nodes.size());
    }
  }
  for (std::size_t i = 0; i < run.records.size(); ++i) {
    const Record& record = run.records[i];
    for (const Unit& unit : record.units) {
      if (outside(unit.node, run.nodes)) {
        return fmt::format("has records[{}] on node {} of {}", i, unit.node, run.nodes.size());
      }
    }
    // A case without units is taken to have run on the first node.
    std::vector<int> nodes = {0};
    if (!record.units.empty()) nodes.clear();
    for (const Unit& unit : record.units) nodes.push_back(unit.node);
    for (const int node : nodes) {
      const std::vector<Volume>& volumes = run.nodes[static_cast<std::size_t>(node)].storage;
      if (record.storage && outside(*record.storage, volumes)) {
        return fmt::format("has records[{}] on volume {} of {}", i, *record.storage,
                           volumes.size());
      }
    }
    std::vector<int> told_of;
    for (const Visit& visit : record.rounds) {
      if (!visit.iterations.empty() && visit.iterations.size() != visit.time_s.size()) {
        return fmt::format("has records[{}] with iterations of {} spans and times of {}", i,
                           visit.iterations.size(), visit.time_s.size());
      }
      for (const Telemetry& telemetry : visit.telemetry) told_of.push_back(telemetry.unit);
      if (!visit.sustained) continue;
      for (const Telemetry& telemetry : visit.sustained->start) told_of.push_back(telemetry.unit);
    }
    for (const int unit : told_of) {
      if (!outside(unit, record.units)) continue;
      return fmt::format("has telemetry in records[{}] of unit {} of {}", i, unit,
                         record.units.size());
    }
  }
  return "";
}

}  // namespace assay
