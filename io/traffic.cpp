#include "io/traffic.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <numeric>
#include <utility>

#include "io/stamp.h"
#include "io/system.h"
#include "results/base/error.h"
#include "runner/core/random.h"

namespace assay::io {
namespace {

// The bounds within which contents are made ahead. With few writes in flight a device would wait
// while the contents of the next one are made. The contents of small blocks take less time than the
// extra system call would.
constexpr int kFewSlots = 8;
constexpr std::int64_t kWorthASpare = std::int64_t{64} << 10;
// The divisor of a span's length that gives how much longer it may go on to end before a lump. An
// eighth of a second is a little more than the 0.1 s between two lumps of what Linux throttles.
constexpr std::int64_t kOverrun = 8;

}  // namespace

AccessPattern::AccessPattern(bool random, std::int64_t blocks, std::uint64_t seed)
    : random_(random),
      blocks_(static_cast<std::uint64_t>(blocks)),
      start_(Random(seed).Below(blocks_)) {
  half_bits_ = std::max(1, (static_cast<int>(std::bit_width(blocks_ - 1)) + 1) / 2);
  for (std::size_t i = 0; i < keys_.size(); ++i) keys_[i] = RandomAt(seed, i + 1);
}

std::int64_t AccessPattern::BlockAt(std::int64_t k) const {
  const std::uint64_t i = (static_cast<std::uint64_t>(k) + start_) % blocks_;
  return static_cast<std::int64_t>(random_ ? Permute(i) : i);
}

// Permutes the blocks. A Feistel network permutes 2^(2 half_bits) numbers, under four times as many
// as there are blocks; walking on until a number is small enough permutes just the blocks (Black
// and Rogaway, "Ciphers with arbitrary finite domains", 2002).
std::uint64_t AccessPattern::Permute(std::uint64_t block) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  do {
    std::uint64_t left = block >> half_bits_;
    std::uint64_t right = block & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t next = left ^ (Mix(key ^ right) & mask);
      left = right;
      right = next;
    }
    block = left << half_bits_ | right;
  } while (block >= blocks_);
  return block;
}

std::size_t Traffic::BuffersFor(const TrafficOptions& options, int slots) {
  const bool has_spare = options.write && slots < kFewSlots && options.block_bytes >= kWorthASpare;
  return static_cast<std::size_t>(slots) + (has_spare ? 1 : 0);
}

Traffic::Traffic(const TrafficOptions& options, int slots, std::span<std::byte> buffers)
    : options_(options),
      pattern_(options.random, options.blocks, options.seed),
      buffers_(buffers),
      last_offset_(static_cast<std::size_t>(slots)),
      buffer_of_(static_cast<std::size_t>(slots)) {
  std::iota(buffer_of_.begin(), buffer_of_.end(), 0);
  if (BuffersFor(options, slots) > buffer_of_.size()) spare_ = buffer_of_.size();
}

void Traffic::Begin(std::int64_t transfers) {
  first_ = next_;
  finished_before_ = finished_;
  left_ = transfers;
  is_over_ = false;
  spans_.reset();
  span_end_.reset();
  of_span_ = {};
  behind_.clear();
  counted_.clear();
  in_ramp_ = false;
}

void Traffic::Begin(const TrafficSpans& spans) {
  Begin(std::numeric_limits<std::int64_t>::max());
  spans_ = spans;
  in_ramp_ = true;
}

// Contents that were made ahead are in the spare buffer, which trades places with the slot's own.
std::optional<Transfer> Traffic::Next(int slot) {
  if (is_over_ || left_ == 0 || !failures_.empty()) return std::nullopt;
  --left_;
  const std::int64_t k = next_++;
  if (options_.before) options_.before(k);
  std::size_t& buffer = buffer_of_[static_cast<std::size_t>(slot)];
  if (ahead_ == k) {
    std::swap(buffer, *spare_);
    ahead_.reset();
  } else if (options_.write) {
    MakeContents(k, Buffer(buffer));
  }
  last_offset_[static_cast<std::size_t>(slot)] = OffsetOf(k);
  return Transfer{.write = options_.write, .offset = OffsetOf(k), .data = Buffer(buffer)};
}

bool Traffic::WantsTime() const { return spare_ && ahead_ != next_; }

void Traffic::PrepareAhead() {
  MakeContents(next_, Buffer(*spare_));
  ahead_ = next_;
}

void Traffic::MakeContents(std::int64_t k, std::span<std::byte> data) const {
  const std::uint64_t sequence = options_.sequence + static_cast<std::uint64_t>(k);
  FillBodies(data, RandomAt(options_.seed, sequence));
  PutStamps(data, {.offset = OffsetOf(k), .sequence = sequence, .salt = options_.salt});
}

