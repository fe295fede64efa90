// A Group is some of the ranks, which work as if they were all ranks while the other groups do the
// same at the same time. It needs nothing but its parent's calls: each call of a group is one
// exchange of texts among all ranks of the parent, of which it keeps its members' texts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runner/core/ranks.h"

namespace assay {

// Join texts to one text, and part them again. PartTexts throws Error for what JoinTexts never
// makes.
std::string JoinTexts(const std::vector<std::string>& texts);
std::vector<std::string> PartTexts(const std::string& joined);

// Returns every rank's text, in rank order, on every rank, where Gather returns them on rank 0
// alone. Called on all ranks together; it takes two calls of `ranks`. Throws Error unless there is
// one text from each rank.
std::vector<std::string> GatherToAll(Ranks& ranks, const std::string& own);

// The ranks of one group, as one of them sees it.
class Group : public Ranks {
 public:
  // Called on all ranks of the parent together, which must outlive this. Ranks that give the same
  // number are one group, in the parent's order. While groups are in use the parent's own calls
  // must not be made, unless all ranks rest.
  Group(Ranks& parent, int number);

  int Rank() const override { return rank_; }
  int Size() const override { return static_cast<int>(members_.size()); }
  // The number among all ranks of the node, whatever their group, since they share its devices and
  // adapters.
  int LocalRank() const override { return parent_.LocalRank(); }
  int Node() const override { return node_; }  // counted among the nodes of the group
  std::vector<int> Members() const override;
  std::string JoinedBy() const override { return parent_.JoinedBy(); }
  void Abort(int status) override { parent_.Abort(status); }

  // Every group must make as many calls as the others, but not the same ones. Where that isn't
  // sure, each of its ranks must rest afterwards, also those that gave up. The calls throw Error
  // where another member rests or makes another call.
  void Barrier() override;
  std::string Broadcast(const std::string& text) override;
  std::vector<std::string> Gather(const std::string& text) override;
  void Max(std::span<double> values) override;

  // Takes part in the exchanges that others still make, and returns when all ranks of the parent
  // rest.
  void Rest();

 private:
  enum Kind : char { kBarrier = 'b', kBroadcast = 't', kGather = 'g', kMax = 'm', kRest = 'r' };

  // Exchanges texts, and returns those of all ranks of the parent, each behind its kind.
  std::vector<std::string> ExchangeAll(Kind kind, const std::string& text);
  // Exchanges texts, and returns those of the members, without their kinds.
  std::vector<std::string> Exchange(Kind kind, const std::string& text);

  Ranks& parent_;
  std::vector<int> members_ = {};  // their numbers in the parent
  int rank_ = 0;
  int node_ = 0;
};

}  // namespace assay
