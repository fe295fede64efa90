#include "runner/program/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <utility>

#include "results/base/error.h"
#include "results/base/names.h"
#include "results/base/size.h"
#include "results/base/text.h"
#include "results/catalog/price.h"
#include "results/figures/figures.h"
#include "results/figures/probes.h"

namespace assay {
namespace {

constexpr const char* kMainHelp =
    R"(assay measures accelerators, memory, collectives and storage the same way on
every cloud, and tells if two results really differ, in speed and per dollar.

usage: assay COMMAND [OPTIONS]

commands:
  run      measure this machine and write one result file
  coll     measure a collective, with the flags and columns of nccl-tests
  list     show the probes, backends and modules, and what can run here
  env      show this machine, its identity, and what may make it noisy
  compare  compare results, case by case, in speed and in work per dollar
  plan     how many nodes of two machine types it takes to tell them apart, and
           what that costs
  noise    measure for an hour how much runs differ on this machine, which
           compare needs to judge a single run
  report   turn result files into one HTML page, or into figures
  price    list, show and check prices, import those of others, and hold
           runs against an invoice

examples:
  assay run                              all that can run here, two minutes
  assay run gemm memory --rounds 5       two probes, five rounds
  assay run gemm --set m=1,16 --dtype bf16   your own shapes
  assay coll all_reduce -b 8 -e 64M -f 2     with the flags of nccl-tests
  assay compare aws.json gcp.json        what differs, and what it costs
  assay compare results/                 which machine type, and per dollar
  assay plan 'aws p5.48xlarge' 'gcp a3-highgpu-8g' --resolve 3%
  assay compare --a old*.json --b new*.json --fail-slower 3%   for CI
  assay report *.json --out report.html

  -h, --help     this text; 'assay run --help' for the options of run
      --version  version, commit, compiler and libraries

exit status: 0 all well; 1 measured, but something failed, was wrong, or is
slower than allowed; 2 could not do what was asked; 3 a watchdog expired;
130 interrupted (what was measured until then is in the file)
)";

constexpr const char* kCollHelp =
    R"(Measures a collective with the flags and columns of nccl-tests 2.19.6, and our own columns to the right.
Usage: assay coll OP [OPTIONS]     OP: all_reduce all_gather reduce_scatter broadcast reduce alltoall
                                       alltoallv gather scatter sendrecv barrier
       mpirun -np N assay coll OP [OPTIONS]     without a launcher, assay starts the ranks itself
A link to assay named OP_perf takes the same arguments. Under that name, or with -n, -w or -N, each size is
run exactly as often as -n, -w and -N say, in order; otherwise in rounds of random order, as by 'assay run'.

Sizes (64K, 1GB, 4k, 1MiB: all binary, K = 1024 bytes):
  -b, --minbytes N [32M]     -e, --maxbytes N [32M]     -i, --stepbytes N [1M]    -f, --stepfactor N
      --sizes latency|train|peak|N,N,...     8 to 64K; 1M to 1G; 1G to 16G; or a list
                                             [with none of these: 8 to 128M by 4; OP_perf: 32M]
What is done:
  -d, --datatype T|all [float]   -o, --op sum|prod|min|max|avg|all [sum]   -r, --root N|all|-1 [0]
  -n, --iters N [20]   -w, --warmup_iters N [1]   -m, --agg_iters N [1]   -N, --run_cycles N [1; 0: until ^C]
  -c, --check N [1]    -z, --blocking 0|1|2|3 [0]   -a, --average 0|1|2|3 [1: mean of the ranks]
  -G, --cudagraph N [0]  -u, --unalign N [0]  -R, --local_register 0|1|2 [0]  -t, --nthreads N  -g, --ngpus N
      --mode latency|throughput|graph|both   each operation alone, or back to back [as -z and -G say]
      --verify none|last|random|all          operations that are checked, outside the timed spans
                                             [random: the last, and a random one now and then]
      --cold                                 operations take turns on buffers of three times the cache
      --backend mpi,native-mpi,...  --algo ring,... [auto]   libraries, and their algorithm
      --ranks N [2]  --allow-single          ranks to start without a launcher; one alone is refused
      --split EXPR                           groups of ranks at once: 'MOD 8', 'DIV 8', 'AND 0x7',
                                             'OR 0x7', or the group of each rank: 0,0,1,1
      --bisect                               which rank or node is slow? halves, pairs, and suspects with
                                             good partners, at one size [32M]; exit status 1 if one is
      --bootstrap tcp                        ranks join by MASTER_ADDR, RANK and WORLD_SIZE, not MPI
      --watchdog S, -T, --timeout S [60]     seconds that ranks wait for each other, beside the work
      --duration S                           a soak: rounds for S seconds; tells drift and wrong elements
      --rounds N [5]  --ci PCT  --max-seconds S [4]  --max-minutes M  --seed N   as 'assay run' has them
What is printed, and when it fails:
      --require-transport NAME       exit status 1 where data went over another: efa, tcp, vader, ...
      --expect auto|SIZE:GB/s,...    exit status 1 where busbw is lower; auto: what others measured
      --project N                    also print what a model of this sweep expects of up to N ranks
      --format table|nccl|csv|json   nccl: nccl-tests' columns alone [table]   --campaign NAME
  -C, --report_cputime 0|1   -S, --report_timestamps 0|1   -I, --per_iter_timing 0|1
  -K, --per_iter_skip N      how many operations of each batch -I, p50, p99 and cv% leave out
  -J, --output_file FILE     nccl-tests' JSON      --out FILE   our result file [PROVIDER-INSTANCE-UTC.json]
      --report FILE   --json (--format json)   -q, --quiet   --keep-ids   --keep-price      as by 'assay run'
      --price USD  --max-cost USD  --paid-before S  --provider  --instance  --region  --purchase --no-metadata
Taken as they are, and answered with a '#' line where they mean nothing here:
  -p, --parallel_init  -y, --stream_null  -x, --cta_policy  -M, --memory
  -D, --device_implementation  -V, --device_cta_count
Environment: NCCL_TESTS_MIN_BW GB/s, exit status 1 where the average busbw is 10 % under it.
  NCCL_TESTS_SPLIT and NCCL_TESTS_SPLIT_MASK, as --split.
)";

