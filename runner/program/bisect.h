// A Bisection finds out which rank, or which node, is slow. It asks for groups of ranks, is told
// how long each took, and ends in a sentence. First it asks for halves, then for pairs across them,
// then for every suspect with its own partner that is known to be good. It measures nothing itself:
// `assay coll --bisect` measures what it asks for and hands it the records.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "results/file/run.h"

namespace assay {

// One search. Next and its records take turns until Next returns nothing.
class Bisection {
 public:
  // Both vectors have one entry for each rank. Nodes are told apart where there are four or more,
  // else ranks. Hosts name them, where they are known. Throws Error with fewer than four ranks.
  Bisection(const std::vector<int>& node_of_rank, const std::vector<std::string>& host_of_rank);

  // Takes the records of the groups that were asked for last, one a group (none at first), and
  // returns the groups to measure next, as collectives::GroupsFrom reads them; empty when all is
  // known.
  std::string Next(std::span<const Record> records);

  // The step that was asked for last, in a word: "halves".
  std::string Asked() const;
  // The outcome: a line that begins with `#`. REQUIRES: Next has returned nothing.
  std::string Verdict() const;
  // Whether a rank or a node was found to be slow.
  bool FoundSlow() const { return !slow_.empty(); }

 private:
  // The steps, one of which was asked for last.
  enum class Step { kNothing, kHalves, kPairs, kChecks };
  // A part that was found slow, with the partner that it was measured with.
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
  std::vector<std::vector<int>> parts_ = {};  // the ranks of each node, or each rank by itself
  Step step_ = Step::kNothing;
  std::string slow_half_ = {};                   // in words
  std::vector<std::pair<int, int>> asked_ = {};  // the pairs that were asked for, by group
  std::size_t checks_ = 0;                       // how many of them are (suspect, partner)
  std::vector<std::pair<int, int>> slow_pairs_ = {};
  std::vector<int> suspects_ = {};       // those not yet checked
  std::vector<int> good_ = {};           // those known to be good, two by two as they were paired
  std::vector<Record> good_pairs_ = {};  // the reference for suspects where there is no other
  std::vector<Slow> slow_ = {};
  double unseen_ = 1;         // the ratio by which a pair may be slower and not stand out
  std::string unknown_ = {};  // why there is no verdict
  bool is_over_ = false;
};

}  // namespace assay
