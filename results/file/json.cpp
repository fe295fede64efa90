#include "results/file/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/file/fields.h"

namespace assay {
namespace {

// The types of documents. What is written keeps the order of FORMAT.md. What is read becomes a
// sorted tree, in which a hostile object of a million keys doesn't take a million steps for each
// key.
using Json = nlohmann::ordered_json;
using Input = nlohmann::json;

constexpr const char* kFormat = "assay-run";
constexpr int kVersion = 1;
constexpr int kDeepest = 32;
constexpr std::array<std::string_view, 3> kOn = {"all", "each_node", "groups"};  // by On

// Writes a document. Invalid UTF-8, which a device's name may hold, is replaced, so that the file
// stays JSON.
template <class AnyJson>
std::string Dump(const AnyJson& json) {
  return json.dump(-1, ' ', false, AnyJson::error_handler_t::replace);
}

// Writes fields. It holds numbers to the rules that a Reader has for them, so that what a Reader
// would refuse is never written.
class Writer {
 public:
  template <class T>
  using Ref = const T&;

  template <class T>
  void operator()(const char* key, const T& value, Sign sign = Sign::kNotNegative) {
    Check(key, value, sign);
    json_[key] = ToJson(value);
  }

  template <class T>
  void Maybe(const char* key, const T& value, Sign sign = Sign::kNotNegative, const T& usual = {}) {
    Check(key, value, sign);
    Json json = ToJson(value);
    if (json != ToJson(usual)) json_[key] = std::move(json);
  }

  // Writes an error, which is null where it is infinite or not a number, since JSON can't say that.
  void OrInfinite(const char* key, double value) {
    if (value != 0) json_[key] = value;
  }

  template <class Describe>
  void Object(const char* key, bool has, const Describe& describe) {
    if (!has) return;
    Writer within;
    describe(within);
    json_[key] = std::move(within.json_);
  }

  template <class T>
  static Json ToJson(const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else {
      Writer writer;
      Fields(writer, value);
      return std::move(writer.json_);
    }
  }
  template <class T>
  static Json ToJson(const std::optional<T>& value) {
    return value ? ToJson(*value) : Json();
  }
  template <class T>
  static Json ToJson(const std::vector<T>& values) {
    Json json = Json::array();
    for (const T& value : values) json.push_back(ToJson(value));
    return json;
  }
  template <class T>
  static Json ToJson(const std::map<std::string, T>& values) {
    // Entries are put straight into the list that an ordered object is. Looking each key up among
    // those before it would take a million steps for each of a hostile table's keys.
    Json::object_t object;
    for (const auto& [key, value] : values) object.emplace_back(key, ToJson(value));
    return object;
  }
  template <class... T>
  static Json ToJson(const std::variant<T...>& value) {
    return std::visit([](const auto& held) { return ToJson(held); }, value);
  }
  static Json ToJson(const std::pair<std::int64_t, std::int64_t>& pair) {
    return Json::array({pair.first, pair.second});
  }
  static Json ToJson(Status status) { return ToText(status); }
  static Json ToJson(On on) { return kOn.at(static_cast<std::size_t>(on)); }
  static Json ToJson(Seconds time) { return time.count(); }

 private:
  // Checks a number against its rule; other values, which have no such rule, pass.
  template <class T>
  static void Check(const char* key, const T& value, Sign sign) {
    if constexpr (std::is_arithmetic_v<T>) {
      const auto number = static_cast<double>(value);
      if (Allows(sign, number)) return;
      throw Error(
          fmt::format("'{}' {}, so that no reader would take the file; report this as a bug", key,
                      NotAllowed(sign, number)));
    }
  }
  static void Check(const char* key, Seconds time, Sign sign) { Check(key, time.count(), sign); }
  template <class T>
  static void Check(const char* key, const std::optional<T>& value, Sign sign) {
    if (value) Check(key, *value, sign);
  }
  template <class T>
  static void Check(const char* key, const std::vector<T>& values, Sign sign) {
    for (const T& value : values) Check(key, value, sign);
  }
  template <class T>
  static void Check(const char* key, const std::map<std::string, T>& values, Sign sign) {
    for (const auto& [name, value] : values) Check(key, value, sign);
  }
  static void Check(const char* key, const Fact& fact, Sign) {
    std::visit([&](const auto& held) { Check(key, held, Sign::kAny); }, fact);
  }