// The column at which the descriptions of all help texts begin.
constexpr std::size_t kHelpColumn = 26;

// The number with a decimal point in the place of a comma, or without commas between thousands; ""
// where that doesn't make it a number.
std::string WithPoint(std::string text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string::npos) return "";
  const bool is_decimal = comma == text.rfind(',') && text.find('.') == std::string::npos;
  if (is_decimal) {
    text[comma] = '.';
  } else {
    std::erase(text, ',');
  }
  return NumberIn(text) ? text : "";
}

// Validates a finite number above `least`, and at most `most`.
CLI::Validator NumberAbove(double least, double most = 1e12) {
  return {[least, most](const std::string& text) -> std::string {
            const std::optional<double> value = NumberIn(text);
            if (value && *value > least && *value <= most) return "";
            const std::string meant = WithPoint(text);
            return fmt::format("wants a number above {:g}; got '{}'{}", least, Clean(text, 32),
                               meant.empty() ? "" : "; write " + meant);
          },
          ""};
}

void AddIdentity(CLI::App& app, IdentityFlags& flags) {
  app.add_option("--provider", flags.provider, "cloud: aws, gcp, azure, oci, …")
      ->option_text("NAME");
  app.add_option("--instance", flags.instance, "instance type, as the cloud names it")
      ->option_text("TYPE");
  app.add_option("--region", flags.region, "region, as the cloud names it")->option_text("NAME");
  app.add_option("--purchase", flags.purchase, fmt::format("{}", fmt::join(Purchases(), ", ")))
      ->option_text("MODEL")
      ->check(CLI::IsMember(Purchases()));
  app.add_flag("--no-metadata", flags.no_metadata, "do not ask the cloud's metadata service");
  app.add_option("--metadata-url", flags.metadata_url)->group("");
}

// The flags of where prices come from, which price commands have, too.
void AddSources(CLI::App& app, PriceSources& sources) {
  app.add_option("--prices", sources.files, "your own prices, in the catalog's format")
      ->option_text("FILE")
      ->allow_extra_args(false);
  app.add_flag("--no-user-files", sources.no_user_files,
               "leave out those in assay/prices in $XDG_CONFIG_HOME or ~/.config");
  app.add_option("--as-of", sources.as_of, "prices as they were known on that day")
      ->option_text("DATE");
  app.add_option("--discount", sources.discounts,
                 "what is paid of list prices on demand: ea=0.82 is 18 % off")
      ->option_text("NAME=X")
      ->allow_extra_args(false);
}

std::vector<std::string> PurchasesAndAll() {
  std::vector<std::string> words = Purchases();
  words.emplace_back("all");
  return words;
}

// The flags of groups. `by` is read with GroupedBy.
void AddGroups(CLI::App& app, GroupFlags& groups, std::string& by) {
  app.add_option("--by", by,
                 fmt::format("what groups are made of: {}", fmt::join(kGroupWords, ", ")))
      ->option_text("WORD [type]")
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kGroupWords), std::end(kGroupWords))));
  app.add_option("--purchase", groups.purchases, "a row for each way of buying; 'all': every one")
      ->option_text("M,... [on_demand]")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(PurchasesAndAll()));
  app.add_option("--primary", groups.primary,
                 "the case that is asked alone, by its words or its probe")
      ->option_text("CASE [headline]");
  app.add_option("--weights", groups.weights, "rank by a mean of cases: CSV case,weight")
      ->option_text("FILE");
  app.add_flag("--per-gpu", groups.per_gpu, "rank by the speed of one accelerator");
  app.add_flag("--force", groups.force, "compare unlike methods and software too");
  app.add_option("--noise", groups.noise,
                 "the file in which 'assay noise' says how much runs differ")
      ->option_text("FILE");
}

std::optional<GroupBy> GroupedBy(const std::string& by) {
  if (by.empty()) return std::nullopt;
  return static_cast<GroupBy>(std::ranges::find(kGroupWords, by) - kGroupWords);
}

// The way of buying that is priced. `compare` takes several.
void AddPurchase(CLI::App& app, PricingFlags& flags, const char* summary) {
  app.add_option("--purchase", flags.purchase, summary)
      ->option_text("MODEL")
      ->check(CLI::IsMember(Purchases()));
}

