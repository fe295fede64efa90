#include "io/stamp.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "runner/core/random.h"

namespace assay::io {
namespace {

// The header as it lies in the block; the body follows.
struct Header {
  std::int64_t offset;
  std::uint64_t sequence;
  std::uint64_t salt;
  std::uint64_t body_seed;
};

constexpr std::size_t kBodyWords = (kStampedBytes - sizeof(Header)) / sizeof(std::uint64_t);

// Random words that bodies are made of: a body combines two stretches of them, which its seed
// chooses, with a word of the seed. To compression and deduplication this looks as random as a
// generator's output, and it keeps up with memory, so that each write can have its own body.
constexpr std::size_t kStarts = 1024;
struct Tables {
  std::array<std::uint64_t, kStarts + kBodyWords> first;
  std::array<std::uint64_t, kStarts + kBodyWords> second;
};

// The random words, which are made at the first use and kept.
const Tables& RandomTables() {
  static const Tables tables = [] {
    Tables made;
    for (std::size_t i = 0; i < made.first.size(); ++i) {
      made.first[i] = RandomAt(1, i);
      made.second[i] = RandomAt(2, i);
    }
    return made;
  }();
  return tables;
}

// The random body of one block, word by word, as its seed says.
class Body {
 public:
  explicit Body(std::uint64_t seed)
      : first_(&RandomTables().first[seed % kStarts]),
        second_(&RandomTables().second[seed / kStarts % kStarts]),
        word_(Mix(seed)) {}
  std::uint64_t At(std::size_t i) const { return first_[i] ^ second_[i] ^ word_; }

 private:
  const std::uint64_t* first_;
  const std::uint64_t* second_;
  std::uint64_t word_;
};

// The number of stamped blocks in the data.
std::size_t Blocks(std::span<const std::byte> data) {
  return data.size() / static_cast<std::size_t>(kStampedBytes);
}

// Tells what is wrong with one block, in words, or nothing. The stamp is compared first, since it
// says best what went wrong: a block of another place, write or file.
std::optional<std::string> CheckBlock(const std::byte* block, const Stamp& expected,
                                      bool any_sequence) {
  Header header;
  std::memcpy(&header, block, sizeof header);
  if (header.salt != expected.salt) {
    return fmt::format("the block at byte {} is not of this file", expected.offset);
  }
  if (header.offset != expected.offset) {
    return fmt::format("the block at byte {} is the one of byte {}", expected.offset,
                       header.offset);
  }
  if (!any_sequence && header.sequence != expected.sequence) {
    return fmt::format("the block at byte {} is of write {:#x}, not of write {:#x}",
                       expected.offset, header.sequence, expected.sequence);
  }
  const Body body(header.body_seed);
  for (std::size_t i = 0; i < kBodyWords; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, block + sizeof(Header) + i * sizeof word, sizeof word);
    if (word != body.At(i)) {
      return fmt::format("the block at byte {} is wrong from its byte {} on", expected.offset,
                         sizeof(Header) + i * sizeof word);
    }
  }
  return std::nullopt;
}

}  // namespace

void FillBodies(std::span<std::byte> data, std::uint64_t seed) {
  for (std::size_t b = 0; b < Blocks(data); ++b) {
    std::byte* block = data.data() + b * static_cast<std::size_t>(kStampedBytes);
    const std::uint64_t body_seed = RandomAt(seed, b);
    std::memcpy(block + offsetof(Header, body_seed), &body_seed, sizeof body_seed);
    const Body body(body_seed);
    for (std::size_t i = 0; i < kBodyWords; ++i) {
      const std::uint64_t word = body.At(i);
      std::memcpy(block + sizeof(Header) + i * sizeof word, &word, sizeof word);
    }
  }
}

void PutStamps(std::span<std::byte> data, const Stamp& stamp) {
  Stamp here = stamp;
  for (std::size_t b = 0; b < Blocks(data); ++b) {
    std::byte* block = data.data() + b * static_cast<std::size_t>(kStampedBytes);
    // A Header begins with the fields of a Stamp; the body's seed behind them stays.
    static_assert(sizeof(Stamp) == offsetof(Header, body_seed));
    std::memcpy(block, &here, sizeof here);
    here.offset += kStampedBytes;
  }
}

std::optional<std::string> CheckStamps(std::span<const std::byte> data, std::int64_t offset,
                                       std::uint64_t salt, std::optional<std::uint64_t> sequence) {
  for (std::size_t b = 0; b < Blocks(data); ++b) {
    const std::int64_t within = static_cast<std::int64_t>(b) * kStampedBytes;
    if (auto wrong =
            CheckBlock(data.data() + within,
                       {.offset = offset + within, .sequence = sequence.value_or(0), .salt = salt},
                       !sequence)) {
      return wrong;
    }
  }
  return std::nullopt;
}

}  // namespace assay::io
