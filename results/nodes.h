// Several nodes of one run: what they have in common, and what sets them apart. A collective runs
// at the pace of its slowest node, and one price stands for all of them, so that they should be
// alike.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "results/run.h"

namespace assay {

// Something that nodes say, and which of them: "node 2", "3 nodes".
struct Saying {
  std::string text = {};
  std::vector<std::size_t> nodes = {};  // indices, ascending
  std::string Who() const;
};
// All that `says` gives of any node, once each, in the order of the nodes.
std::vector<Saying> Gather(std::span<const Node> nodes,
                           const std::function<std::vector<std::string>(const Node&)>& says);

// What the nodes differ in that moves figures or dollars, a note each with its remedy: instance,
// region, zone, purchase, processor, accelerators, and versions of the libraries between them.
std::vector<Note> UnlikeNodes(std::span<const Node> nodes);

// Facts of a case that these nodes measured at once: the first node's, but those that tell what a
// figure is worth (whether a cache may have answered, whether the client was too slow) are of the
// node where it is worth least.
Facts FactsOfNodes(const std::vector<Facts>& nodes);

// How many accelerators lie in a node, whichever were used.
int AcceleratorsOf(const Node& node);

// Whether they are instances of one type.
bool AreOfOneType(std::span<const Node> nodes);

// Which of what an offer is chosen by they differ in ("instance: p5.48xlarge (2 nodes), g6.xlarge
// (node 2)"); empty where one offer prices them all.
std::string PricedApart(std::span<const Node> nodes);

}  // namespace assay