void AddPricing(CLI::App& app, PricingFlags& flags) {
  app.add_flag("--as-run", flags.as_run,
               "use the prices stored in the files, not those of this program");
  app.add_option("--price", flags.price_usd_per_hour, "USD per node and hour, for every file")
      ->option_text("USD")
      ->check(NumberAbove(0));
  AddSources(app, flags.sources);
}

// The flags of a machine that was bought, kept until parsing is over.
struct OwnedFlags {
  std::optional<double> capex_usd = {};
  std::optional<double> power_kw = {};
  OwnedMachine machine = {};
};

void AddOwned(CLI::App& app, OwnedFlags& flags) {
  const auto add = [&](const char* name, std::optional<double>& value, const char* summary,
                       const char* text, double least, double most) {
    app.add_option(name, value, summary)->option_text(text)->check(NumberAbove(least, most));
  };
  add("--capex", flags.capex_usd, "an owned node: what it cost, with --power-kw", "USD", 0, 1e12);
  add("--power-kw", flags.power_kw, "what that node draws under load", "KW", 0, 1e6);
  add("--years", flags.machine.years, "how long it serves", "N [4]", 0, 100);
  add("--utilisation", flags.machine.utilisation, "the share of hours that it works", "X [0.8]", 0,
      1);
  add("--pue", flags.machine.pue, "what the site draws over the node", "X [1.3]", 0, 10);
  add("--usd-per-kwh", flags.machine.usd_per_kwh, "the price of energy", "USD [0.12]", 0, 1e3);
}

// The machine that was bought; nothing where no flag is of one. Throws Error where one of the two
// that have no default is absent, and where `purchases` are other ways of buying.
std::optional<OwnedMachine> OwnedBy(const OwnedFlags& flags,
                                    const std::vector<std::string>& purchases) {
  const OwnedMachine& machine = flags.machine;
  const bool is_asked = flags.capex_usd || flags.power_kw || machine.years || machine.utilisation ||
                        machine.pue || machine.usd_per_kwh;
  if (!is_asked) return std::nullopt;
  if (!flags.capex_usd || !flags.power_kw) {
    throw Error("an owned node's price wants both --capex USD and --power-kw KW");
  }
  const auto is_owned = [](const std::string& word) { return word == "owned" || word == "all"; };
  if (!purchases.empty() && std::ranges::none_of(purchases, is_owned)) {
    throw Error(
        fmt::format("--capex is of nodes that are owned, and --purchase {} of others: leave "
                    "one out, or add 'owned' where several ways are taken",
                    fmt::join(purchases, ",")));
  }
  OwnedMachine owned = machine;
  owned.capex_usd = *flags.capex_usd;
  owned.power_kw = *flags.power_kw;
  return owned;
}

// Reads the rates of `import`: "EUR=1.08" is the price of a euro in USD.
std::map<std::string, double> ReadRates(const std::vector<std::string>& texts) {
  std::map<std::string, double> rates;
  for (const std::string& text : texts) {
    const auto named = NamedNumberIn(text);
    if (!named || !(named->second > 0 && named->second < 1e6)) {
      throw Error(fmt::format("--rate {}: give a currency and its price in USD, such as EUR=1.08",
                              Clean(text, 64)));
    }
    rates[named->first] = named->second;
  }
  return rates;
}

// Options that take names with commas between.
constexpr std::string_view kLists[] = {"--backend", "--dtype", "--device"};

// Adds one of kLists. Its names are taken in any case and kept in small letters, as all names here
// are written, since people write "oneDNN".
CLI::Option* AddNames(CLI::App& app, const char* option, std::vector<std::string>& names,
                      const char* summary) {
  return app.add_option(option, names, summary)
      ->delimiter(',')
      ->allow_extra_args(false)  // what follows is a probe
      ->transform([](const std::string& name) { return Lower(CLI::detail::trim_copy(name)); });
}

// The arguments with "--backend a, b" as "--backend a,b".
std::vector<std::string> WithListsJoined(const std::vector<std::string>& arguments) {
  std::vector<std::string> joined;
  bool is_list = false;
  for (const std::string& word : arguments) {
    if (is_list && joined.back().ends_with(',')) {
      joined.back() += word;
      continue;
    }
    const bool follows_name = !joined.empty() && std::ranges::count(kLists, joined.back()) > 0;
    is_list = follows_name || std::ranges::count(kLists, word.substr(0, word.find('='))) > 0;
    joined.push_back(word);
  }
  return joined;
}

// The words on the command line that choose the format of what is printed: `--format`, and the
// older flags that stand for one of its values.
struct FormatFlags {
  std::string word = {};
  bool json = false;
  bool csv = false;
};

constexpr std::pair<std::string_view, OutputFormat> kFormats[] = {{"table", OutputFormat::kTable},
                                                                  {"json", OutputFormat::kJson},
                                                                  {"csv", OutputFormat::kCsv},
                                                                  {"nccl", OutputFormat::kNccl}};

void AddFormat(CLI::App& app, FormatFlags& flags, const std::vector<std::string>& words) {
  app.add_option("--format", flags.word,
                 fmt::format("format of what is printed: {}", fmt::join(words, ", ")))
      ->option_text(fmt::format("F [{}]", words.front()))
      ->check(CLI::IsMember(words));
  app.add_flag("--json", flags.json, "the same as --format json");
}

