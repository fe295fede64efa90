#include "runner/program/suite.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "results/base/dtype.h"
#include "results/base/embedded.h"
#include "results/base/error.h"
#include "results/base/hash.h"
#include "results/base/names.h"
#include "results/base/size.h"
#include "results/base/text.h"

ASSAY_DECLARE_EMBEDDED(suites_txt);

namespace assay {
namespace {

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> words = Split(line, ' ');
  std::erase(words, "");
  return words;
}

// Reads a choice such as "m=1,16". An Error begins with `where`.
Choice ToChoice(const std::string& text, const std::string& where) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) {
    throw Error(fmt::format("{} '{}': write NAME=VALUE[,VALUE…]", where, text));
  }
  Choice choice = {.name = text.substr(0, equals), .values = Split(text.substr(equals + 1), ',')};
  if (std::count(choice.values.begin(), choice.values.end(), "") > 0) {
    throw Error(fmt::format("{} '{}': a value is empty; write NAME=VALUE[,VALUE…]", where, text));
  }
  return choice;
}

// Gives each dtype of the choice its own name.
Choice WithOwnNames(Choice choice, const std::string& where) {
  if (choice.name != "dtype") return choice;
  for (std::string& value : choice.values) {
    value = ReadDtype(value, where + " dtype").name;
  }
  return choice;
}

// Reads "bf16|f16" as bf16, with f16 for devices that lack it.
Choice WithInstead(Choice choice, const std::string& where) {
  for (std::string& value : choice.values) {
    const std::vector<std::string> parts = Split(value, '|');
    if (parts.size() == 1) continue;
    if (choice.name != "dtype" || parts != std::vector<std::string>{"bf16", "f16"}) {
      throw Error(
          fmt::format("{} '{}={}': only dtype=bf16|f16 has another for devices that lack it", where,
                      choice.name, value));
    }
    value = parts[0];
    choice.instead[parts[0]] = parts[1];
  }
  return choice;
}