  Json json_ = Json::object();
};

// A value somewhere in a document, which knows where it is for errors.
class Reader {
 public:
  template <class T>
  using Ref = T&;

  Reader(const Input& json, std::string path, const std::string& source)
      : json_(json), path_(std::move(path)), source_(source) {}

  template <class T>
  void operator()(const char* key, T& value, Sign sign = Sign::kNotNegative) const {
    if (!Find(key)) Fail(fmt::format("has no '{}'", key));
    Within(key).Get(value, sign);
  }
  template <class T>
  void operator()(const char* key, std::optional<T>& value, Sign sign = Sign::kNotNegative) const {
    Maybe(key, value, sign);
  }

  template <class T>
  void Maybe(const char* key, T& value, Sign sign = Sign::kNotNegative,
             const std::type_identity_t<T>& usual = {}) const {
    if (Find(key)) {
      Within(key).Get(value, sign);
    } else {
      value = usual;
    }
  }

  void OrInfinite(const char* key, double& value) const {
    if (!Find(key)) return;
    const Reader within = Within(key);
    if (within.json_.is_null()) {
      value = std::numeric_limits<double>::infinity();
    } else {
      within.Get(value, Sign::kNotNegative);
    }
  }

  template <class Describe>
  void Object(const char* key, bool, const Describe& describe) const {
    if (!Find(key)) return;
    const Reader within = Within(key);
    within.ExpectObject();
    describe(within);
  }

  // The file's own structs.
  template <class T>
  void Get(T& value, Sign) const {
    ExpectObject();
    Fields(*this, value);
  }
  void Get(std::string& text, Sign) const {
    if (!json_.is_string()) Fail("must be a string");
    text = json_.get_ref<const std::string&>();
  }
  void Get(bool& value, Sign) const {
    if (!json_.is_boolean()) Fail("must be true or false");
    value = json_.get<bool>();
  }
  void Get(int& value, Sign sign) const { GetInteger(value, sign); }
  void Get(std::int64_t& value, Sign sign) const { GetInteger(value, sign); }
  void Get(std::uint64_t& value, Sign sign) const { GetInteger(value, sign); }
  void Get(double& value, Sign sign) const {
    if (!json_.is_number()) Fail("must be a number");
    value = json_.get<double>();
    Check(value, sign);
  }
  void Get(Status& status, Sign) const {
    std::string text;
    Get(text, {});
    const std::optional<Status> known = StatusFrom(text);
    if (!known) Fail("must be ok, partial, skipped, failed or wrong");
    status = *known;
  }
  void Get(On& on, Sign) const {
    std::string text;
    Get(text, {});
    const auto known = std::ranges::find(kOn, text);
    if (known == kOn.end()) Fail("must be all, each_node or groups");
    on = static_cast<On>(known - kOn.begin());
  }
  void Get(Seconds& time, Sign sign) const {
    double seconds = 0;
    Get(seconds, sign);
    time = Seconds(seconds);
  }
  void Get(Value& value, Sign) const {
    if (json_.is_number_integer()) {
      GetInteger(value.emplace<std::int64_t>(), Sign::kAny);
    } else if (json_.is_boolean()) {
      value = json_.get<bool>();
    } else if (json_.is_string()) {
      value = json_.get<std::string>();
    } else {
      Fail("must be an integer, true or false, or a string");
    }
  }
  void Get(Fact& fact, Sign) const {
    if (json_.is_number_float()) {
      Get(fact.emplace<double>(), Sign::kAny);
    } else {
      Value value;
      Get(value, {});
      std::visit([&](auto& held) { fact = std::move(held); }, value);
    }
  }
  void Get(Facts& facts, Sign) const {
    ExpectObject();
    ExpectFew();
    facts.clear();
    for (const auto& [key, json] : json_.items()) {
      // A null fact was not found out, and a list or table is a fact of a later assay; both are
      // skipped.
      if (json.is_null() || json.is_structured()) continue;
      Reader(json, fmt::format("{}.{}", path_, key), source_).Get(facts[key], {});
    }
  }
  template <class T>
  void Get(std::optional<T>& value, Sign sign) const {
    if (json_.is_null()) {
      value.reset();
    } else {
      Get(value.emplace(), sign);
    }
  }
  void Get(std::vector<double>& values, Sign sign) const {
    if (!json_.is_array()) Fail("must be a list");
    values.clear();
    values.reserve(json_.size());
    for (const Input& json : json_) {
      // There may be millions of values, so a path is made only for one that is refused.
      if (!json.is_number() || !Allows(sign, json.get<double>())) {
        double refused = 0;
        Element(values.size()).Get(refused, sign);
      }
      values.push_back(json.get<double>());
    }
  }
  template <class T>
  void Get(std::vector<T>& values, Sign sign) const {
    if (!json_.is_array()) Fail("must be a list");
    ExpectFew();
    values.clear();
    for (std::size_t i = 0; i < json_.size(); ++i) {
      // The value isn't read in place, since there is no reference into a vector<bool> or into one
      // that grows.
      T value;
      Element(i).Get(value, sign);
      values.push_back(std::move(value));
    }
  }
  template <class T>
  void Get(std::map<std::string, T>& values, Sign sign) const {
    ExpectObject();
    ExpectFew();
    values.clear();
    for (const auto& [key, json] : json_.items()) {
      Reader(json, path_.empty() ? key : fmt::format("{}.{}", path_, key), source_)
          .Get(values[key], sign);
    }
  }
  void Get(std::pair<std::int64_t, std::int64_t>& pair, Sign) const {
    if (!json_.is_array() || json_.size() != 2) Fail("must be a list of two integers");
    Element(0).Get(pair.first, Sign::kNotNegative);
    Element(1).Get(pair.second, Sign::kNotNegative);
  }

