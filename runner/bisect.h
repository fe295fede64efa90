// Which rank, or which node, is slow? A Bisection asks for groups of ranks, is told how long each
// took, and ends in a sentence: first halves, then pairs across them, then every suspect with a
// partner of its own that is known to be good. A pure function of records: what it asks for,
// `assay coll --bisect` measures.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "results/run.h"

namespace assay {

class Bisection {
 public:
  // One entry a rank. Nodes are told apart where there are four or more, else ranks; hosts name
  // them, where they are known. Throws Error with fewer than four ranks.
  Bisection(const std::vector<int>& node_of_rank, const std::vector<std::string>& host_of_rank);

  // The groups to measure next, as collectives::GroupsFrom reads them; empty when all is known.
  // `records` are those of what was asked for last, one a group; none at first.
  std::string Next(std::span<const Record> records);

  std::string Asked() const;  // what that was: "halves"
  // Once Next gave nothing: a line that begins with `#`.
  std::string Verdict() const;
  bool FoundSlow() const { return !slow_.empty(); }

 private:
  // What was asked for last.
  enum class Step { kNothing, kHalves, kPairs, kChecks };
  struct Slow {
    int part = 0;
    int partner = 0;
    double ratio = 1;
  };

  std::string After(std::span<const Record> records);
  int Count() const { return static_cast<int>(parts_.size()); }
  std::string Halves();
  void TakeHalves(std::span<const Record> records);
  std::string Pairs();
  void TakePairs(std::span<const Record> records);
  std::string Checks();
  void TakeChecks(std::span<const Record> records);
  std::string GroupsOfPairs() const;
  std::string GroupsOf(const std::vector<int>& group_of_part) const;
  std::string NameOf(int part) const;

  int ranks_;
  std::vector<std::string> hosts_;
  bool by_node_ = false;
  std::vector<std::vector<int>> parts_ = {};  // nodes or ranks: the ranks of each
  Step step_ = Step::kNothing;
  std::string slow_half_ = {};                   // in words
  std::vector<std::pair<int, int>> asked_ = {};  // by group
  std::size_t checks_ = 0;                       // so many of them are (suspect, partner)
  std::vector<std::pair<int, int>> slow_pairs_ = {};
  std::vector<int> suspects_ = {};       // not yet checked
  std::vector<int> good_ = {};           // two by two, as they were paired
  std::vector<Record> good_pairs_ = {};  // what suspects are held against where nothing else is
  std::vector<Slow> slow_ = {};
  double unseen_ = 1;         // a pair may be slower by this and not stand out
  std::string unknown_ = {};  // why there is no verdict
  bool is_over_ = false;
};

}  // namespace assay
