#include "collectives/asking.h"

#include <fmt/format.h>

namespace assay {
namespace {

// The option of `coll` that sets the param, with its value; "" where it has none.
std::string InColl(const std::string& param, const std::string& value) {
  if (param == "algo") return "--algo " + value;
  if (param == "bytes") return "-b " + value;
  if (param == "cache") return value == "rotated" ? "--cold" : "without --cold";
  if (param == "dtype") return "-d " + value;
  if (param == "mode") return "--mode " + value;
  if (param == "redop") return "-o " + value;
  if (param == "buffers")
    return value == "plain" ? "-R 0" : value == "registered" ? "-R 1" : "-R 2";
  return "";
}

}  // namespace

std::string Asking(const std::string& param, const std::string& value) {
  const std::string in_run =
      param == "dtype" ? "--dtype " + value : fmt::format("--set {}={}", param, value);
  const std::string in_coll = InColl(param, value);
  return in_coll.empty() ? in_run : fmt::format("{} (coll: {})", in_run, in_coll);
}

}  // namespace assay
