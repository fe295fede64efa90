// The contents of a test file. Each 4 KiB block describes itself: where it belongs, which write put
// it there, which file it belongs to, and the seed of its random rest. This makes any block
// checkable in full, and no two blocks alike, which leaves nothing to compress or to deduplicate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace assay::io {

constexpr std::int64_t kStampedBytes = 4096;  // the size of a block

// A stamp is what a block says of itself.
struct Stamp {
  std::int64_t offset = 0;     // where it belongs in the file, in bytes from its start
  std::uint64_t sequence = 0;  // the number of the write that put it there
  std::uint64_t salt = 0;      // the random number that tells files apart
};

// Writes the random body of every 4 KiB block of `data`, each from its own seed, which follows from
// `seed`: the same `seed` gives the same bodies. REQUIRES, as the two functions below do:
// data.size() is a multiple of 4 KiB.
void FillBodies(std::span<std::byte> data, std::uint64_t seed);

// Stamps every 4 KiB block of `data`, the first of which belongs at stamp.offset. The bodies stay.
void PutStamps(std::span<std::byte> data, const Stamp& stamp);

// Checks every block of `data` against what PutStamps and FillBodies leave. Returns, in words, what
// is wrong with the first bad block, or nothing. Where no sequence is given, any is accepted.
std::optional<std::string> CheckStamps(std::span<const std::byte> data, std::int64_t offset,
                                       std::uint64_t salt, std::optional<std::uint64_t> sequence);

}  // namespace assay::io