void Traffic::Done(int slot, std::int64_t result, std::int64_t begin_ns, std::int64_t end_ns) {
  if (result != options_.block_bytes) {
    ++failures_[result < 0 ? ErrorName(static_cast<int>(-result)) : "short"];
    last_offset_[static_cast<std::size_t>(slot)].reset();
    return;
  }
  if (finished_ == finished_before_) {
    latest_ns_ = begin_ns_ = begin_ns;
    span_begin_ = {.at_ns = begin_ns, .finished = finished_};
  }
  ++finished_;
  const std::int64_t before_ns = std::exchange(latest_ns_, std::max(latest_ns_, end_ns));
  // Transfers that were still in flight when the spans were over don't count.
  if (is_over_) return;
  end_ns_ = latest_ns_;
  if (!spans_) return latency_.Add(end_ns - begin_ns);
  TakeEnd({.at_ns = latest_ns_, .finished = finished_, .waited_ns = latest_ns_ - before_ns},
          end_ns - begin_ns);
}

// Counts the end of a transfer in its span. Once a span is long enough, the end that was waited for
// longest so far is where it will end; latencies since then wait in behind_, since they may belong
// to the next span.
void Traffic::TakeEnd(const End& end, std::int64_t latency_ns) {
  const std::int64_t wanted_ns = in_ramp_ ? spans_->ramp_ns : spans_->length_ns;
  const std::int64_t time_ns = end.at_ns - span_begin_.at_ns;
  if (span_end_ && time_ns > wanted_ns + spans_->length_ns / kOverrun) {
    EndSpan();
    if (!is_over_) TakeEnd(end, latency_ns);
    return;
  }
  behind_.push_back(latency_ns);
  if (time_ns >= wanted_ns) {
    if (span_end_ && end.waited_ns <= span_end_->waited_ns) return;
    span_end_ = end;
  }
  for (const std::int64_t each_ns : behind_) of_span_.Add(each_ns);
  behind_.clear();
}

void Traffic::EndSpan() {
  if (!in_ramp_) {
    counted_.push_back({.transfers = span_end_->finished - span_begin_.finished,
                        .time_ns = span_end_->at_ns - span_begin_.at_ns});
    latency_.Add(of_span_);
  }
  in_ramp_ = false;
  span_begin_ = *std::exchange(span_end_, std::nullopt);
  of_span_ = {};
  for (const std::int64_t each_ns : std::exchange(behind_, {})) of_span_.Add(each_ns);
  is_over_ = std::ssize(counted_) >= spans_->count || (spans_->stop && spans_->stop());
}

void Traffic::VerifyReads(Checked& checked) const {
  for (std::size_t slot = 0; slot < last_offset_.size(); ++slot) {
    if (!last_offset_[slot]) continue;
    ++checked.checked;
    if (auto wrong = CheckStamps(Buffer(buffer_of_[slot]), *last_offset_[slot], options_.salt,
                                 std::nullopt)) {
      ++checked.wrong;
      if (!checked.what) checked.what = wrong;
    }
  }
}

void Traffic::VerifyWrites(int fd, Checked& checked) const {
  const Slab slab(static_cast<std::size_t>(options_.block_bytes));
  const std::int64_t deadline_ns = NowNs() + 250'000'000;
  // Older writes were overwritten in a later pass.
  const std::int64_t count = std::min(next_ - first_, options_.blocks);
  if (count == 0) return;
  const AccessPattern sample(true, count, RandomAt(options_.seed, 0));
  for (std::int64_t i = 0; i < std::min<std::int64_t>(count, 1024); ++i) {
    const std::int64_t k = next_ - 1 - sample.BlockAt(i);
    const ssize_t got = pread(fd, slab.Bytes().data(), slab.Bytes().size(), OffsetOf(k));
    if (got != options_.block_bytes) {
      throw Error("A block that was written can't be read back: " +
                  (got < 0 ? ErrorName(errno) : "short read") +
                  "; look at the kernel's log (dmesg) and the volume's health.");
    }
    ++checked.checked;
    if (auto wrong = CheckStamps(slab.Bytes(), OffsetOf(k), options_.salt,
                                 options_.sequence + static_cast<std::uint64_t>(k))) {
      ++checked.wrong;
      if (!checked.what) checked.what = wrong;
    }
    if (NowNs() > deadline_ns) break;
  }
}

std::int64_t Traffic::OffsetOf(std::int64_t k) const {
  return options_.first_byte + pattern_.BlockAt(k) * options_.block_bytes;
}

std::span<std::byte> Traffic::Buffer(std::size_t buffer) const {
  const auto bytes = static_cast<std::size_t>(options_.block_bytes);
  return buffers_.subspan(buffer * bytes, bytes);
}

}  // namespace assay::io
