// How long a run still takes, from its budgets and from the visits that it has seen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runner/engine.h"

namespace assay {

class TimeLeft {
 public:
  struct Guess {
    double seconds;
    bool is_least = false;  // it may well take several times as long
  };

  // The time of a run that visits `cases` as `options` say.
  TimeLeft(const std::vector<Case>& cases, const EngineOptions& options);

  // The whole run's time, before its first visit; nothing where visits are a number of operations,
  // whose time is known only once some are done.
  std::optional<Guess> Planned() const;

  // Says that a visit of `which` begins, so many seconds after the run did: what is left, with that
  // visit. Budgets count at the pace of the visits so far. Where visits are a number of operations,
  // a case takes what it took before, and one that was not seen yet takes A + B x bytes, fitted by
  // least squares of relative errors to the visits that differ in bytes alone. It is the least time
  // where a size is more than eight times the largest that was seen.
  std::optional<Guess> VisitBegins(const Case& which, double elapsed_s);

 private:
  struct Sizes {                                               // what differs in bytes alone
    std::map<std::int64_t, std::pair<double, int>> seen = {};  // by bytes: seconds in all, visits
    std::map<std::int64_t, int> to_come = {};                  // visits, by bytes
  };

  std::optional<Guess> OfOperations(const Case& which, double elapsed_s);

  EngineOptions options_;
  double planned_s_;
  bool is_sustained_ = false;
  int visits_ = 0;
  double done_s_ = 0;                // planned, of the visits before this one
  double visit_s_ = 0;               // planned, of this one
  std::set<const void*> made_ = {};  // what cases share
  std::map<std::string, Sizes> alike_ = {};
  std::optional<std::pair<std::string, std::int64_t>> visited_ = {};  // what began last
  double began_s_ = 0;
};

}  // namespace assay