  bool Find(const char* key) const { return json_.contains(key); }

  Reader Within(const char* key) const {
    return {json_.at(key), path_.empty() ? key : fmt::format("{}.{}", path_, key), source_};
  }

  void ExpectObject() const {
    if (!json_.is_object()) Fail("must be an object");
  }

  [[noreturn]] void Fail(const std::string& what) const {
    const std::string place = path_.empty() ? "the document" : "'" + Clean(path_) + "'";
    throw assay::Error(fmt::format(
        "{}: {} {}; it is damaged or wasn't written by assay, so measure again or take a sound "
        "copy",
        source_, place, what));
  }

 private:
  void Check(double value, Sign sign) const {
    if (!Allows(sign, value)) Fail(NotAllowed(sign, value));
  }

  template <class T>
  void GetInteger(T& value, Sign sign) const {
    if (!json_.is_number_integer()) Fail("must be an integer");
    const bool fits = json_.is_number_unsigned() ? std::in_range<T>(json_.get<std::uint64_t>())
                                                 : std::in_range<T>(json_.get<std::int64_t>());
    if (!fits) Fail(fmt::format("is {}, which is out of range", Dump(json_)));
    value = json_.get<T>();
    Check(static_cast<double>(value), sign);
  }

  void ExpectFew() const {
    constexpr std::size_t kMost = ReadLimits().entries;
    if (json_.size() > kMost) {
      Fail(fmt::format("has {} entries and may have {}", json_.size(), kMost));
    }
  }

  Reader Element(std::size_t index) const {
    return {json_.at(index), fmt::format("{}[{}]", path_, index), source_};
  }

