#include "results/file/privacy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "results/base/descriptor.h"
#include "results/base/embedded.h"
#include "results/base/files.h"
#include "results/base/hash.h"
#include "results/base/text.h"

ASSAY_DECLARE_EMBEDDED(env_allowed);

namespace assay {
namespace {

const std::string kRedacted = "(redacted)";
constexpr std::size_t kLongestText = 1024;
constexpr std::size_t kLongestValue = 256;

// A pattern that is redacted in text. Its group `$1`, where it has one, is kept.
struct Rule {
  const char* what;
  std::regex pattern;
  bool is_host = false;  // whether --keep-ids keeps what it matches
};

// The rules, in the order in which they are applied.
const std::vector<Rule>& Rules() {
  const auto rule = [](const char* what, const char* pattern, bool is_host = false) {
    return Rule{what, std::regex(pattern, std::regex::icase | std::regex::optimize), is_host};
  };
  const auto exact_case = [](const char* what, const char* pattern) {
    return Rule{what, std::regex(pattern, std::regex::optimize)};
  };
  static const std::vector<Rule> rules = {
      rule("a URL with a user or a query", R"(()[a-z][a-z0-9+.-]*://[^\s"']*[@?][^\s"']*)"),
      rule(
          "a value called secret",
          R"re(\b((?:[a-z_]*(?:secret|password|passwd|credentials?|authorization)[a-z_]*|)re"
          R"re([a-z_]*token|[a-z_]*api[-_ ]?key|[a-z_]*access[-_ ]?key(?:[-_ ]?id)?|user-?data|)re"
          R"re(asset[-_ ]?tag|(?:account|project|subscription|tenant|serial)(?:[-_ ]?(?:id|number|no))?))re"
          R"re(["']?\s*[:=]\s*["']?(?:(?:bearer|basic)\s+)?)(?!(?:bearer|basic)\b)[^\s,;"'()]+)re"),
      rule(
          "a numbered account",
          R"(\b((?:account|project|subscription|tenant|serial|s/n)(?:[-_ ]?(?:id|number|no\.?))?[\s#]+)(?=\S*\d)[\w-]{5,})"),
      rule("a bearer token", R"(\b(bearer\s+)[^\s"'()]+)"),
      rule("a cloud resource", R"(()\b(?:arn:|ocid1\.)[^\s"']+)"),
      rule("a cloud resource's path",
           R"(\b((?:projects|subscriptions|resourceGroups|accounts|tenants)/)[^/\s"'(]+)"),
      rule("an e-mail address or a login", R"(()[^\s@"'<>()=:]+@[^\s@"'<>():,;]+)"),
      rule("a home folder",
           R"re(()(?:/home/|/Users/|/root(?![\w-])|~(?:[a-z_][\w-]*)?/)[^\s"',;:()]*)re"),
      rule("a UUID",
           R"(()(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"),
      rule("a MAC address or GUID", R"(()\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5,}\b)"),
      rule(
          "an IPv4 address",
          R"((^|[^\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w]|\.\d))"),
      rule("a host named after its address", R"(()\bip-\d+-\d+-\d+-\d+[a-z0-9.-]*)", true),
      rule("a host in a private domain",
           R"(()\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:internal|local|localdomain|lan|corp|intranet)\b)",
           true),
      rule(
          "an instance, volume or network id",
          R"(()\b(?:i|r|vol|eni|snap|ami|vpc|subnet|sg|cr|acl|rtb|igw|fs|lt|pg)-[0-9a-f]{8}(?:[0-9a-f]{9})?\b)"),
      rule("a volume id as a serial", R"(()\bvol[0-9a-f]{17}\b)"),
      exact_case("an access key", R"(()\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,})"),
      exact_case("a web token", R"(()\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*)"),
      exact_case(
          "a service's token",
          R"(()\b(?:ghp|gho|ghs|github_pat|glpat|xox[abp]|hf|sk|nvapi)[-_][A-Za-z0-9_-]{10,})"),
      rule("a long hexadecimal number",
           R"(()\b(?:0x)?(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{16,}\b)"),
      rule("a long number", R"(()\b\d{20,}\b)"),
      exact_case(
          "a long string as base64 has them",
          R"(()(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[0-9])[A-Za-z0-9+/]{20,}={0,2})"),
  };
  return rules;
}

bool IsAlphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// Redacts IPv6 addresses. They have too many spellings for a pattern, so inet_pton decides on each
// word that could be one.
void RedactIpv6(std::string& text) {
  const auto of_address = [](char c) {
    return std::isxdigit(static_cast<unsigned char>(c)) != 0 || c == ':' || c == '.';
  };
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;
    while (end < text.size() && of_address(text[end])) ++end;
    std::size_t last = end;
    while (last > begin && (text[last - 1] == '.' ||
                            (text[last - 1] == ':' && last - begin > 2 && text[last - 2] != ':'))) {
      --last;  // skips the end of a sentence and the colon before a port
    }
    const std::string word = text.substr(begin, last - begin);
    const bool is_word = (begin == 0 || !IsAlphanumeric(text[begin - 1])) &&
                         (end == text.size() || !IsAlphanumeric(text[end]));
    in6_addr address = {};
    if (is_word && std::count(word.begin(), word.end(), ':') >= 2 &&
        inet_pton(AF_INET6, word.c_str(), &address) == 1) {
      text.replace(begin, word.size(), kRedacted);
      end = begin + kRedacted.size();
    }
    begin = std::max(end, begin + 1);
  }
}

// Redacts `word` wherever it stands alone.
void RedactWord(std::string& text, const std::string& word) {
  const auto part_of_word = [](char c) { return IsAlphanumeric(c) || c == '_' || c == '-'; };
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at > 0 && part_of_word(text[at - 1])) || (end < text.size() && part_of_word(text[end]))) {
      continue;
    }
    text.replace(at, word.size(), kRedacted);
    at += kRedacted.size() - 1;
  }
}

