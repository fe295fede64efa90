// The peak loops as compiled: an accumulator that the compiler keeps on the stack makes a loop
// report a fraction of the peak, which no result of the loop would show.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace assay {
namespace {

struct Instruction {
  std::uint64_t address = 0;
  std::string text = {};  // "vfmadd213ps %zmm0,%zmm1,%zmm1"
};

std::string OutputOf(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string output;
  std::array<char, 4096> part = {};
  while (pipe && std::fgets(part.data(), part.size(), pipe.get()) != nullptr) output += part.data();
  return output;
}

// The instructions of all functions of this binary with that name, by demangled signature.
std::map<std::string, std::vector<Instruction>> Functions(const std::string& name) {
  const std::regex symbol("([0-9a-f]+) ([0-9a-f]+) [tT] (assay::.*::" + name + R"(\(.*\)))");
  const std::regex line(R"(^\s*([0-9a-f]+):\s+(.*)$)");
  std::map<std::string, std::vector<Instruction>> functions;
  std::istringstream symbols(OutputOf("nm -CS /proc/" + std::to_string(getpid()) + "/exe"));
  for (std::string text; std::getline(symbols, text);) {
    std::smatch match;
    if (!std::regex_match(text, match, symbol)) continue;
    const std::uint64_t begin = std::stoull(match[1], nullptr, 16);
    const std::uint64_t end = begin + std::stoull(match[2], nullptr, 16);
    std::istringstream code(OutputOf(
        "objdump -d --no-show-raw-insn --start-address=" + std::to_string(begin) +
        " --stop-address=" + std::to_string(end) + " /proc/" + std::to_string(getpid()) + "/exe"));
    std::vector<Instruction>& function = functions[match[3]];
    for (std::string row; std::getline(code, row);) {
      std::smatch part;
      if (std::regex_match(row, part, line)) {
        function.push_back({std::stoull(part[1], nullptr, 16), part[2]});
      }
    }
  }
  return functions;
}

// The instructions between a backward jump and its target, for the loop with the most instructions
// that match `arithmetic`.
std::vector<std::string> HotLoop(const std::vector<Instruction>& function,
                                 const std::regex& arithmetic) {
  const std::regex jump(R"(^j\w+\s+([0-9a-f]+).*)");
  std::vector<std::string> best;
  std::ptrdiff_t most = 0;
  for (const Instruction& last : function) {
    std::smatch match;
    if (!std::regex_match(last.text, match, jump)) continue;
    const std::uint64_t target = std::stoull(match[1], nullptr, 16);
    std::vector<std::string> body;
    for (const Instruction& each : function) {
      if (each.address >= target && each.address <= last.address) body.push_back(each.text);
    }
    const auto count = std::count_if(body.begin(), body.end(), [&](const std::string& text) {
      return std::regex_search(text, arithmetic);
    });
    if (count > most) {
      most = count;
      best = body;
    }
  }
  return best;
}

void ExpectRegistersOnly(const std::string& name, const std::string& arithmetic,
                         std::ptrdiff_t least) {
#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "x86-64 without sanitizers only";
#endif
  if (OutputOf("objdump --version").empty()) GTEST_SKIP() << "needs objdump (apt: binutils)";
  const auto functions = Functions(name);
  ASSERT_FALSE(functions.empty()) << "no function " << name << " in this binary";
  const std::regex wanted("^" + arithmetic + "\\s");
  for (const auto& [signature, function] : functions) {
    SCOPED_TRACE(signature);
    const std::vector<std::string> loop = HotLoop(function, wanted);
    std::ptrdiff_t count = 0;
    for (const std::string& text : loop) {
      count += std::regex_search(text, wanted) ? 1 : 0;
      EXPECT_EQ(text.find('('), std::string::npos) << "goes to memory: " << text;
    }
    // Chains of one lane may be packed, four to an instruction.
    const bool one_lane = signature.find("N_SCALAR") != std::string::npos;
    EXPECT_GE(count, one_lane ? least / 4 : least);
    // Little beside the arithmetic: a counter, a comparison, a jump; additions where there is no
    // fused instruction.
    EXPECT_LE(static_cast<std::ptrdiff_t>(loop.size()), 2 * count + 4);
  }
}

TEST(PeakLoops, F32StaysInRegistersOnEveryInstructionSet) {
  ExpectRegistersOnly("RunF32", "(v?mul[sp]s|vfn?madd[0-9]+ps)", 12);
}

TEST(PeakLoops, Bf16StaysInRegisters) { ExpectRegistersOnly("RunBf16", "vdpbf16ps", 16); }

TEST(PeakLoops, Int8StaysInRegisters) { ExpectRegistersOnly("RunInt8", "vpdpbusd", 16); }

}  // namespace
}  // namespace assay
