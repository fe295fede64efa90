#include "results/file/nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "results/base/text.h"

namespace assay {
namespace {

// Something that nodes may differ in.
struct Aspect {
  std::string name = {};
  std::string (*of)(const Node& node) = nullptr;
  std::string remedy = {};
  bool prices = false;  // whether an offer is chosen by it
};

std::string Accelerators(const Node& node) {
  std::string text;
  for (const Accelerator& each : node.accelerators) {
    text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", each.present, each.name);
  }
  return text;
}

// A rank of how far direct transfers are from being proved; 0 for anything but storage.
int DoubtOf(const Facts& facts) {
  const std::string verdict = TextOf(facts, "direct");
  if (verdict.empty()) return 0;
  if (verdict == "proved") return 1;
  return verdict == "refuted" ? 3 : 2;
}

// Everything in which unlike nodes move figures or dollars, with the remedy for each.
const std::vector<Aspect>& Aspects() {
  static const std::string pace = "hold nodes of one type: all wait for the slowest";
  static const std::string near = "hold nodes that are close to each other (a placement group)";
  static const std::vector<Aspect> all = {
      {"provider", [](const Node& n) { return n.identity.provider.value; }, pace, true},
      {"instance", [](const Node& n) { return n.identity.instance.value; }, pace, true},
      {"region", [](const Node& n) { return n.identity.region.value; }, near, true},
      {"zone", [](const Node& n) { return n.identity.zone_id.value; }, near},
      {"purchase", [](const Node& n) { return n.identity.purchase.value; },
       "give what a node costs on average with --price", true},
      {"processor", [](const Node& n) { return n.cpu.model; }, pace},
      {"accelerators", Accelerators, pace},
  };
  return all;
}

// The software that moves data between nodes, and the drivers below it.
constexpr const char* kSoftware[] = {"cuda", "driver", "libfabric", "mpi", "nccl"};

// The difference between nodes in one aspect, in words: "p5.48xlarge (3 nodes), p4d.24xlarge (node
// 2)"; empty where all have the same.
std::string Spread(std::span<const Node> nodes, const std::function<std::string(const Node&)>& of) {
  const std::vector<Saying> values =
      Gather(nodes, [&](const Node& node) { return std::vector{of(node)}; });
  if (values.size() < 2) return "";
  constexpr std::size_t kShown = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(values.size(), kShown); ++i) {
    const std::string& value = values[i].text;
    text += fmt::format("{}{} ({})", i == 0 ? "" : ", ", value.empty() ? "none" : Clean(value),
                        values[i].Who());
  }
  if (values.size() > kShown) text += fmt::format(" and {} more", values.size() - kShown);
  return text;
}

}  // namespace

std::string Saying::Who() const {
  return nodes.size() == 1 ? fmt::format("node {}", nodes[0]) : CountText(nodes.size(), "node");
}

std::vector<Saying> Gather(std::span<const Node> nodes,
                           const std::function<std::vector<std::string>(const Node&)>& says) {
  std::vector<Saying> all;
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const std::string& text : says(nodes[i])) {
      const auto [place, is_new] = places.emplace(text, all.size());
      Saying& saying = is_new ? all.emplace_back(Saying{.text = text}) : all[place->second];
      if (saying.nodes.empty() || saying.nodes.back() != i) saying.nodes.push_back(i);
    }
  }
  return all;
}

std::vector<Note> UnlikeNodes(std::span<const Node> nodes) {
  std::vector<Note> notes;
  const auto note = [&](const std::string& name, const std::string& spread,
                        const std::string& remedy) {
    if (spread.empty()) return;
    notes.push_back(
        {.what = fmt::format("the nodes differ in {}: {}", name, spread), .remedy = remedy});
  };
  for (const Aspect& aspect : Aspects()) note(aspect.name, Spread(nodes, aspect.of), aspect.remedy);
  for (const char* library : kSoftware) {
    const auto version = [&](const Node& node) {
      const auto found = node.software.find(library);
      return found == node.software.end() ? std::string() : found->second;
    };
    note(library, Spread(nodes, version), "install the same one everywhere");
  }
  return notes;
}

Facts FactsOfNodes(const std::vector<Facts>& nodes) {
  if (nodes.empty()) return {};
  Facts facts = nodes.front();
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    const Facts& other = nodes[i];
    if (DoubtOf(other) > DoubtOf(facts)) {
      facts["direct"] = other.at("direct");
      facts["direct_how"] = fmt::format("node {}: {}", i, TextOf(other, "direct_how"));
    }
    for (const char* name : {"cached_before", "cached_reads", "client_bound"}) {
      const auto theirs = other.find(name);
      if (theirs == other.end()) continue;
      const auto [ours, is_new] = facts.insert(*theirs);
      if (!is_new && ours->second.index() == theirs->second.index()) {
        ours->second = std::max(ours->second, theirs->second);
      }
    }
  }
  return facts;
}

int AcceleratorsOf(const Node& node) {
  int present = 0;
  for (const Accelerator& accelerator : node.accelerators) present += accelerator.present;
  return present;
}

bool AreOfOneType(std::span<const Node> nodes) {
  return std::all_of(nodes.begin(), nodes.end(), [&](const Node& node) {
    return node.identity.provider.value == nodes[0].identity.provider.value &&
           node.identity.instance.value == nodes[0].identity.instance.value;
  });
}

std::string PricedApart(std::span<const Node> nodes) {
  std::string text;
  for (const Aspect& aspect : Aspects()) {
    const std::string spread = aspect.prices ? Spread(nodes, aspect.of) : "";
    if (!spread.empty()) AddNote(text, aspect.name + ": " + spread);
  }
  return text;
}

}  // namespace assay