std::optional<std::int64_t> ToInteger(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Reads the text as a value of the same type as `like`.
Value ToValue(const std::string& param, const std::string& text, const Value& like) {
  if (std::holds_alternative<std::int64_t>(like)) {
    if (IsSize(param)) return ParseSize(text, param);
    if (const std::optional<std::int64_t> value = ToInteger(text)) return *value;
    throw Error(fmt::format("{}={}: write a whole number", param, text));
  }
  if (std::holds_alternative<bool>(like)) {
    if (text == "true" || text == "false") return text == "true";
    throw Error(fmt::format("{}={}: write true or false", param, text));
  }
  return text;
}

Choice* Find(std::vector<Choice>& choices, const std::string& name) {
  const auto found = std::find_if(choices.begin(), choices.end(),
                                  [&](const Choice& choice) { return choice.name == name; });
  return found == choices.end() ? nullptr : &*found;
}

// Puts the choice in the place of the one with its name, or at the end.
void Replace(std::vector<Choice>& choices, const Choice& choice) {
  if (Choice* old = Find(choices, choice.name)) {
    *old = choice;
  } else {
    choices.push_back(choice);
  }
}

// All combinations of the choices as questions, the last choice varying fastest.
std::vector<Question> Multiply(const Probe& probe, const std::vector<Choice>& choices) {
  std::vector<Question> products = {{.probe = probe.name, .params = probe.defaults}};
  for (const Choice& choice : choices) {
    const auto like = probe.defaults.find(choice.name);
    if (like == probe.defaults.end()) {
      throw Error(fmt::format("{} has no param {}; see assay list", probe.name, choice.name));
    }
    std::vector<Value> values;
    for (const std::string& text : choice.values) {
      values.push_back(ToValue(choice.name, text, like->second));
    }
    if (IsSize(choice.name)) std::ranges::sort(values);  // a sweep is read by rising sizes
    std::vector<Question> next;
    for (const Question& product : products) {
      for (const Value& value : values) {
        Question& question = next.emplace_back(product);
        const auto other = choice.instead.find(ToText(value));
        if (other != choice.instead.end()) {
          question.instead = product.params;
          (*question.instead)[choice.name] = ToValue(choice.name, other->second, like->second);
        } else if (question.instead) {
          (*question.instead)[choice.name] = value;
        }
        question.params[choice.name] = value;
      }
    }
    products = std::move(next);
  }
  return products;
}

// The entries of one probe, cut down to the dtypes that were asked for. A dtype that no entry has
// is asked for in all entries instead, and the accumulator then follows the dtype.
std::vector<SuiteEntry> WithDtypes(const Probe& probe, std::vector<SuiteEntry> entries,
                                   const std::vector<std::string>& dtypes) {
  const auto dtype = probe.defaults.find("dtype");
  if (dtypes.empty() || dtype == probe.defaults.end()) return entries;
  const Choice usual = {.name = "dtype", .values = {ToText(dtype->second)}};
  std::vector<SuiteEntry> kept;
  std::vector<std::string> missing = dtypes;
  for (const SuiteEntry& entry : entries) {
    SuiteEntry filtered = entry;
    if (!Find(filtered.choices, "dtype")) Replace(filtered.choices, usual);
    Find(filtered.choices, "dtype")->instead.clear();
    std::vector<std::string>& values = Find(filtered.choices, "dtype")->values;
    std::erase_if(values, [&](const std::string& value) {
      return std::find(dtypes.begin(), dtypes.end(), value) == dtypes.end();
    });
    for (const std::string& value : values) std::erase(missing, value);
    if (!values.empty()) kept.push_back(filtered);
  }
  for (const SuiteEntry& entry : entries) {
    for (const std::string& asked : missing) {
      SuiteEntry changed = entry;
      Replace(changed.choices, {.name = "dtype", .values = {asked}});
      if (const auto acc = probe.defaults.find("acc"); acc != probe.defaults.end()) {
        const std::string_view follows = AccumulatorOf(ReadDtype(asked, "dtype").dtype);
        Replace(changed.choices, {.name = "acc", .values = {std::string(follows)}});
      }
      kept.push_back(changed);
    }
  }
  return kept;
}

// Throws Error for a param of --set that no selected probe has, with the nearest name.
void CheckNames(const std::vector<const Probe*>& selected, const std::vector<Choice>& set) {
  for (const Choice& choice : set) {
    std::set<std::string> names;
    for (const Probe* probe : selected) {
      for (const auto& [name, value] : probe->defaults) names.insert(name);
    }
    if (names.contains(choice.name)) continue;
    throw Error(fmt::format("--set {}: no selected probe has such a param; {}", choice.name,
                            DidYouMeanAmong(choice.name, {names.begin(), names.end()})));
  }
}

// The probes to ask, in the order of `probes`.
std::vector<const Probe*> Select(const std::vector<Probe>& probes,
                                 const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const Probe& probe : probes) known.push_back(probe.name);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw Error(fmt::format("there is no probe {}; {}", name, DidYouMeanAmong(name, known)));
  }
  std::vector<const Probe*> selected;
  for (const Probe& probe : probes) {
    if (names.empty() || std::find(names.begin(), names.end(), probe.name) != names.end()) {
      selected.push_back(&probe);
    }
  }
  return selected;
}

// Reads a suite's own settings: "version=1 rounds=3 max_seconds=4 max_storage_seconds=6".
void ReadSettings(const std::vector<std::string>& words, const std::string& where, Suite& suite) {
  for (const std::string& word : words) {
    const Choice choice = ToChoice(word, where);
    const std::int64_t value = ToInteger(choice.values.front()).value_or(0);
    if (value < 1 || value > 1'000'000)
      throw Error(fmt::format("{}: {} is no number", where, word));
    if (choice.name == "version") {
      suite.name.version = static_cast<int>(value);
    } else if (choice.name == "rounds") {
      suite.rounds = static_cast<int>(value);
    } else if (choice.name == "max_seconds") {
      suite.max_case = Seconds(static_cast<double>(value));
    } else if (choice.name == "max_storage_seconds") {
      suite.max_spans_case = Seconds(static_cast<double>(value));
    } else {
      throw Error(fmt::format("{}: a suite has no {}", where, choice.name));
    }
  }
}

}  // namespace

