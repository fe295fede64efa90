// Runs, records and nodes as JSON, written and read (results/FORMAT.md). Readers treat their input
// as hostile: depth, size and numbers are bounded, unknown keys are ignored, and whatever isn't
// sound throws an Error that names the source and, once the text is JSON, the key. Writers throw
// Error for a number that no reader would take, and replace invalid UTF-8 by U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "results/file/run.h"
#include "results/file/told.h"

namespace assay {

// Writes a run as results/FORMAT.md says: compact, with one record a line.
std::string RunToJson(const Run& run);
// Reads a run. `source` names the text in errors. Throws Error for another format, a newer version,
// an unknown need, and anything that isn't sound, such as a BrokenReference.
Run RunFromJson(std::string_view text, const std::string& source);

// The most that a text may hold, or that may be kept of a journal's lines; more is refused.
struct ReadLimits {
  std::int64_t values = 50'000'000;  // 16 bytes each in memory, and more than a full suite has
  std::size_t entries = 100'000;     // in a list or table of anything but numbers
};
// The number of values that a record's text holds, in its rounds and beside them; 16 bytes of a
// string count as one.
struct HeldValues {
  std::int64_t rounds = 0;
  std::int64_t rest = 0;
};

// Write and read one record on one line, as journals have it. `held`, where it isn't null, is set
// to what the text holds. Indices of nodes and volumes are not checked, since the run isn't known
// here.
std::string RecordToJson(const Record& record);
Record RecordFromJson(std::string_view text, const std::string& source, HeldValues* held = nullptr);

// Write and read a node on one line, as each node tells of itself to the rank that writes the file.
std::string NodeToJson(const Node& node);
Node NodeFromJson(std::string_view text, const std::string& source);

// The messages of ranks to each other, one line each.
std::string AskedCaseToJson(const AskedCase& asked);
AskedCase AskedCaseFromJson(std::string_view text, const std::string& source);
std::string ToldToJson(const Told& told);
Told ToldFromJson(std::string_view text, const std::string& source);

// The text as a JSON string, quotes included.
std::string JsonText(std::string_view text);

// Replaces each string in a JSON document, but no key, by what `change` makes of it. The result is
// indented by two spaces and ends in a line end. Throws Error for what isn't JSON.
std::string WithStrings(std::string_view text,
                        const std::function<std::string(const std::string&)>& change);

}  // namespace assay
