// Google Benchmark, wrapped once: the registry and the reporter. Each visit of the engine is one
// benchmark of one iteration, so that a run can be handed out as the library's own JSON, too.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "results/file/run.h"

namespace assay {

// The library, whose registry is the process's, so that one thread at a time may use one of these.
class Gbench {
 public:
  // The outcome of a visit, as the library is told it.
  struct Result {
    std::optional<double> time_s = {};  // per iteration; nothing: the visit has no figure
    Work work = {};                     // the work of one iteration
    std::string why_none = {};          // the reason where there is no time
  };

  // Sets back all that the environment tells the library (BENCHMARK_OUT, BENCHMARK_FILTER, …).
  Gbench();
  ~Gbench();
  Gbench(const Gbench&) = delete;
  Gbench& operator=(const Gbench&) = delete;

  // Calls `visit`, which must not throw, once as a benchmark of that name and label. Nothing is
  // printed. Throws Error where the library does not call it.
  void Run(const std::string& name, const std::string& label, const std::function<Result()>& visit);

  // The JSON in which the library reports all visits so far, as if they were one run of it, without
  // the host's name; "" before the first visit.
  std::string Json();

 private:
  class Reporter;
  std::unique_ptr<Reporter> reporter_;
};

}  // namespace assay
