// The command line, parsed once into typed options. Sole includer of CLI11.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace assay {

// How a machine is named by hand, where detection can't or shouldn't.
struct IdentityFlags {
  std::string provider = {};
  std::string instance = {};
  std::string region = {};
  std::string purchase = {};
  bool no_metadata = false;
  std::string metadata_url = {};  // loopback only, for tests
};

struct RunOptions {
  std::vector<std::string> probes = {};  // empty: every one
  std::string suite = "quick";
  std::string filter = {};
  std::vector<std::string> set = {};  // "m=1,16"
  std::vector<std::string> dtypes = {};
  std::vector<std::string> devices = {};
  std::vector<std::string> backends = {};
  int threads = 0;
  std::optional<int> rounds = {};
  std::optional<std::uint64_t> seed = {};
  std::optional<double> ci = {};  // a ratio: 1% is 0.01
  std::optional<double> max_seconds = {};
  std::optional<double> max_cost_usd = {};
  std::optional<double> price_usd_per_hour = {};  // per node
  std::string out = {};
  std::string gbench_out = {};
  std::string report = {};  // also write the page here
  std::string storage_path = ".";
  bool json = false;
  bool quiet = false;
  bool keep_ids = false;
  bool keep_price = false;
  IdentityFlags identity = {};
};

struct ListOptions {};

struct EnvOptions {
  IdentityFlags identity = {};
};

// Which offers stand behind dollars when files are read.
struct PricingFlags {
  bool as_run = false;  // the offers stored in the file instead of the newest catalog
  std::optional<double> price_usd_per_hour = {};
};

struct CompareCommand {
  std::vector<std::string> files = {};  // two: compare; more: rank
  std::vector<std::string> a = {};
  std::vector<std::string> b = {};
  std::optional<double> within = {};
  std::optional<double> fail_slower = {};
  bool json = false;
  bool csv = false;
  bool force = false;
  PricingFlags pricing = {};
};

struct ReportCommand {
  std::vector<std::string> files = {};
  std::string out = {};  // empty: the figures on stdout
  bool json = false;
  PricingFlags pricing = {};
};

struct PriceCommand {
  bool show = false;
  std::string filter = {};    // of list
  std::string provider = {};  // of show
  std::string instance = {};
};

// Text to print and be done: help or version.
struct PrintOnly {
  std::string text = {};
};

using Command = std::variant<PrintOnly, RunOptions, ListOptions, EnvOptions, CompareCommand,
                             ReportCommand, PriceCommand>;

// Throws Error for anything that isn't understood, with the nearest right word where there is one.
Command ParseArguments(const std::vector<std::string>& arguments);

// "1%" and "1" are both 0.01. Throws Error naming `option` unless 0 < value <= 100.
double ParsePercent(const std::string& text, const std::string& option);

}  // namespace assay
