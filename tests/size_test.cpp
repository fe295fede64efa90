#include "results/base/size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <optional>
#include <random>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::StartsWith;

std::optional<std::int64_t> SizeOf(const std::string& text) {
  try {
    return ParseSize(text, "-b");
  } catch (const Error& error) {
    const std::string sentence = error.what();
    EXPECT_THAT(sentence, AllOf(StartsWith("-b wants a size of whole bytes"), EndsWith("'")));
    EXPECT_LE(sentence.size(), 160U);
    return std::nullopt;
  }
}

TEST(Size, IsReadAsNcclTestsAndFioWriteIt) {
  const std::vector<std::pair<const char*, std::int64_t>> sizes = {{"0", 0},
                                                                   {"8", 8},
                                                                   {"8b", 8},
                                                                   {"4k", 4096},
                                                                   {"1kb", 1024},
                                                                   {"1KiB", 1024},
                                                                   {"64M", 67108864},
                                                                   {"1.5K", 1536},
                                                                   {"1GB", 1073741824},
                                                                   {"0.5g", 536870912},
                                                                   {"2Ti", 2199023255552},
                                                                   {"1024T", 1125899906842624},
                                                                   {"1125899906842624", 1LL << 50}};
  for (const auto& [text, bytes] : sizes) EXPECT_EQ(SizeOf(text), bytes) << text;
  for (const char* bad : {"",     "K",       "-1",
                          "-0",   "+8",      "8 ",
                          "8 K",  " 8",      "1.5",
                          "1.1K", "1e3",     "0x10",
                          "nan",  "inf",     "infK",
                          "8KK",  "8Kbb",    "8ib",
                          "8iK",  "1025T",   "1e400",
                          "8P",   "8,K",     "1..5K",
                          "8K1",  "\x1b[2J", "99999999999999999999G"}) {
    EXPECT_EQ(SizeOf(bad), std::nullopt) << bad;
  }
}

// Random words of what sizes are made of, beside a pattern that says which of them are sizes.
TEST(Size, IsNothingElse) {
  std::mt19937_64 random(11);
  const std::regex size(R"(([0-9]+)([kKmMgGtT]?)([iI]?)[bB]?)");
  int read = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::uint64_t n = 1 + random() % 5; n > 0; --n)
      text += "0123478KkmMGgtTiIbB-+e "[random() % 23];
    std::smatch match;
    std::optional<std::int64_t> expected;
    if (std::regex_match(text, match, size) && (match[2].length() > 0 || match[3].length() == 0)) {
      const int power = match[2].length() == 0
                            ? 0
                            : 1 + static_cast<int>(std::string("kmgt").find(
                                      static_cast<char>(std::tolower(match[2].str()[0]))));
      expected = std::stoll(match[1]) << (10 * power);
      if (*expected > 1LL << 50) expected.reset();
      ++read;
    }
    EXPECT_EQ(SizeOf(text), expected) << text;
  }
  EXPECT_GT(read, 500);
}

}  // namespace
}  // namespace assay