// Throws Error where two formats were asked for.
OutputFormat FormatOf(const FormatFlags& flags) {
  std::vector<std::pair<std::string, OutputFormat>> asked;
  for (const auto& [word, format] : kFormats) {
    if (flags.word == word) asked.emplace_back(fmt::format("--format {}", word), format);
  }
  if (flags.json) asked.emplace_back("--json", OutputFormat::kJson);
  if (flags.csv) asked.emplace_back("--csv", OutputFormat::kCsv);
  for (const auto& [option, format] : asked) {
    if (format == asked.front().second) continue;
    throw Error(fmt::format("{} and {} ask for two formats, and one is printed: give one",
                            asked.front().first, option));
  }
  return asked.empty() ? OutputFormat::kTable : asked.front().second;
}

// Adds the options that `run` and `coll` have in common, with the words of their `--format`.
void AddMeasuring(CLI::App& app, RunOptions& run, std::string& ci, FormatFlags& format,
                  const std::vector<std::string>& formats) {
  AddNames(app, "--backend", run.backends,
           "only these libraries: onednn, native, … ('assay list' has all)")
      ->option_text("B[,B...]");
  app.add_option("--bootstrap", run.bootstrap,
                 "join ranks by MASTER_ADDR, RANK and WORLD_SIZE, without MPI")
      ->option_text("tcp")
      ->check(CLI::IsMember({"tcp"}));
  app.add_option("--watchdog", run.watchdog_s,
                 "seconds that ranks wait for each other at most, beside the work")
      ->option_text("S [60]")
      ->check(CLI::Range(1.0, 1e6));
  app.add_option("--require-transport", run.require_transport,
                 "fail collectives whose data went over another one (efa, tcp, …)")
      ->option_text("NAME")
      ->check(CLI::Validator(
          [](const std::string& name) {
            const bool has_word = std::any_of(name.begin(), name.end(),
                                              [](unsigned char c) { return std::isalnum(c) != 0; });
            return has_word && name.size() <= 64 ? "" : "wants a name such as efa, tcp or NET/IB";
          },
          ""));
  app.add_option("--rounds", run.rounds,
                 "rounds, each of which visits every case once [the suite's]")
      ->option_text("N")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seed", run.seed, "seed of inputs and order [random]")->option_text("N");
  app.add_option("--ci", ci, "go on, for 20 rounds at most, until intervals are ± PCT or less")
      ->option_text("PCT");
  app.add_option(
         "--max-seconds", run.max_seconds,
         "seconds of a case over all rounds [the suite's]; storage takes 1.25 a round or more")
      ->option_text("S")
      ->check(NumberAbove(0));
  app.add_option("--max-cost", run.max_cost_usd,
                 "stop before the run costs more, at the price of its nodes")
      ->option_text("USD")
      ->check(NumberAbove(0));
  app.add_option("--max-minutes", run.max_minutes, "stop when the run has lasted this long")
      ->option_text("M")
      ->check(NumberAbove(0));
  app.add_option("--paid-before", run.paid_before_s,
                 "seconds paid before the run, boot and image pull [since boot, within an hour]")
      ->option_text("S")
      ->check(CLI::Range(0.0, 1e7));
  app.add_option("--campaign", run.campaign,
                 "a name for runs that belong together, kept in the file")
      ->option_text("NAME")
      ->check(CLI::Validator(
          [](const std::string& name) {
            return !name.empty() && name.size() <= 64 && Clean(name) == name
                       ? ""
                       : "wants a name of at most 64 bytes, without control characters";
          },
          ""));
  app.add_option("--out", run.out, "result file [PROVIDER-INSTANCE-UTC.json]")->option_text("FILE");
  app.add_option("--gbench-out", run.gbench_out, "also write Google Benchmark's JSON")
      ->option_text("FILE");
  app.add_option("--report", run.report, "also write the HTML page")->option_text("FILE");
  AddFormat(app, format, formats);
  app.add_flag("-q,--quiet", run.quiet, "print results and errors only");
  app.add_flag("--keep-ids", run.keep_ids, "keep host and instance ids in the file");
  app.add_flag("--keep-price", run.keep_price, "keep what --price says in all that is written");
  AddIdentity(app, run.identity);
  app.add_option("--price", run.price_usd_per_hour,
                 "USD per node and hour, instead of a listed price")
      ->option_text("USD")
      ->check(NumberAbove(0));
}

