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
  std::string regime = {};  // burst or sustained, of all that have one; "": the suite's
  std::vector<std::string> devices = {};
  std::vector<std::string> backends = {};
  int threads = 0;
  int ranks = 0;                       // of collectives, started on this host; 0: two
  double watchdog_s = 60;              // for what ranks do together, beside what the work may take
  std::string require_transport = {};  // that collectives must really go over; "": any
  std::string bootstrap = {};  // how ranks that were started already join: "" (MPI) or "tcp"
  std::optional<int> rounds = {};
  std::optional<std::uint64_t> seed = {};
  std::optional<double> ci = {};  // a ratio: 1% is 0.01
  std::optional<double> max_seconds = {};
  std::optional<double> rest_s = {};  // of a GPU before a burst, at most
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

// `assay coll`: a collective in the words of nccl-tests 2.19.6. What is absent wasn't given.
struct CollOptions {
  std::string operation = {};  // "all_reduce"
  // The name that the program was started by, where that is nccl-tests' ("all_reduce_perf"): then
  // it does as much as nccl-tests would.
  std::string program = {};
  // The flags of nccl-tests, by their long names; sizes in bytes.
  std::optional<std::int64_t> minbytes = {};
  std::optional<std::int64_t> maxbytes = {};
  std::optional<std::int64_t> stepbytes = {};
  std::optional<std::int64_t> stepfactor = {};
  std::optional<std::int64_t> iters = {};
  std::optional<std::int64_t> warmup_iters = {};
  std::int64_t agg_iters = 1;
  std::optional<std::int64_t> run_cycles = {};  // 0: until interrupted
  std::optional<int> average = {};              // 0 rank 0, 1 mean, 2 least, 3 most of the ranks
  int check = 1;
  std::string op = "sum";
  std::string datatype = "float";
  std::string root = "0";
  std::optional<int> blocking = {};
  int nthreads = 1;
  int ngpus = 1;
  int parallel_init = 0;
  int stream_null = 0;
  int timeout = 0;  // s; sets run.watchdog_s, unless that is given too
  int cudagraph = 0;
  int report_cputime = 0;
  int report_timestamps = 0;
  std::string output_file = {};
  int local_register = 0;
  std::optional<int> cta_policy = {};
  int device_implementation = 0;
  std::optional<int> device_cta_count = {};
  int memory = 0;
  int unalign = 0;
  int per_iter_timing = 0;
  int per_iter_skip = 0;
  // Ours.
  std::string sizes = {};  // latency, train, peak, or sizes with commas between
  std::string mode = {};   // latency, throughput, graph, both
  std::string algo = "auto";
  std::optional<int> ranks = {};
  bool allow_single = false;
  std::string split = {};  // an expression for collectives::GroupsFrom
  bool bisect = false;
  bool cold = false;
  std::optional<double> duration_s = {};  // of a soak
  std::string verify = "random";          // none, last, random, all: Collective::verify
  std::string expect = {};  // auto, or floors of busbw by size: "1M:9.5,64M:20" (GB/s)
  std::optional<std::int64_t> project = {};  // to so many ranks
  std::string format = "table";              // table, nccl, csv, json
  // Those that `assay run` has too.
  RunOptions run = {};
};

struct ListOptions {};

struct EnvOptions {
  IdentityFlags identity = {};
};

// `assay noise`: runs of this program, one after the other.
struct NoiseOptions {
  RunOptions run = {};                  // of each
  std::vector<std::string> words = {};  // the arguments that say so
  int runs = 16;
  double minutes = 60;    // from the beginning of the first to that of the last
  std::string file = {};  // empty: the user's own
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
  std::string noise = {};  // a noise.csv; empty: the user's own, if there is one
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

using Command = std::variant<PrintOnly, RunOptions, CollOptions, ListOptions, EnvOptions,
                             CompareCommand, NoiseOptions, ReportCommand, PriceCommand>;

// Throws Error for anything that isn't understood, with the nearest right word where there is one.
// `program` is how the program was called: under nccl-tests' names (a link all_reduce_perf) it
// takes nccl-tests' arguments.
Command ParseArguments(const std::vector<std::string>& arguments,
                       const std::string& program = "assay");

// "1%" and "1" are both 0.01. Throws Error naming `option` unless 0 < value <= 100.
double ParsePercent(const std::string& text, const std::string& option);

}  // namespace assay
