#include "collectives/nccl_log.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <string>

#include "collectives/used_transport.h"

namespace assay {
namespace {

constexpr const char* kNextPath = ", ";

// The word that follows `mark`, up to a blank; at most 32 plain characters of it.
std::string WordAfter(std::string_view line, std::string_view mark) {
  const std::size_t at = line.find(mark);
  if (at == std::string_view::npos) return "";
  std::string word;
  for (const char c : line.substr(at + mark.size())) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '/' || c == '_' || c == '-' || c == '.';
    if (!plain || word.size() == 32) break;
    word += c;
  }
  return word;
}

// The path without the number of a device, which "NET/Socket/0" and "NET/IB/3/GDRDMA" have.
std::string WithoutNumbers(const std::string& path) {
  std::istringstream parts(path);
  std::string kept;
  for (std::string part; std::getline(parts, part, '/');) {
    if (part.empty() || std::all_of(part.begin(), part.end(),
                                    [](unsigned char c) { return std::isdigit(c) != 0; })) {
      continue;
    }
    kept += (kept.empty() ? "" : "/") + part;
  }
  return kept;
}

// The facts that a log tells.
struct Told {
  std::string network = {};
  std::string provider = {};         // libfabric's provider
  std::set<std::string> paths = {};  // "P2P/CUMEM", "NET/Socket"
};

// Reads a log. It looks for these lines, as NCCL 2.28 writes them:
//   … NCCL INFO Using network IB
//   … NCCL INFO NET/OFI Selected provider is efa, fabric is efa-direct (found 4 nics)
//   … NCCL INFO Channel 00/0 : 0[0] -> 8[0] [send] via NET/IB/0/GDRDMA
//   … NCCL INFO Channel 01/0 : 0[0] -> 1[1] via P2P/CUMEM/read
//   … NCCL INFO NVLS comm 0x55… headRank 0 nHeads 8 …
//   … NCCL INFO CollNet 00/0 : 0 [send] via COLLNET/SHARP/0/GDRDMA
Told Read(std::string_view log) {
  Told told;
  std::istringstream lines{std::string(log)};
  for (std::string line; std::getline(lines, line);) {
    if (std::string word = WordAfter(line, "NCCL INFO Using network "); !word.empty()) {
      told.network = word;
    }
    if (std::string word = WordAfter(line, "Selected provider is "); !word.empty()) {
      told.provider = word;
    }
    // The switches of NVLink reduce by themselves, so no channel between two ranks tells of it.
    if (line.find("NCCL INFO NVLS comm ") != std::string::npos) told.paths.insert("NVLS");
    const bool is_connection = line.find("NCCL INFO Channel ") != std::string::npos ||
                               line.find("NCCL INFO CollNet ") != std::string::npos;
    if (!is_connection) continue;
    if (std::string word = WithoutNumbers(WordAfter(line, " via ")); !word.empty()) {
      told.paths.insert(word);
    }
  }
  return told;
}

bool IsOfNetwork(const std::string& path) { return path.starts_with("NET/"); }

}  // namespace

std::string TransportFrom(std::string_view log) {
  const Told told = Read(log);
  if (told.paths.empty() && !told.network.empty()) {
    return UnknownTransport("network " + told.network + "; no connection is told of");
  }
  std::string text;
  for (const std::string& path : told.paths) {
    text += (text.empty() ? "" : kNextPath) + path;
    if (!told.provider.empty() && IsOfNetwork(path)) text += " (" + told.provider + ")";
  }
  return text;
}

bool HasSockets(std::string_view log) {
  const Told told = Read(log);
  const bool is_tcp =
      told.provider == "tcp" || told.provider == "net" || told.provider == "sockets";
  return std::ranges::any_of(told.paths, [&](const std::string& path) {
    return path == "NET/Socket" || path.starts_with("NET/Socket/") || (IsOfNetwork(path) && is_tcp);
  });
}

std::optional<bool> HasMultiNodeNvlink(std::string_view log) {
  const Told told = Read(log);
  if (told.paths.empty()) return std::nullopt;
  return std::ranges::any_of(told.paths, [](const std::string& path) {
    return path == "P2P/MNNVL" || path.starts_with("P2P/MNNVL/");
  });
}

std::string TransportOfNode(const std::vector<std::string>& by_rank) {
  std::set<std::string> paths;
  for (const std::string& all : by_rank) {
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = std::min(all.find(kNextPath, at), all.size());
      paths.insert(all.substr(at, end - at));
      at = end + std::string_view(kNextPath).size();
    }
  }
  std::string text;
  for (const std::string& path : paths) text += (text.empty() ? "" : kNextPath) + path;
  return text;
}

}  // namespace assay
