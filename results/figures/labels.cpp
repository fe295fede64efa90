#include "results/figures/labels.h"

#include <fmt/format.h>

#include <string_view>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/figures/probes.h"

namespace assay {
namespace {

// A label while it is made. Params that are said in the probe's own way are taken out of `rest`;
// those that are left and aren't usual are appended by name.
struct Words {
  const Params& params;
  Params rest = {};
  bool missing = false;

  Value Take(const std::string& name) {
    const auto node = rest.extract(name);
    if (!node.empty()) return node.mapped();
    missing = true;
    return {};
  }
  std::string Text(const std::string& name) { return ToText(Take(name)); }
  std::string Size(const std::string& name) {
    const Value value = Take(name);
    const auto* bytes = std::get_if<std::int64_t>(&value);
    return bytes != nullptr ? BinarySize(*bytes) : ToText(value);
  }
  std::string Number(const std::string& name, std::string_view noun) {
    const Value value = Take(name);
    const auto* number = std::get_if<std::int64_t>(&value);
    return number != nullptr ? CountText(*number, noun) : ToText(value);
  }
  // The two values: "2048" where they are equal, "1/2048" where they differ.
  std::string Pair(const std::string& first, const std::string& second) {
    const std::string a = Text(first);
    const std::string b = Text(second);
    return a == b ? a : a + '/' + b;
  }
  // The words for a mask. Both causal masks do the same to a square of scores.
  std::string Mask(const std::string& name) {
    const std::string mask = Text(name);
    const auto queries = params.find("seq_q");
    const auto keys = params.find("seq_kv");
    const bool is_square =
        queries != params.end() && keys != params.end() && queries->second == keys->second;
    if (mask == "full") return "";
    if (mask == "causal_top_left") return is_square ? ", causal" : ", causal top left";
    if (mask == "causal_bottom_right") return is_square ? ", causal" : ", causal bottom right";
    if (mask == "window") return ", window " + Text("window");
    return ", mask " + mask;
  }
};

// One piece of a label of results/figures/probes.h, without its braces.
std::string Piece(std::string_view piece, Words& words) {
  if (const std::size_t slash = piece.find('/'); slash != std::string_view::npos) {
    return words.Pair(std::string(piece.substr(0, slash)), std::string(piece.substr(slash + 1)));
  }
  const std::size_t colon = piece.find(':');
  const std::string name(piece.substr(0, colon));
  if (colon == std::string_view::npos) return words.Text(name);
  const std::string_view form = piece.substr(colon + 1);
  if (form == "size") return words.Size(name);
  if (form.starts_with('#')) return words.Number(name, form.substr(1));
  if (form == "mask") return words.Mask(name);
  throw Error(fmt::format("a label has the unknown piece {{{}}}; report this as a bug", piece));
}

std::string Filled(std::string_view label, Words& words) {
  std::string text;
  while (!label.empty()) {
    const std::size_t open = label.find('{');
    text += label.substr(0, open);
    if (open == std::string_view::npos) break;
    const std::size_t close = label.find('}', open);
    text += Piece(label.substr(open + 1, close - open - 1), words);
    label.remove_prefix(close + 1);
  }
  return text;
}

bool IsUsual(const ProbeFacts& probe, const Params& params, const std::string& name,
             const Value& value) {
  for (const UsualWhere& usual : probe.usual_where) {
    if (usual.param == name && Holds(usual.where, params)) return usual.value == value;
  }
  const auto found = probe.usual.find(name);
  return found != probe.usual.end() && found->second == value;
}

}  // namespace

std::string CaseLabel(const std::string& probe, const Params& params) {
  const ProbeFacts& facts = FindProbe(probe);
  Words words = {.params = params, .rest = params};
  std::string label = Filled(facts.label, words);
  if (facts.label.empty() || words.missing) return ToText(params);
  for (const auto& [name, value] : words.rest) {
    if (IsUsual(facts, params, name, value)) continue;
    label += fmt::format(", {} {}", name, ToText(value));
  }
  return label;
}

std::string CaseWords(const std::string& probe, const Params& params) {
  return probe + ' ' + CaseLabel(probe, params);
}

}  // namespace assay