  const Input& json_;
  std::string path_;
  const std::string& source_;
};

// Checks depth and number of values before anything is built. The parser's own callback could do
// it, but it looks at all earlier elements of a list at the end of each, which takes quadratic
// time.
void CheckBounds(std::string_view text, const std::string& source) {
  constexpr std::int64_t kMost = ReadLimits().values;
  int depth = 0;
  std::int64_t values = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (c == ',' || c == '[' || c == '{') ++values;
    if (depth > kDeepest) {
      throw Error(fmt::format("{}: it is nested deeper than {} levels, which assay never writes",
                              source, kDeepest));
    }
  }
  if (values > kMost) {
    throw Error(fmt::format("{}: it holds more than {} values; split it", source, kMost));
  }
}

// The number of values in a document as CheckBounds counts them, with 16 bytes of text as one.
std::int64_t ValuesOf(const Input& json) {
  constexpr std::size_t kText = 16;
  if (json.is_string()) {
    return static_cast<std::int64_t>(json.get_ref<const std::string&>().size() / kText);
  }
  if (!json.is_structured()) return 0;
  auto values = static_cast<std::int64_t>(std::max<std::size_t>(1, json.size()));
  for (auto element = json.begin(); element != json.end(); ++element) {
    if (json.is_object()) values += static_cast<std::int64_t>(element.key().size() / kText);
    values += ValuesOf(*element);
  }
  return values;
}

Input Parse(std::string_view text, const std::string& source) {
  CheckBounds(text, source);
  try {
    return Input::parse(text.begin(), text.end());
  } catch (const Input::parse_error& error) {
    throw Error(fmt::format(
        "{}: this isn't JSON (byte {} of {}); give a result file that 'assay run' wrote", source,
        error.byte, text.size()));
  } catch (const Input::exception&) {
    throw Error(fmt::format("{}: it holds a number that is too large for a double", source));
  }
}

void CheckFormat(const Reader& reader, const Input& json, const std::string& source, Run& run) {
  reader.ExpectObject();
  const auto format = json.find("format");
  if (format == json.end() || *format != kFormat) {
    throw Error(fmt::format(
        "{}: this isn't an assay result ('format' isn't '{}'); give a file that 'assay run' wrote",
        source, kFormat));
  }
  reader("version", run.version, Sign::kPositive);
  if (run.version > kVersion) {
    throw Error(fmt::format(
        "{}: it was written in version {} of the format and this assay reads version {}; use a "
        "newer assay",
        source, run.version, kVersion));
  }
  reader("needs", run.needs);
  // No feature has been added to version 1 yet.
  if (!run.needs.empty()) {
    throw Error(fmt::format(
        "{}: it needs the feature '{}', which this assay doesn't know; use a newer assay", source,
        Clean(run.needs.front(), 64)));
  }
}

}  // namespace

std::string RunToJson(const Run& run) {
  Json header = {{"format", kFormat}, {"version", run.version}, {"needs", run.needs}};
  header.update(Writer::ToJson(run));
  std::string text = Dump(header);
  text.pop_back();  // the closing brace
  text += ",\"records\":[";
  const char* separator = "\n";
  for (const Record& record : run.records) {
    text += separator + RecordToJson(record);
    separator = ",\n";
  }
  return text + "]}\n";
}

Run RunFromJson(std::string_view text, const std::string& source) {
  const Input json = Parse(text, source);
  const Reader reader(json, "", source);
  Run run;
  CheckFormat(reader, json, source, run);
  Fields(reader, run);
  reader("records", run.records);
  if (const std::string broken = BrokenReference(run); !broken.empty()) reader.Fail(broken);
  return run;
}

std::string RecordToJson(const Record& record) { return Dump(Writer::ToJson(record)); }

Record RecordFromJson(std::string_view text, const std::string& source, HeldValues* held) {
  const Input json = Parse(text, source);
  Record record;
  Reader(json, "", source).Get(record, {});
  if (held != nullptr) {
    const auto rounds = json.find("rounds");
    held->rounds = rounds == json.end() ? 0 : ValuesOf(*rounds);
    held->rest = ValuesOf(json) - held->rounds;
  }
  return record;
}

std::string NodeToJson(const Node& node) { return Dump(Writer::ToJson(node)); }

Node NodeFromJson(std::string_view text, const std::string& source) {
  const Input json = Parse(text, source);
  Node node;
  Reader(json, "", source).Get(node, {});
  return node;
}

std::string AskedCaseToJson(const AskedCase& asked) { return Dump(Writer::ToJson(asked)); }

AskedCase AskedCaseFromJson(std::string_view text, const std::string& source) {
  const Input json = Parse(text, source);
  AskedCase asked;
  Reader(json, "", source).Get(asked, {});
  return asked;
}

std::string ToldToJson(const Told& told) { return Dump(Writer::ToJson(told)); }

Told ToldFromJson(std::string_view text, const std::string& source) {
  const Input json = Parse(text, source);
  Told told;
  Reader(json, "", source).Get(told, {});
  return told;
}

std::string JsonText(std::string_view text) { return Dump(Json(text)); }

std::string WithStrings(std::string_view text,
                        const std::function<std::string(const std::string&)>& change) {
  const auto changed = [&](const auto& self, const Json& json) -> Json {
    if (json.is_string()) return change(json.get_ref<const std::string&>());
    if (!json.is_structured()) return json;
    Json copy = json;
    for (Json& element : copy) element = self(self, element);
    return copy;
  };
  Parse(text, "a JSON document");  // says what is wrong with it
  return changed(changed, Json::parse(text)).dump(2, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

}  // namespace assay
