// Everything that assay says or hears in JSON. Sole includer of nlohmann. Readers treat their input
// as hostile: depth, size and numbers are bounded, unknown keys are ignored, and every error is one
// sentence with the source, the key and what to do.
#pragma once

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

// One line each, for the journal.
std::string RecordToJson(const Record& record);
Record RecordFromJson(std::string_view text, const std::string& source);

// What a node says of itself to the rank that writes the file.
std::string NodeToJson(const Node& node);
Node NodeFromJson(std::string_view text, const std::string& source);

// A text as JSON has it, quotes included.
std::string JsonText(std::string_view text);

// What is printed, at full precision: every figure of results/METRICS.md by the name it has there.
// `name` is what the run is called in a page; empty elsewhere.
std::string FiguresToJson(const Run& run, const Chosen& price, const std::string& name = {});
std::string ComparisonToJson(const Comparison& comparison);
std::string RankingToJson(const Ranking& ranking);

}  // namespace assay
