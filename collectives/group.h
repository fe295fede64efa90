// A Group is some of the ranks, which do what they do as if they were all there are, while the
// other groups do the same beside them. It needs nothing but its parent's calls: each of a group's
// calls is one exchange of texts among all ranks of the parent, of which it keeps its members'.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runner/ranks.h"

namespace assay {

// Texts as one text, and back. PartTexts throws Error for what JoinTexts never makes.
std::string JoinTexts(const std::vector<std::string>& texts);
std::vector<std::string> PartTexts(const std::string& joined);

// Every rank's text in rank order, on every rank: what Gather gives to rank 0 alone. Called on all
// ranks together; one exchange, of two calls. Throws Error unless it is one text of each rank.
std::vector<std::string> GatherToAll(Ranks& ranks, const std::string& own);

class Group : public Ranks {
 public:
  // Called on all ranks of the parent together, which must outlive it: those that give the same
  // number are one group, in the parent's order. While groups are in use the parent's own calls are
  // not to be made, unless all ranks rest.
  Group(Ranks& parent, int number);

  int Rank() const override { return rank_; }
  int Size() const override { return static_cast<int>(members_.size()); }
  // Among all ranks of the node, whatever their group: they share its devices and adapters.
  int LocalRank() const override { return parent_.LocalRank(); }
  int Node() const override { return node_; }  // 0 … nodes of the group - 1
  std::vector<int> Members() const override;
  std::string JoinedBy() const override { return parent_.JoinedBy(); }
  void Abort(int status) override { parent_.Abort(status); }

  // Every group must make as many calls as the others, but not the same ones; where that isn't
  // sure, each of its ranks rests afterwards, also those that gave up. Throw Error where another
  // member rests or makes another call.
  void Barrier() override;
  std::string Broadcast(const std::string& text) override;
  std::vector<std::string> Gather(const std::string& text) override;
  void Max(std::span<double> values) override;

  // Takes part in what others still do, and returns when all ranks of the parent rest.
  void Rest();

 private:
  enum Kind : char { kBarrier = 'b', kBroadcast = 't', kGather = 'g', kMax = 'm', kRest = 'r' };

  // The texts of all ranks of the parent, each behind its kind.
  std::vector<std::string> ExchangeAll(Kind kind, const std::string& text);
  // Those of the members, without.
  std::vector<std::string> Exchange(Kind kind, const std::string& text);

  Ranks& parent_;
  std::vector<int> members_ = {};  // ranks of the parent
  int rank_ = 0;
  int node_ = 0;
};

}  // namespace assay
