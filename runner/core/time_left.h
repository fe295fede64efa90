// An estimate of how long a run still takes, from its budgets and from the visits that it has seen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runner/core/engine.h"

namespace assay {

// Follows one run.
class TimeLeft {
 public:
  // An estimate of time.
  struct Guess {
    double seconds = 0;
    bool is_least = false;  // whether it may take several times as long
  };

  // Estimates for a run that visits `cases` as `options` say.
  TimeLeft(const std::vector<Case>& cases, const EngineOptions& options);

  // The whole run's time, before its first visit. Nothing where visits are a number of operations,
  // whose time is known only once some are done.
  std::optional<Guess> Planned() const;

  // Takes note that a visit of `which` begins, `elapsed_s` after the run did, and returns the time
  // that is left, that visit included. Budgets count at the pace of the visits so far. Where visits
  // are a number of operations, a case takes what it took before, and one that was not seen yet
  // takes A + B x bytes, fitted by least squares of relative errors to the visits that differ in
  // bytes alone; its `is_least` is set where a size is more than eight times the largest that was
  // seen, or none was. Nothing before anything was seen.
  std::optional<Guess> VisitBegins(const Case& which, double elapsed_s);

 private:
  // The visits of cases that differ in bytes alone.
  struct Sizes {
    std::map<std::int64_t, std::pair<double, int>> seen = {};  // by bytes: total seconds, visits
    std::map<std::int64_t, int> to_come = {};                  // by bytes: visits
  };

  std::optional<Guess> OfOperations(const Case& which, double elapsed_s);

  EngineOptions options_;
  double planned_s_;
  bool is_sustained_ = false;
  int visits_ = 0;
  double done_s_ = 0;                // the planned time of the visits before this one
  double visit_s_ = 0;               // the planned time of this visit
  std::set<const void*> made_ = {};  // the things shared by cases that are made already
  std::map<std::string, Sizes> alike_ = {};
  std::optional<std::pair<std::string, std::int64_t>> visited_ = {};  // the visit that began last
  double began_s_ = 0;
};

}  // namespace assay