// Adds the options that `run` has, and that `noise` hands on to it.
void AddRun(CLI::App& app, RunOptions& run, std::string& ci, FormatFlags& format) {
  app.add_option("PROBE", run.probes, "which probes; 'assay list' shows them [all]");
  app.add_option("--suite", run.suite, "quick (2 min), standard or full")
      ->option_text("NAME [quick]")
      ->check(CLI::IsMember({"quick", "standard", "full"}));
  app.add_option("--filter", run.filter, "only cases whose name matches")->option_text("REGEX");
  app.add_option(
         "--set", run.set,
         "values of any param, such as a shape; all combinations run; 4k, 64M, 1GiB: binary")
      ->option_text("NAME=V[,V...]")
      ->allow_extra_args(false);
  AddNames(app, "--dtype", run.dtypes, "data types: f32, bf16, int8, …")->option_text("T[,T...]");
  app.add_option(
         "--regime", run.regime,
         "burst, or sustained (a minute or more a visit), where there are both [the suite's]")
      ->option_text("NAME")
      ->check(CLI::IsMember({"burst", "sustained"}));
  app.add_option("--rest", run.rest_s,
                 "seconds that a GPU rests at most before a burst, to cool down [10]")
      ->option_text("S")
      ->check(CLI::Range(0.0, 600.0));
  AddNames(app, "--device", run.devices, "only these devices: cpu, cuda:0, …; or all")
      ->option_text("D[,D...]");
  app.add_option("--threads", run.threads, "threads of CPU cases [one per core]")
      ->option_text("N")
      ->check(CLI::Range(1, 4096));
  app.add_option("--ranks", run.ranks, "ranks that collectives start on this host [2]")
      ->option_text("N")
      ->check(CLI::Range(2, 65536));
  AddMeasuring(app, run, ci, format, {"table", "json", "csv"});
  app.add_option("--storage-path", run.storage_path, "folder for the storage probe's file")
      ->option_text("DIR [.]");
}

// The texts of options of `coll` that are turned into numbers once parsing is over.
struct CollTexts {
  std::string minbytes = {};
  std::string maxbytes = {};
  std::string stepbytes = {};
};

// Adds the options of `coll`, whose help text is kCollHelp.
void AddColl(CLI::App& app, CollOptions& coll, CollTexts& texts, std::string& ci,
             FormatFlags& format) {
  constexpr std::int64_t kMost = 1'000'000'000;
  app.add_option("OP", coll.operation)->required();
  app.add_option("--program", coll.program)->group("");
  app.add_option("-b,--minbytes", texts.minbytes);
  app.add_option("-e,--maxbytes", texts.maxbytes);
  app.add_option("-i,--stepbytes", texts.stepbytes);
  app.add_option("-f,--stepfactor", coll.stepfactor)->check(CLI::Range(std::int64_t{0}, kMost));
  app.add_option("-n,--iters", coll.iters)->check(CLI::Range(std::int64_t{1}, kMost));
  app.add_option("-w,--warmup_iters", coll.warmup_iters)->check(CLI::Range(std::int64_t{0}, kMost));
  app.add_option("-m,--agg_iters", coll.agg_iters)->check(CLI::Range(std::int64_t{1}, kMost));
  app.add_option("-N,--run_cycles", coll.run_cycles)->check(CLI::Range(std::int64_t{0}, kMost));
  app.add_option("-a,--average", coll.average)->check(CLI::Range(0, 3));
  app.add_option("-c,--check", coll.check)->check(CLI::Range(0, 1000000));
  app.add_option("-o,--op", coll.op);
  app.add_option("-d,--datatype", coll.datatype);
  app.add_option("-r,--root", coll.root);
  app.add_option("-z,--blocking", coll.blocking)->check(CLI::Range(0, 3));
  app.add_option("-t,--nthreads", coll.nthreads)->check(CLI::Range(1, 4096));
  app.add_option("-g,--ngpus", coll.ngpus)->check(CLI::Range(1, 4096));
  app.add_option("-p,--parallel_init", coll.parallel_init);
  app.add_option("-y,--stream_null", coll.stream_null);
  app.add_option("-T,--timeout", coll.timeout)->check(CLI::Range(0, 1000000));
  app.add_option("-G,--cudagraph", coll.cudagraph)->check(CLI::Range(0, 1000000));
  app.add_option("-C,--report_cputime", coll.report_cputime)->check(CLI::Range(0, 1));
  app.add_option("-S,--report_timestamps", coll.report_timestamps)->check(CLI::Range(0, 1));
  app.add_option("-J,--output_file", coll.output_file);
  app.add_option("-R,--local_register", coll.local_register)->check(CLI::Range(0, 2));
  app.add_option("-x,--cta_policy", coll.cta_policy);
  app.add_option("-D,--device_implementation", coll.device_implementation);
  app.add_option("-V,--device_cta_count", coll.device_cta_count);
  app.add_option("-M,--memory", coll.memory);
  app.add_option("-u,--unalign", coll.unalign)->check(CLI::Range(0, 1000000));
  app.add_option("-I,--per_iter_timing", coll.per_iter_timing)->check(CLI::Range(0, 1));
  app.add_option("-K,--per_iter_skip", coll.per_iter_skip)->check(CLI::Range(0, 1000000000));
  app.add_option("--sizes", coll.sizes);
  app.add_option("--mode", coll.mode)
      ->check(CLI::IsMember({"latency", "throughput", "graph", "both"}));
  app.add_option("--verify", coll.verify)->check(CLI::IsMember({"none", "last", "random", "all"}));
  app.add_option("--algo", coll.algo);
  app.add_option("--ranks", coll.ranks)->check(CLI::Range(1, 65536));
  app.add_flag("--allow-single", coll.allow_single);
  app.add_option("--split", coll.split);
  app.add_flag("--bisect", coll.bisect);
  app.add_flag("--cold", coll.cold);
  app.add_option("--duration", coll.duration_s)->check(CLI::Range(1.0, 1e6));
  app.add_option("--expect", coll.expect);
  app.add_option("--project", coll.project)->check(CLI::Range(16, 1 << 20));
  AddMeasuring(app, coll.run, ci, format, {"table", "nccl", "csv", "json"});
}

