// The command line, parsed once into typed options. Sole includer of CLI11.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "results/catalog/own_prices.h"
#include "results/catalog/price_import.h"
#include "results/figures/run_groups.h"
#include "results/show/writer.h"

namespace assay {

// The machine as it is named by hand, where detection can't or shouldn't do it; "": not named.
struct IdentityFlags {
  std::string provider = {};
  std::string instance = {};
  std::string region = {};
  std::string purchase = {};
  bool no_metadata = false;
  std::string metadata_url = {};  // loopback only, for tests
};

// The options of `assay run`.
struct RunOptions {
  std::vector<std::string> probes = {};  // empty: all of them
  std::string suite = "quick";
  std::string filter = {};
  std::vector<std::string> set = {};  // "m=1,16"
  std::vector<std::string> dtypes = {};
  std::string regime = {};  // burst or sustained, for all that have one; "": the suite's
  std::vector<std::string> devices = {};
  std::vector<std::string> backends = {};
  int threads = 0;                     // of CPU cases; 0: one for each core
  int ranks = 0;                       // how many to start on this host for collectives; 0: two
  double watchdog_s = 60;              // for what ranks do together, beside what the work may take
  std::string require_transport = {};  // the one that collectives must really use; "": any
  std::string bootstrap = {};  // how ranks that were started already join: "" (MPI) or "tcp"
  std::optional<int> rounds = {};
  std::optional<std::uint64_t> seed = {};
  std::optional<double> ci = {};           // a ratio: 1% is 0.01
  std::optional<double> max_seconds = {};  // for each case over all rounds
  std::optional<double> rest_s = {};       // the most rest of a GPU before a burst
  std::optional<double> max_cost_usd = {};
  std::optional<double> max_minutes = {};         // of the whole run
  std::optional<double> paid_before_s = {};       // that nodes were paid for before it began
  std::optional<double> price_usd_per_hour = {};  // per node
  std::string campaign = {};                      // a name for runs that belong together
  std::string out = {};                           // the result file; "": a name of its own
  std::string gbench_out = {};                    // a file for Google Benchmark's JSON; "": none
  std::string report = {};                        // a file for the page; "": none
  std::string storage_path = ".";
  OutputFormat format = OutputFormat::kTable;  // of what is printed
  bool quiet = false;
  bool keep_ids = false;
  bool keep_price = false;
  IdentityFlags identity = {};
};

// The options of `assay coll`, in the words of nccl-tests 2.19.6. Absent ones were not given.
struct CollOptions {
  std::string operation = {};  // "all_reduce"
  // The name that the program was started by, where that is nccl-tests' ("all_reduce_perf"). It
  // then does as many iterations as nccl-tests would.
  std::string program = {};
  // The flags of nccl-tests follow, by their long names; sizes are in bytes.
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
  // Our own flags follow.
  std::string sizes = {};  // latency, train, peak, or sizes with commas between
  std::string mode = {};   // latency, throughput, graph, both
  std::string algo = "auto";
  std::optional<int> ranks = {};
  bool allow_single = false;
  std::string split = {};  // an expression for collectives::GroupsFrom
  bool bisect = false;
  bool cold = false;
  std::optional<double> duration_s = {};  // the length of a soak
  std::string verify = "random";          // none, last, random, all: Collective::verify
  std::string expect = {};  // auto, or floors of busbw by size: "1M:9.5,64M:20" (GB/s)
  std::optional<std::int64_t> project = {};  // the number of ranks to project to
  // The options that `assay run` has, too.
  RunOptions run = {};
};

// The options of `assay list`, which has none.
struct ListOptions {};

// The options of `assay env`.
struct EnvOptions {
  IdentityFlags identity = {};
};

// The options of `assay noise`, which runs this program again and again.
struct NoiseOptions {
  RunOptions run = {};                  // the options of each run
  std::vector<std::string> words = {};  // the arguments that give those options
  int runs = 16;
  bool add = false;       // whether sessions that were kept count too, and this one is kept
  double minutes = 60;    // from the beginning of the first run to that of the last
  std::string file = {};  // empty: the user's own
};

// The choice of the offers behind dollars when files are read.
struct PricingFlags {
  bool as_run = false;  // whether the file's stored offers are used instead of the newest catalog
  std::string purchase = {};  // the way of buying that is priced; empty: the detected one
  std::optional<double> price_usd_per_hour = {};
  std::optional<OwnedMachine> owned = {};  // the machine, where nodes were bought
  PriceSources sources = {};
};

// What a ranking of groups asks.
struct GroupFlags {
  std::optional<GroupBy> by = {};           // unset: by type
  std::vector<std::string> purchases = {};  // ways of buying that get a row; {"all"}: every one
  std::string primary = {};                 // the case that is asked alone; empty: the headline
  std::string weights = {};                 // a CSV of cases and their weights
  bool per_gpu = false;
  bool force = false;
  std::string noise = {};  // a noise.csv; empty: the user's own, if there is one
};

// The options of `assay compare`.
struct CompareCommand {
  // Files and folders of them. Two files are compared; more are gathered into groups.
  std::vector<std::string> files = {};
  std::vector<std::string> a = {};         // the files of the baseline, in place of `files`
  std::vector<std::string> b = {};         // the files of the candidate
  std::optional<double> within = {};       // CompareOptions::within
  std::optional<double> fail_slower = {};  // CompareOptions::fail_slower
  OutputFormat format = OutputFormat::kTable;
  PricingFlags pricing = {};
  GroupFlags groups = {};
  bool nodes = false;      // whether each group's nodes are shown
  bool all_pairs = false;  // whether every pair of groups is judged, for full ranks
};

// The options of `assay plan`.
struct PlanCommand {
  std::string a = {};  // a group of the files, or provider and instance of the catalog
  std::string b = {};
  std::vector<std::string> results = {};  // files and folders of them
  double resolve = 0.03;
  int runs = 1;
  std::optional<double> minutes = {};
  std::string primary = {};
  std::string noise = {};  // a noise.csv; empty: the user's own, if there is one
  OutputFormat format = OutputFormat::kTable;
  PriceSources sources = {};
};

// The options of `assay report`.
struct ReportCommand {
  std::vector<std::string> files = {};  // and folders of them
  std::string out = {};                 // empty: the figures on stdout
  OutputFormat format = OutputFormat::kTable;
  PricingFlags pricing = {};
  GroupFlags groups = {};
};

// The options of `assay price` and the words after it.
struct PriceCommand {
  enum class Does { kList, kShow, kCheck, kImport, kBill };
  Does does = Does::kList;
  OutputFormat format = OutputFormat::kTable;
  std::string filter = {};    // for `list`
  std::string provider = {};  // for `show`, as `instance` is
  std::string instance = {};
  PricingFlags pricing = {};
  std::vector<std::string> runs = {};  // for `bill`: result files, as compare takes them
  std::string focus = {};              // for `bill`: the invoice
  double within = 0.01;                // for `bill`: the difference that is allowed
  // The rest is for `import`.
  std::string file = {};
  std::string out = {};  // empty: stdout
  ImportOptions import = {};
};

// A text that is all there is to print: help or version.
struct PrintOnly {
  std::string text = {};
};

// A command line, parsed.
using Command =
    std::variant<PrintOnly, RunOptions, CollOptions, ListOptions, EnvOptions, CompareCommand,
                 PlanCommand, NoiseOptions, ReportCommand, PriceCommand>;

// Parses the command line. Throws Error for anything that isn't understood, with the nearest right
// word where there is one. `program` is the name that the program was called by: under one of
// nccl-tests' names (a link all_reduce_perf) it takes nccl-tests' arguments.
Command ParseArguments(const std::vector<std::string>& arguments,
                       const std::string& program = "assay");

// Parses a percentage: "1%" and "1" are both 0.01. Throws Error, which names `option`, unless 0 <
// value <= 100.
double ParsePercent(const std::string& text, const std::string& option);

}  // namespace assay
