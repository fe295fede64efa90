// What others measured of collectives on instance types, and the verdict on a figure that it gives:
// whether a number is normal is the first question that anybody has about it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "results/price.h"
#include "results/run.h"

namespace assay {

struct Expected {
  std::string provider = {};
  std::string instance = {};
  int nodes = 0;  // all of whose accelerators take part
  std::string operation = {};
  std::int64_t bytes = 0;
  double busbw_gbs = 0;
  std::string setting = {};
  std::string source = {};  // a URL, or repository:path
};

// expected.csv, a figure a row. Throws Error naming source and row for one that breaks a rule: no
// empty cell, a known operation, numbers above 0, nothing twice.
std::vector<Expected> ParseExpected(std::string_view csv, const std::string& source);
// The data built into this binary. Parsed once.
const std::vector<Expected>& BuiltInExpected();

enum class Standing {
  kOk,
  kLow,         // more than 10 % under what was measured elsewhere
  kAboveBound,  // more than a flat ring could carry over the nodes' network
};
std::string_view ToText(Standing standing);

struct Judged {
  Standing standing = Standing::kOk;
  std::optional<double> expected_gbs = {};
  std::string why = {};  // one sentence, with the source
};
// Nothing where nothing is known: for a CPU, for an instance type, operation, size or number of
// nodes that has no row (the bound needs none), and where not all accelerators took part.
std::optional<Judged> Judge(
    const Run& run, const Record& record, std::span<const Expected> expected = BuiltInExpected(),
    std::span<const InstanceFacts> instances = Catalog::BuiltIn().instances);

}  // namespace assay