// The names of this host and the others, long and short, except those that are also plain words.
std::vector<std::string> HostNames(const std::vector<std::string>& others) {
  std::array<char, 256> name = {};
  std::vector<std::string> names = others;
  if (gethostname(name.data(), name.size() - 1) == 0) names.emplace_back(name.data());
  for (std::size_t i = names.size(); i-- > 0;) {
    names.push_back(names[i].substr(0, names[i].find('.')));
  }
  const std::set<std::string> plain = {"localhost", "debian", "ubuntu", "linux", "host", "node"};
  std::erase_if(names,
                [&](const std::string& each) { return each.size() < 4 || plain.count(each) != 0; });
  return names;
}

// Applies all rules once. What one rule removes may lay bare what another one knows, so ScrubText
// repeats this a few times.
std::string ScrubOnce(std::string text, const Privacy& privacy) {
  for (const Rule& rule : Rules()) {
    if (rule.is_host && privacy.keep_ids) continue;
    text = std::regex_replace(text, rule.pattern, "$1" + kRedacted);
  }
  RedactIpv6(text);
  if (!privacy.keep_ids) {
    for (const std::string& host : HostNames(privacy.hosts)) RedactWord(text, host);
  }
  return text;
}

// The names of results/file/env_allowed.txt, which is built into the binary.
const std::set<std::string>& AllowedNames() {
  static const std::set<std::string> names = [] {
    std::set<std::string> found;
    std::string_view text = ASSAY_EMBEDDED(env_allowed);
    while (!text.empty()) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      if (!line.empty() && line.front() != '#') found.emplace(line.substr(0, line.find(' ')));
    }
    return found;
  }();
  return names;
}

// Whether twenty characters in a row could be hex or base64. In a path the slash separates names.
bool HasLongRun(std::string_view value) {
  constexpr int kLongRun = 20;
  const bool is_path = value.starts_with('/');
  int run = 0;
  for (const char c : value) {
    const bool part = IsAlphanumeric(c) || c == '+' || (c == '/' && !is_path);
    run = part ? run + 1 : 0;
    if (run >= kLongRun) return true;
  }
  return false;
}

std::string ScrubValue(const std::string& value) {
  const bool tells = value.size() > kLongestValue || value.find("://") != std::string::npos ||
                     value.find('@') != std::string::npos || HasLongRun(value) ||
                     ScrubText(value) != value;
  return tells ? kRedacted : value;
}

// Whether the text is a version such as "13.1.0.3", which could also be an address.
bool IsVersion(std::string_view text) {
  return text.find_first_not_of("0123456789.") == std::string_view::npos;
}

// Scrubs every text of a run that comes from outside. A new text field must be added here.
class Scrubber {
 public:
  explicit Scrubber(const Privacy& privacy) : privacy_(privacy) {}

