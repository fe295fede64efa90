// Several nodes of one run: what they have in common, and what sets them apart. They should be
// alike, since a collective runs at the pace of its slowest node, and one price stands for all of
// them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "results/file/run.h"

namespace assay {

// A text that holds for some nodes.
struct Saying {
  std::string text = {};
  std::vector<std::size_t> nodes = {};  // indices into the run's nodes, ascending
  // The nodes in words: "node 2" (the index) for a single one, else "3 nodes".
  std::string Who() const;
};
// Collects what `says` gives for the nodes: each text once, in the order in which nodes first say
// it.
std::vector<Saying> Gather(std::span<const Node> nodes,
                           const std::function<std::vector<std::string>(const Node&)>& says);

// Notes, each with its remedy, on differences between nodes that move figures or dollars: provider,
// instance, region, zone, purchase, processor, accelerators, and versions of CUDA, of drivers and
// of the libraries between them. One note for each thing that differs.
std::vector<Note> UnlikeNodes(std::span<const Node> nodes);

// The facts of a case that several nodes measured at once, from the facts of each node in the run's
// order. They are the first node's, except for facts that tell what a figure is worth (whether a
// cache may have answered, whether the client was too slow), which are those of the node where it
// is worth least; `direct_how` names that node unless it is the first. Empty without nodes.
Facts FactsOfNodes(const std::vector<Facts>& nodes);

// The number of accelerators that are present in a node, used or not.
int AcceleratorsOf(const Node& node);

// Whether all nodes have the same provider and instance type. Nodes whose type isn't known
// ("unknown") count as one type. True of an empty list.
bool AreOfOneType(std::span<const Node> nodes);

// The difference between nodes in what an offer is chosen by: "instance: p5.48xlarge (2 nodes),
// g6.xlarge (node 2)". Empty where one offer prices them all.
std::string PricedApart(std::span<const Node> nodes);

}  // namespace assay
