#include "runner/core/gbench.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <sstream>
#include <vector>

#include "results/base/error.h"
#include "results/base/text.h"
#include "version.h"

namespace assay {
namespace {

// Initializes Google Benchmark. The library reads its flags
// from the environment before main (BENCHMARK_LIST_TESTS, BENCHMARK_OUT,
// BENCHMARK_REPORT_AGGREGATES_ONLY …), any of which would silently leave us without samples, write
// a stray file or run a visit twice. Each flag that 1.7 or 1.9 has is therefore set back here.
// Verbosity -1 silences 1.9's remark on a min_time without unit, which 1.7 requires.
void InitializeOnce() {
  static const bool initialized = [] {
    std::array arguments = {
        "assay",
        "--benchmark_list_tests=false",
        "--benchmark_filter=.",
        "--benchmark_min_time=0.5",
        "--benchmark_min_warmup_time=0",
        "--benchmark_repetitions=1",
        "--benchmark_dry_run=false",
        "--benchmark_enable_random_interleaving=false",
        "--benchmark_report_aggregates_only=false",
        "--benchmark_display_aggregates_only=false",
        "--benchmark_format=console",
        "--benchmark_out=",
        "--benchmark_out_format=json",
        "--benchmark_color=false",
        "--benchmark_counters_tabular=false",
        "--benchmark_perf_counters=",
        "--benchmark_context=",
        "--benchmark_time_unit=ns",
        "--v=-1",
    };
    int count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, const_cast<char**>(arguments.data()));
    benchmark::AddCustomContext("assay_version", ASSAY_VERSION);
    benchmark::AddCustomContext("assay_commit", ASSAY_COMMIT);
    return true;
  }();
  (void)initialized;
}

// The text without characters that would break JSON. Google Benchmark escapes little of what it
// writes, and a vendor's library or a device may say anything.
std::string Harmless(const std::string& text) { return Clean(text, text.size()); }

}  // namespace

// A reporter that prints nothing. It hands all visits to Google Benchmark's own JSON writer, as if
// they were one run of the library.
class Gbench::Reporter : public benchmark::BenchmarkReporter {
 public:
  Reporter() {
    SetOutputStream(&silence_);
    SetErrorStream(&silence_);
    json_.SetOutputStream(&text_);
    json_.SetErrorStream(&silence_);
  }

  bool ReportContext(const Context& context) override {
    if (!has_context_) json_.ReportContext(context);
    has_context_ = true;
    host_name_ = context.sys_info.name;
    return true;
  }

  void ReportRuns(const std::vector<Run>& runs) override { json_.ReportRuns(runs); }

  // The JSON of all visits. The host's name, which the library puts in, is removed.
  std::string Json() {
    if (!has_context_) return "";
    json_.Finalize();
    std::string text = text_.str();
    const std::string line = fmt::format("\"host_name\": \"{}\"", host_name_);
    if (const auto at = text.find(line); at != std::string::npos) {
      text.replace(at, line.size(), "\"host_name\": \"\"");
    }
    return text;
  }

 private:
  std::ostringstream silence_ = {};
  std::ostringstream text_ = {};
  benchmark::JSONReporter json_ = {};
  bool has_context_ = false;
  std::string host_name_ = {};
};

Gbench::Gbench() : reporter_(std::make_unique<Reporter>()) { InitializeOnce(); }

Gbench::~Gbench() = default;

void Gbench::Run(const std::string& name, const std::string& label,
                 const std::function<Result()>& visit) {
  bool was_run = false;
  benchmark::RegisterBenchmark(
      Harmless(name).c_str(),
      [&](benchmark::State& state) {
        Result result;
        for (auto _ : state) {
          result = visit();
          was_run = true;
          if (!result.time_s) break;
          state.SetIterationTime(*result.time_s);
          const auto rate = [&](const char* counter, const std::optional<std::int64_t>& work) {
            if (work) state.counters[counter] = static_cast<double>(*work) / *result.time_s;
          };
          rate("flops_per_second", result.work.flops);
          rate("bytes_per_second", result.work.bytes);
          rate("items_per_second", result.work.ops);
        }
        state.SetLabel(label);
        if (!result.time_s) state.SkipWithError(Harmless(result.why_none).c_str());
      })
      ->UseManualTime()
      ->Iterations(1);
  benchmark::RunSpecifiedBenchmarks(reporter_.get(), ".");
  benchmark::ClearRegisteredBenchmarks();
  if (!was_run) throw Error(fmt::format("Google Benchmark did not run {}; report this bug", name));
}

std::string Gbench::Json() { return reporter_->Json(); }

}  // namespace assay