void TakeTexts(const CollTexts& texts, CollOptions& coll) {
  if (!texts.minbytes.empty()) coll.minbytes = ParseSize(texts.minbytes, "-b");
  if (!texts.maxbytes.empty()) coll.maxbytes = ParseSize(texts.maxbytes, "-e");
  if (!texts.stepbytes.empty()) coll.stepbytes = ParseSize(texts.stepbytes, "-i");
}

// The texts of options that are percentages, which are kept until parsing is over.
struct Percentages {
  std::string ci = {};
  std::string within = {};
  std::string fail_slower = {};
  std::string resolve = {};
};

// The arguments of `noise` without its own options, which each of its runs is given.
std::vector<std::string> WordsOfRun(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::string name = word.substr(0, word.find('='));
    const bool is_own = name == "--runs" || name == "--minutes" || name == "--noise";
    if (is_own && name == word) ++i;  // the option's value is the next word
    if (!is_own && word != "-q" && word != "--quiet" && word != "--add") words.push_back(word);
  }
  return words;
}

std::vector<std::string> LongNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// The Error for a word that no option or argument took.
Error Unexpected(const CLI::App& app, const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  const std::string meant = DidYouMean(name, LongNames(app));
  return Error(fmt::format("'{}' is not an option of 'assay {}'{}{}; 'assay {} --help' shows them",
                           Clean(name, 64), app.get_name(), meant.empty() ? "" : "; ", meant,
                           app.get_name()));
}

}  // namespace

double ParsePercent(const std::string& text, const std::string& option) {
  std::string_view digits = text;
  if (digits.ends_with('%')) digits.remove_suffix(1);
  const std::optional<double> value = NumberIn(digits);
  if (!value || !(*value > 0 && *value <= 100)) {
    throw Error(
        fmt::format("{} wants a percentage above 0 and at most 100, such as 1% or 1; got '{}'",
                    option, Clean(text, 32)));
  }
  return *value / 100;
}

