#include "results/figures/labels.h"

#include <fmt/format.h>

#include "results/base/dtype.h"
#include "results/base/text.h"
#include "results/figures/figures.h"

namespace assay {
namespace {

// A label in the making: what is said in the probe's own way is taken out of `rest`; what is left
// and isn't usual is appended by its name.
struct Words {
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
  // "2048" where both are equal, "1/2048" where they differ.
  std::string Pair(const std::string& first, const std::string& second) {
    const std::string a = Text(first);
    const std::string b = Text(second);
    return a == b ? a : a + '/' + b;
  }
};

Params Usual(const std::string& probe, const std::string& dtype) {
  const DtypeFacts* facts = FindDtype(dtype);
  const Params kernel = {{"cache", "cold"},   {"inputs", "normal"}, {"regime", "burst"},
                         {"algo", "default"}, {"scope", "node"},    {"batch", std::int64_t{1}}};
  Params usual;
  if (probe == "gemm") {
    usual = kernel;
    usual["acc"] = std::string(facts == nullptr ? "f32" : AccumulatorOf(facts->dtype));
  } else if (probe == "grouped_gemm" || probe == "memory") {
    usual = kernel;
  } else if (probe == "attention") {
    usual = kernel;
    usual["direction"] = "forward";
    usual["phase"] = "prefill";
    usual["page_size"] = std::int64_t{0};
    usual["window"] = std::int64_t{0};
  } else if (probe == "headline") {
    usual = kernel;
    usual["dtype"] = "bf16";
    usual["tokens"] = std::int64_t{512};
    usual["regime"] = "sustained";
  } else if (probe == "peak") {
    usual["scope"] = "node";
  } else if (probe == "storage") {
    usual["jobs"] = std::int64_t{1};
    usual["direct"] = true;
    usual["cache"] = "cold";
  } else if (probe == "overlap") {
    usual["algo"] = "auto";
    usual["buffers"] = "plain";
    usual["nodes"] = std::int64_t{1};
    usual["gemms"] = std::int64_t{0};
    usual["compute_percent"] = std::int64_t{100};
    usual["channels"] = std::int64_t{0};
  } else if (IsNetwork(probe)) {
    usual["algo"] = "auto";
    usual["buffers"] = "plain";
    usual["root"] = std::int64_t{0};
    usual["spread_percent"] = std::int64_t{100};
    usual["redop"] = "sum";
    usual["placement"] = "out_of_place";
    usual["mode"] = "latency";
    usual["nodes"] = std::int64_t{1};
    usual["cache"] = "rewritten";
  }
  return usual;
}

// What a mask does to a square of scores is the same for both causal ones.
std::string MaskLabel(const std::string& mask, bool square, const std::string& window) {
  if (mask == "full") return "";
  if (mask == "causal_top_left") return square ? ", causal" : ", causal top left";
  if (mask == "causal_bottom_right") return square ? ", causal" : ", causal bottom right";
  if (mask == "window") return ", window " + window;
  return ", mask " + mask;
}

}  // namespace

std::string CaseLabel(const std::string& probe, const Params& params) {
  Words words = {.rest = params};
  const auto dtype = params.find("dtype");
  const Params usual = Usual(probe, dtype == params.end() ? "" : ToText(dtype->second));
  std::string label;
  if (probe == "gemm") {
    label = fmt::format("{} {} x {} x {}", words.Text("dtype"), words.Text("m"), words.Text("n"),
                        words.Text("k"));
  } else if (probe == "grouped_gemm") {
    label = fmt::format("{} {} x {} x {} in {} groups", words.Text("dtype"), words.Text("m"),
                        words.Text("n"), words.Text("k"), words.Text("groups"));
  } else if (probe == "peak") {
    label = words.Text("dtype");
  } else if (probe == "headline") {
    label = words.Text("name");
  } else if (probe == "memory") {
    label = fmt::format("{} {}", words.Text("pattern"), words.Size("bytes"));
  } else if (probe == "fabric") {
    label = fmt::format("{} {}, {} ranks", words.Text("pattern"), words.Size("bytes"),
                        words.Text("ranks"));
  } else if (probe == "storage") {
    label = fmt::format("{} {}, {} in flight", words.Text("pattern"), words.Size("block_bytes"),
                        words.Text("depth"));
  } else if (probe == "overlap") {
    label =
        fmt::format("{} {} beside {} x {} x {}, {} ranks", words.Text("dtype"), words.Size("bytes"),
                    words.Text("m"), words.Text("n"), words.Text("k"), words.Text("ranks"));
  } else if (probe == "barrier") {
    label = fmt::format("{} ranks", words.Text("ranks"));
  } else if (IsNetwork(probe)) {
    label = fmt::format("{} {}, {} ranks", words.Text("dtype"), words.Size("bytes"),
                        words.Text("ranks"));
  } else if (probe == "attention") {
    label = fmt::format("{} {} x ", words.Text("dtype"), words.Text("batch"));
    label += words.Pair("heads_q", "heads_kv") + " heads x ";
    const std::string tokens = words.Pair("seq_q", "seq_kv");
    label += fmt::format("{}, d{}", tokens, words.Pair("head_dim_qk", "head_dim_v"));
    const std::string mask = words.Text("mask");
    std::string window;
    if (mask == "window") window = words.Text("window");
    label += MaskLabel(mask, tokens.find('/') == std::string::npos, window);
  } else {
    words.missing = true;
  }
  if (words.missing) return ToText(params);
  for (const auto& [name, value] : words.rest) {
    const auto found = usual.find(name);
    if (found == usual.end() || found->second != value) {
      label += fmt::format(", {} {}", name, ToText(value));
    }
  }
  return label;
}

}  // namespace assay
