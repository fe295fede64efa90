// Everything that assay says or hears in JSON. Sole includer of nlohmann. Readers treat their input
// as hostile: depth, size and numbers are bounded, unknown keys are ignored, and every error is one
// sentence with the source, the key and what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "results/compare.h"
#include "results/price.h"
#include "results/run.h"

namespace assay {

// results/FORMAT.md: compact, one record a line.
std::string RunToJson(const Run& run);
// `source` names the text in errors. Refuses another format, a newer version, an unknown need.
Run RunFromJson(std::string_view text, const std::string& source);

// How much a text may hold, and how much of a journal's lines is kept: more is refused.
struct ReadLimits {
  std::int64_t values = 50'000'000;  // 16 bytes each in memory, and more than a full suite has
  std::size_t entries = 100'000;     // of a list or table of anything but numbers
};

// How many values a record's text holds, 16 bytes of a string counted as one: in its rounds, and
// beside them.
struct HeldValues {
  std::int64_t rounds = 0;
  std::int64_t rest = 0;
};

// One line each, for the journal. `held`, where it isn't null, is told what the text holds.
std::string RecordToJson(const Record& record);
Record RecordFromJson(std::string_view text, const std::string& source, HeldValues* held = nullptr);

// What a node says of itself to the rank that writes the file.
std::string NodeToJson(const Node& node);
Node NodeFromJson(std::string_view text, const std::string& source);

// A text as JSON has it, quotes included.
std::string JsonText(std::string_view text);

// The document with each string in it, but not its keys, as `change` makes it. Throws Error for
// what isn't JSON.
std::string WithStrings(std::string_view text,
                        const std::function<std::string(const std::string&)>& change);

// What is printed, at full precision: every figure of results/METRICS.md by the name it has there.
// Text in it is harmless on a terminal and in a page, as Clean (results/text.h) leaves it. `name`
// is what the run is called in a page; empty elsewhere.
std::string FiguresToJson(const Run& run, const Chosen& price, const std::string& name = {});
std::string ComparisonToJson(const Comparison& comparison);
std::string RankingToJson(const Ranking& ranking);

}  // namespace assay