Suite ParseSuite(std::string_view text, const std::string& name) {
  Suite suite = {.name = {.name = name}};
  std::string own_lines;
  std::vector<std::string> names;
  int number = 0;
  for (const std::string& line : Split(text, '\n')) {
    const std::string where = fmt::format("suites.txt, line {}:", ++number);
    const std::vector<std::string> words = Words(line);
    if (words.empty() || words[0].starts_with('#')) continue;
    if (std::find(names.begin(), names.end(), words[0]) == names.end()) names.push_back(words[0]);
    if (words[0] != name) continue;
    if (words.size() < 2) throw Error(fmt::format("{} nothing follows {}", where, name));
    own_lines += fmt::format("{}\n", fmt::join(words, " "));
    const std::vector<std::string> rest(words.begin() + 2, words.end());
    if (words[1].find('=') != std::string::npos) {
      ReadSettings({words.begin() + 1, words.end()}, where, suite);
      continue;
    }
    SuiteEntry entry = {.probe = words[1]};
    for (const std::string& word : rest) {
      entry.choices.push_back(WithOwnNames(WithInstead(ToChoice(word, where), where), where));
    }
    suite.entries.push_back(entry);
  }
  if (own_lines.empty()) {
    throw Error(fmt::format("there is no suite {}; {}", name, DidYouMeanAmong(name, names)));
  }
  if (suite.name.version == 0 || suite.rounds == 0 || suite.max_case == Seconds(0) ||
      suite.max_spans_case == Seconds(0)) {
    throw Error(fmt::format(
        "suite {} lacks its version, rounds, max_seconds or max_storage_seconds", name));
  }
  suite.name.sha256 = Sha256Hex(own_lines);
  return suite;
}

Suite LoadSuite(const std::string& name) { return ParseSuite(ASSAY_EMBEDDED(suites_txt), name); }

std::vector<Question> Unfold(const Suite& suite, const std::vector<Probe>& probes,
                             const Selection& selection) {
  const std::vector<const Probe*> selected = Select(probes, selection.probes);
  std::vector<Choice> set;
  std::vector<std::string> dtypes;
  for (const std::string& dtype : selection.dtypes) {
    dtypes.emplace_back(ReadDtype(dtype, "--dtype").name);
  }
  for (const std::string& text : selection.set) {
    const Choice choice = WithOwnNames(ToChoice(text, "--set"), "--set");
    if (choice.name == "dtype") {
      dtypes.insert(dtypes.end(), choice.values.begin(), choice.values.end());
    }
    set.push_back(choice);
  }
  if (!selection.regime.empty()) {
    if (std::none_of(selected.begin(), selected.end(),
                     [](const Probe* probe) { return probe->defaults.contains("regime"); })) {
      throw Error("--regime: none of the selected probes has one; leave it out");
    }
    Replace(set, {.name = "regime", .values = {selection.regime}});
  }
  CheckNames(selected, set);
  std::erase_if(set, [](const Choice& choice) { return choice.name == "dtype"; });

  std::vector<Question> questions;
  std::set<std::string> seen;
  const auto ask = [&](const Probe& probe, std::vector<SuiteEntry> entries) {
    for (SuiteEntry& entry : WithDtypes(probe, std::move(entries), dtypes)) {
      for (const Choice& choice : set) {
        if (probe.defaults.contains(choice.name)) Replace(entry.choices, choice);
      }
      for (Question& question : Multiply(probe, entry.choices)) {
        if (seen.insert(probe.name + " " + ToText(question.params)).second) {
          questions.push_back(std::move(question));
        }
      }
    }
  };
  std::set<std::string> asked;
  for (const SuiteEntry& line : suite.entries) {
    const auto probe = std::find_if(selected.begin(), selected.end(), [&](const Probe* candidate) {
      return candidate->name == line.probe;
    });
    if (probe == selected.end() || !asked.insert(line.probe).second) continue;
    std::vector<SuiteEntry> entries;
    std::copy_if(suite.entries.begin(), suite.entries.end(), std::back_inserter(entries),
                 [&](const SuiteEntry& entry) { return entry.probe == line.probe; });
    ask(**probe, std::move(entries));
  }
  if (selection.probes.empty()) return questions;
  for (const Probe* probe : selected) {
    if (!asked.contains(probe->name)) ask(*probe, {{.probe = probe->name}});
  }
  return questions;
}

}  // namespace assay