  void operator()(std::string& text) const { text = ScrubText(text, privacy_); }
  void operator()(std::optional<std::string>& text) const {
    if (text) (*this)(*text);
  }
  void operator()(std::vector<std::string>& texts) const {
    for (std::string& text : texts) (*this)(text);
  }
  template <class... T>
  void operator()(std::map<std::string, std::variant<T...>>& values) const {
    for (auto& [name, value] : values) {
      if (auto* text = std::get_if<std::string>(&value)) (*this)(*text);
    }
  }
  // A typed offer repeats what was typed about the machine, so it is scrubbed, too.
  void operator()(Offer& offer) const {
    for (std::string* text : {&offer.provider, &offer.seller, &offer.instance, &offer.region,
                              &offer.purchase, &offer.source}) {
      (*this)(*text);
    }
    (*this)(offer.zone);
  }
  void operator()(Finding& finding) const {
    (*this)(finding.value);
    (*this)(finding.how);
  }
  void operator()(Node& node) const {
    (*this)(node.virtualization);
    Identity& identity = node.identity;
    for (Finding* finding : {&identity.provider, &identity.instance, &identity.region,
                             &identity.zone_id, &identity.purchase}) {
      (*this)(*finding);
    }
    (*this)(node.cpu.model);
    (*this)(node.cpu.isa);
    for (Accelerator& accelerator : node.accelerators) {
      (*this)(accelerator.name);
      (*this)(accelerator.vbios);
    }
    for (Nic& nic : node.nics) (*this)(nic.kind);
    for (Volume& volume : node.storage) {
      (*this)(volume.device);
      (*this)(volume.volume_type);
      (*this)(volume.fs);
      (*this)(volume.mount);
      (*this)(volume.raid);
      (*this)(volume.how);
    }
    for (auto& [name, version] : node.software) {
      if (!IsVersion(version)) (*this)(version);
    }
    for (Note& note : node.notes) {
      (*this)(note.what);
      (*this)(note.remedy);
    }
    std::erase_if(node.env, [](const auto& entry) { return !AllowedNames().count(entry.first); });
    for (auto& [name, value] : node.env) value = ScrubValue(value);
  }
  void operator()(Record& record) const {
    (*this)(record.params);
    (*this)(record.backend);
    (*this)(record.device.name);  // the kind is our own word
    (*this)(record.reason);
    (*this)(record.remedy);
    (*this)(record.facts);
    if (record.here) (*this)(record.here->params);
    if (record.verify) {
      (*this)(record.verify->reference);
      (*this)(record.verify->what);
    }
    for (Visit& visit : record.rounds) {
      for (Telemetry& telemetry : visit.telemetry) (*this)(telemetry.events);
      if (!visit.sustained) continue;
      for (Telemetry& telemetry : visit.sustained->start) (*this)(telemetry.events);
    }
  }

 private:
  const Privacy& privacy_;
};

// Writes a new key, which only the user can read. Returns false where that fails or a file is
// there.
bool WriteKey(const std::string& path, const std::string& key) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  return file.IsOpen() &&
         write(file.Number(), key.data(), key.size()) == static_cast<ssize_t>(key.size()) &&
         fsync(file.Number()) == 0;
}

// Reads the key at `path`; "" where that isn't a file that the user made and nobody else can read.
// Somebody who knew the key, or had put it there, could tell the machine by its node id.
std::string ReadKey(const std::string& path) {
  // The open doesn't block, so that a pipe there is refused and not waited for.
  const Descriptor file(
      open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file.IsOpen()) return "";
  struct stat status = {};
  const bool is_ours = fstat(file.Number(), &status) == 0 && S_ISREG(status.st_mode) &&
                       status.st_uid == geteuid() && (status.st_mode & 07777U) == 0600U;
  constexpr std::size_t kKeySize = 64;
  std::string key(kKeySize + 1, '\0');  // one byte more, to notice a longer file
  const ssize_t size = is_ours ? read(file.Number(), key.data(), key.size()) : 0;
  if (size != static_cast<ssize_t>(kKeySize)) return "";
  key.resize(kKeySize);
  return key.find_first_not_of("0123456789abcdef") == std::string::npos ? key : "";
}

// Makes a folder, and the missing ones above it, for the user alone. A failure shows when the key
// is written.
void MakeFolder(const std::filesystem::path& folder) {
  if (mkdir(folder.c_str(), 0700) == 0 || errno != ENOENT || folder == folder.root_path()) return;
  MakeFolder(folder.parent_path());
  mkdir(folder.c_str(), 0700);
}

std::string FirstWord(const char* path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

}  // namespace

void ApplyPrivacy(Run& run, const Privacy& privacy) {
  const Scrubber scrub(privacy);
  scrub(run.campaign);
  scrub(run.division);
  scrub(run.suite.name);
  if (run.assay.image_digest) run.assay.image_digest = ImageDigestIn(*run.assay.image_digest);
  ScrubCommand(run.command);
  if (!privacy.keep_price) {
    std::erase_if(run.offers, [](const Offer& offer) { return offer.is_private; });
    if (run.cost && run.cost->is_private) {
      run.cost->usd_per_node_hour.reset();
      run.cost->planned_usd.reset();
      run.cost->usd.reset();
      run.cost->first_verified_usd.reset();
    }
  }
  for (Offer& offer : run.offers) {
    if (offer.is_private) scrub(offer);
  }
  for (Node& node : run.nodes) scrub(node);
  for (Record& record : run.records) scrub(record);
}

