// The contents of a test file. Each 4 KiB block describes itself: where it belongs, which write put
// it there, which file it is of, and the seed of its random rest; so that any block that was read
// can be checked in full, and no two are alike, which leaves nothing to compress or to deduplicate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace assay::io {

constexpr std::int64_t kStampedBytes = 4096;

struct Stamp {
  std::int64_t offset = 0;
  std::uint64_t sequence = 0;  // of the write
  std::uint64_t salt = 0;      // of the file
};

// Writes the random body of every 4 KiB block of `data`; each has a seed of its own.
// REQUIRES: data.size() is a multiple of 4 KiB (here and below).
void FillBodies(std::span<std::byte> data, std::uint64_t seed);

// Stamps every 4 KiB block of `data`, which belongs at stamp.offset; the bodies stay.
void PutStamps(std::span<std::byte> data, const Stamp& stamp);

// What is wrong with the first block of `data` that isn't what PutStamps and FillBodies left, in
// words, or nothing. Any sequence will do where none is given.
std::optional<std::string> CheckStamps(std::span<const std::byte> data, std::int64_t offset,
                                       std::uint64_t salt, std::optional<std::uint64_t> sequence);

}  // namespace assay::io