Command ParseArguments(const std::vector<std::string>& given, const std::string& program) {
  std::vector<std::string> arguments = WithListsJoined(given);
  // The program may have been called by one of nccl-tests' names: "all_reduce_perf".
  const std::string called = program.substr(program.rfind('/') + 1);
  constexpr std::string_view kSuffix = "_perf";
  if (called.ends_with(kSuffix)) {
    const std::string operation = called.substr(0, called.size() - kSuffix.size());
    if (FindProbe(operation).probe_class == ProbeClass::kNetwork) {
      arguments.insert(arguments.begin(), {"coll", operation, "--program", called});
    }
  }
  RunOptions run;
  NoiseOptions noise;
  CollOptions coll;
  CollTexts coll_texts;
  EnvOptions env;
  CompareCommand compare;
  PlanCommand plan;
  ReportCommand report;
  PriceCommand price;
  Percentages percent;
  FormatFlags format;
  std::string by;
  OwnedFlags owned;
  std::vector<std::string> rates;

  CLI::App app("", "assay");
  app.set_help_flag();
  app.require_subcommand(1);
  app.get_formatter()->column_width(kHelpColumn);

  const auto add_command = [](CLI::App& parent, const char* name,
                              const char* summary) -> CLI::App& {
    CLI::App& command = *parent.add_subcommand(name, summary);
    command.set_help_flag("-h,--help", "this text");
    command.get_formatter()->column_width(kHelpColumn);
    return command;
  };
  CLI::App& run_app = add_command(app, "run", "measure this machine and write one result file");
  AddRun(run_app, run, percent.ci, format);

  CLI::App& noise_app = add_command(
      app, "noise",
      "measure how much runs differ on this machine, for compare; takes options of 'run', too");
  AddRun(noise_app, noise.run, percent.ci, format);
  for (CLI::Option* option : noise_app.get_options()) {
    if (!option->get_positional() && option != noise_app.get_help_ptr()) option->group("");
  }
  noise_app.add_option("--runs", noise.runs, "runs of this program, one after the other [16]")
      ->option_text("N")
      ->check(CLI::Range(4, 1000));
  noise_app.add_option("--minutes", noise.minutes, "the time that the runs are spread over [60]")
      ->option_text("M")
      ->check(CLI::Range(0.0, 60.0 * 24 * 30));
  noise_app.add_flag("--add", noise.add,
                     "keep these runs beside the file, and count those that were kept before");
  noise_app
      .add_option("--noise", noise.file,
                  "the file to add the findings to [assay/noise.csv in ~/.local/share]")
      ->option_text("FILE");

  CLI::App& coll_app = add_command(app, "coll", "measure a collective as nccl-tests does");
  AddColl(coll_app, coll, coll_texts, percent.ci, format);

  add_command(app, "list", "show the probes, backends and modules, and what can run here");

  CLI::App& env_app =
      add_command(app, "env", "show this machine, its identity, and what may make it noisy");
  AddIdentity(env_app, env.identity);

  CLI::App& compare_app =
      add_command(app, "compare", "compare results in speed and in work per dollar");
  compare_app.add_option("FILE", compare.files,
                         "baseline and candidate; more files, or a folder: machine types, ranked");
  compare_app.add_option("--a", compare.a, "the baseline's files")->option_text("FILE...");
  compare_app.add_option("--b", compare.b, "the candidate's files")->option_text("FILE...");
  compare_app
      .add_option(
          "--within", percent.within,
          "the margin within which speeds are the same [1 %; types, network 3 %, storage 5 %]")
      ->option_text("PCT");
  compare_app
      .add_option("--fail-slower", percent.fail_slower,
                  "exit 1 if a case is slower by this, 2 if a case is missing or can't be judged")
      ->option_text("PCT");
  AddFormat(compare_app, format, {"table", "json", "csv"});
  compare_app.add_flag("--csv", format.csv, "the same as --format csv");
  AddGroups(compare_app, compare.groups, by);
  compare_app.add_flag("--nodes", compare.nodes, "show the nodes of each group, too");
  compare_app.add_flag("--all-pairs", compare.all_pairs, "judge every pair of groups: full ranks");
  AddPricing(compare_app, compare.pricing);
  AddOwned(compare_app, owned);

  CLI::App& plan_app =
      add_command(app, "plan", "how many nodes of two types tell them apart, and at what cost");
  plan_app.add_option("A", plan.a, "provider and instance as one word: 'aws p5.48xlarge'")
      ->required();
  plan_app.add_option("B", plan.b, "the other type; or both are groups of --results")->required();
  plan_app
      .add_option("--resolve", percent.resolve,
                  "the true difference that 80 of 100 comparisons find")
      ->option_text("PCT [3%]");
  plan_app
      .add_option("--results", plan.results,
                  "files or folders that show how nodes differ [noise.csv alone]")
      ->option_text("FILE...");
  plan_app
      .add_option("--noise", plan.noise, "the file with measured rows on how nodes and runs differ")
      ->option_text("FILE");
  plan_app.add_option("--primary", plan.primary, "the case to compare, by its words or its probe")
      ->option_text("CASE [headline]");
  plan_app.add_option("--runs", plan.runs, "runs of each node [1]")
      ->option_text("N")
      ->check(CLI::Range(1, 1000));
  plan_app
      .add_option("--minutes", plan.minutes,
                  "minutes of a run [as in the files; else 30, and 2 without the headline]")
      ->option_text("M")
      ->check(NumberAbove(0, 60.0 * 24 * 30));
  AddFormat(plan_app, format, {"table", "json", "csv"});
  AddSources(plan_app, plan.sources);

  CLI::App& report_app = add_command(app, "report", "turn result files into one HTML page");
  report_app.add_option("FILE", report.files, "result files, and folders of them")->required();
  report_app.add_option("--out", report.out, "the page [none: figures on stdout]")
      ->option_text("FILE");
  AddFormat(report_app, format, {"table", "json", "csv"});
  AddGroups(report_app, report.groups, by);
  AddPricing(report_app, report.pricing);
  AddOwned(report_app, owned);

  CLI::App& price_app = add_command(app, "price", "prices: built in, and your own");
  price_app.require_subcommand(1);
  CLI::App& price_list = add_command(price_app, "list", "all offers, or those that match a word");
  price_list.add_option("WORD", price.filter, "part of provider, instance, region or purchase");
  CLI::App& price_show = add_command(price_app, "show", "offers and facts of one instance");
  price_show.add_option("PROVIDER", price.provider, "aws, gcp, …")->required();
  price_show.add_option("INSTANCE", price.instance, "p5.48xlarge, …")->required();
  for (CLI::App* const one : {&price_list, &price_show}) {
    AddFormat(*one, format, {"table", "json", "csv"});
  }
  CLI::App& price_check = add_command(price_app, "check", "prices that contradict each other");
  for (CLI::App* const one : {&price_list, &price_show, &price_check}) {
    AddSources(*one, price.pricing.sources);
  }
  AddPurchase(price_list, price.pricing, "only what is bought so");
  AddPurchase(price_show, price.pricing, "only what is bought so; owned: with --capex");
  AddOwned(price_show, owned);
  CLI::App& price_bill = add_command(price_app, "bill", "hold runs against an invoice");
  price_bill.add_option("RUN", price.runs, "result files, and folders of them")->required();
  price_bill.add_option("--focus", price.focus, "the invoice: FOCUS 1.x, as CSV")
      ->option_text("FILE")
      ->required();
  price_bill.add_option("--within", percent.within, "exit 1 if a run's cost differs by more [1 %]")
      ->option_text("PCT");
  AddPricing(price_bill, price.pricing);
  AddPurchase(price_bill, price.pricing, "the way of buying that is priced [the run's own]");
  AddOwned(price_bill, owned);
  CLI::App& price_import = add_command(price_app, "import", "make a price file of others' data");
  price_import.add_option("FILE", price.file, "the file as it was got")->required();
  price_import
      .add_option("--from", price.import.format,
                  fmt::format("{}", fmt::join(ImportFormats(), ", ")))
      ->option_text("FORMAT")
      ->required()
      ->check(CLI::IsMember(ImportFormats()));
  price_import.add_option("--out", price.out, "the price file [none: on stdout]")
      ->option_text("FILE");
  price_import.add_option("--provider", price.import.provider, "the cloud, for skypilot")
      ->option_text("NAME");
  price_import.add_option("--date", price.import.date, "the day of the prices [the file's]")
      ->option_text("DATE");
  for (CLI::App* const one : {&price_import, &price_bill}) {
    one->add_option("--rate", rates, "the price in USD of another currency: EUR=1.08")
        ->option_text("CUR=USD")
        ->allow_extra_args(false);
  }

  if (arguments.empty() || arguments[0] == "-h" || arguments[0] == "--help" ||
      arguments[0] == "help") {
    return PrintOnly{kMainHelp};
  }
  std::vector<std::string> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(sub->get_name());
  }
  const std::string& first = arguments[0];
  if (std::find(commands.begin(), commands.end(), first) == commands.end()) {
    std::vector<std::string> words = commands;
    words.insert(words.end(), {"--help", "--version"});
    const std::string meant = DidYouMean(first, words);
    throw Error(fmt::format("there is no command '{}'{}{}; 'assay --help' shows all of them",
                            Clean(first, 64), meant.empty() ? "" : "; ", meant));
  }

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    const CLI::App* sub = app.get_subcommands().front();
    if (sub == &coll_app) return PrintOnly{kCollHelp};
    std::string parents = "assay";
    if (!sub->get_subcommands().empty()) {
      parents += " " + sub->get_name();
      sub = sub->get_subcommands().front();
    }
    std::string text = sub->help(parents);
    text.erase(text.find_last_not_of('\n') + 1);
    return PrintOnly{text + '\n'};
  } catch (const CLI::ExtrasError&) {
    const CLI::App& sub = *app.get_subcommands().front();
    const std::vector<std::string> extra = app.remaining(true);
    throw Unexpected(sub, extra.empty() ? first : extra.front());
  } catch (const CLI::ParseError& error) {
    throw Error(
        fmt::format("{}; 'assay {} --help' shows the options", Clean(error.what(), 300), first));
  }

  if (first == "run") {
    if (!percent.ci.empty()) run.ci = ParsePercent(percent.ci, "--ci");
    run.format = FormatOf(format);
    return run;
  }
  if (first == "coll") {
    if (!percent.ci.empty()) coll.run.ci = ParsePercent(percent.ci, "--ci");
    coll.run.format = FormatOf(format);
    TakeTexts(coll_texts, coll);
    if (coll.timeout > 0 && coll_app.count("--watchdog") == 0) coll.run.watchdog_s = coll.timeout;
    return coll;
  }
  if (first == "noise") {
    if (!percent.ci.empty()) ParsePercent(percent.ci, "--ci");
    if (!noise.run.out.empty() || !noise.run.gbench_out.empty() || !noise.run.report.empty() ||
        format.json || !format.word.empty()) {
      throw Error(
          "noise keeps no results of its runs; leave --out, --gbench-out, --report, --format and "
          "--json out");
    }
    noise.words = WordsOfRun({arguments.begin() + 1, arguments.end()});
    return noise;
  }
  if (first == "list") return ListOptions{};
  if (first == "env") return env;
  if (first == "compare") {
    compare.format = FormatOf(format);
    compare.pricing.owned = OwnedBy(owned, compare.groups.purchases);
    if (!percent.within.empty()) compare.within = ParsePercent(percent.within, "--within");
    if (!percent.fail_slower.empty()) {
      compare.fail_slower = ParsePercent(percent.fail_slower, "--fail-slower");
    }
    compare.groups.by = GroupedBy(by);
    const bool sides = !compare.a.empty() || !compare.b.empty();
    if (sides ? (compare.a.empty() || compare.b.empty() || !compare.files.empty())
              : compare.files.empty()) {
      throw Error(
          "compare wants two files, or '--a FILE… --b FILE…', or a folder or more files to rank");
    }
    if (compare.all_pairs &&
        (!compare.groups.weights.empty() || compare.groups.per_gpu || compare.nodes)) {
      throw Error(
          "--all-pairs judges each case as it is; leave --weights, --per-gpu and --nodes out");
    }
    return compare;
  }
  if (first == "plan") {
    plan.format = FormatOf(format);
    if (!percent.resolve.empty()) plan.resolve = ParsePercent(percent.resolve, "--resolve");
    return plan;
  }
  if (first == "report") {
    report.format = FormatOf(format);
    report.groups.by = GroupedBy(by);
    if (!report.groups.purchases.empty() && report.groups.purchases.front() != "all") {
      report.pricing.purchase = report.groups.purchases.front();
    }
    report.pricing.owned = OwnedBy(owned, report.groups.purchases);
    return report;
  }
  using Does = PriceCommand::Does;
  price.does = price_show.parsed()     ? Does::kShow
               : price_check.parsed()  ? Does::kCheck
               : price_import.parsed() ? Does::kImport
               : price_bill.parsed()   ? Does::kBill
                                       : Does::kList;
  price.format = FormatOf(format);
  const std::string& bought = price.pricing.purchase;
  price.pricing.owned =
      OwnedBy(owned, bought.empty() ? std::vector<std::string>{} : std::vector{bought});
  price.import.provider = Lower(price.import.provider);
  price.import.usd_per = ReadRates(rates);
  if (!percent.within.empty()) price.within = ParsePercent(percent.within, "--within");
  if (!price.import.date.empty() &&
      (price.import.date.size() != 10 || !FirstDay(price.import.date))) {
    throw Error(
        fmt::format("--date {}: give a day such as 2026-07-01", Clean(price.import.date, 32)));
  }
  return price;
}

}  // namespace assay