void ApplyPrivacy(Record& record, const Privacy& privacy) { Scrubber{privacy}(record); }

std::map<std::string, std::string> AllowedEnvironment(const char* const* environment) {
  std::map<std::string, std::string> allowed;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view variable = *environment;
    const std::size_t equals = variable.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string name(variable.substr(0, equals));
    if (AllowedNames().count(name) == 0) continue;
    allowed[name] = ScrubValue(std::string(variable.substr(equals + 1)));
  }
  return allowed;
}

std::string ScrubText(std::string_view text, const Privacy& privacy) {
  std::string scrubbed = Clean(text, kLongestText);
  // The passes repeat, since what one leaves may look like something else to the next; a few settle
  // it.
  for (int pass = 0; pass < 4; ++pass) {
    std::string next = Clean(ScrubOnce(scrubbed, privacy), kLongestText);
    if (next == scrubbed) break;
    scrubbed = std::move(next);
  }
  return scrubbed;
}

std::optional<std::string> ImageDigestIn(std::string_view text) {
  constexpr std::string_view kAlgorithm = "sha256:";
  constexpr std::size_t kDigits = 64;
  const std::size_t at = text.find(kAlgorithm);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digest = text.substr(at, kAlgorithm.size() + kDigits);
  const std::string_view digits = digest.substr(kAlgorithm.size());
  const bool is_whole =
      digits.size() == kDigits &&
      digits.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
      (at + digest.size() == text.size() || !IsAlphanumeric(text[at + digest.size()]));
  return is_whole ? std::optional(std::string(digest)) : std::nullopt;
}

void ScrubCommand(std::map<std::string, std::vector<std::string>>& command) {
  static const std::set<std::string> kept = {
      "backend",     "bootstrap", "ranks",    "ci",         "device",      "dtype",  "filter",
      "instance",    "json",      "keep_ids", "keep_price", "max_seconds", "ngpus",  "nthreads",
      "no_metadata", "probes",    "provider", "purchase",   "quiet",       "regime", "region",
      "rest",        "rounds",    "seed",     "set",        "suite",       "threads"};
  std::erase_if(command, [](const auto& option) { return !kept.count(option.first); });
  const auto is_path = [](const std::string& value) {
    return value.starts_with('/') || value.starts_with('.') || value.starts_with('~');
  };
  for (auto& [name, values] : command) {
    for (std::string& value : values) value = is_path(value) ? kRedacted : ScrubValue(value);
  }
}

std::string NodeId(std::vector<std::string> gpu_uuids, std::vector<Note>& notes) {
  if (gpu_uuids.empty()) {
    return MachineNodeId(FirstWord("/etc/machine-id"), ConfigurationFolder(), notes);
  }
  std::sort(gpu_uuids.begin(), gpu_uuids.end());
  std::string all;
  for (const std::string& uuid : gpu_uuids) all += uuid + '\n';
  return Sha256Hex(all);
}

std::string MachineNodeId(const std::string& machine_id, const std::string& folder,
                          std::vector<Note>& notes) {
  if (machine_id.empty() || folder.empty()) return "";
  const std::string path = folder + "/node-key";
  std::string key = ReadKey(path);
  if (key.empty()) {
    MakeFolder(folder);
    // Two processes may do this at once: the link fails for the second, and both read the first's.
    const std::string temporary = fmt::format("{}.{}", path, RandomHex(8));
    if (WriteKey(temporary, RandomHex(32))) {
      [[maybe_unused]] const int lost = link(temporary.c_str(), path.c_str());
    }
    unlink(temporary.c_str());
    key = ReadKey(path);
  }
  if (!key.empty()) return HmacSha256Hex(key, machine_id);
  struct stat status = {};
  if (lstat(path.c_str(), &status) == 0 || errno == EACCES) {
    // The note leaves the path out, since it tells the user's name.
    notes.push_back({.what =
                         "assay/node-key in the folder for configurations isn't a key in a file "
                         "of this user's own with mode 600, so this node has no id",
                     .remedy = "chmod 600 it, or remove it and it is made anew; it is in "
                               "$XDG_CONFIG_HOME, or else in ~/.config"});
  }
  return "";
}

}  // namespace assay
