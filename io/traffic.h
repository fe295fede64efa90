// The feed of one job: it decides which block comes next and what is written there, records how
// long each transfer took, and checks whether what was transferred is right.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/file_engine.h"
#include "results/figures/histogram.h"
#include "runner/core/probe.h"

namespace assay::io {

// The order in which blocks 0 … blocks - 1 are visited, over and over: sequentially from a random
// one on, or in a random permutation. Either way each block comes once a pass, so that no two
// transfers in flight are of one block.
class AccessPattern {
 public:
  // REQUIRES: blocks >= 1.
  AccessPattern(bool random, std::int64_t blocks, std::uint64_t seed);
  // The block of the k-th visit, for any k >= 0.
  std::int64_t BlockAt(std::int64_t k) const;

 private:
  std::uint64_t Permute(std::uint64_t block) const;

  const bool random_;
  const std::uint64_t blocks_;
  const std::uint64_t start_;
  int half_bits_ = 1;
  std::array<std::uint64_t, 4> keys_ = {};
};

// The work of one job, which stays in a part of the file that no other job touches.
struct TrafficOptions {
  bool write = false;
  bool random = false;
  std::int64_t block_bytes = 4096;  // the size of a transfer, a multiple of 4 KiB
  std::int64_t first_byte = 0;      // the job's part of the file begins here
  std::int64_t blocks = 1;          // the blocks in that part; at least as many as slots
  std::uint64_t seed = 0;
  std::uint64_t salt = 0;      // the file's own (Stamp::salt)
  std::uint64_t sequence = 0;  // the k-th write is stamped sequence + k
  // A function that is called right before the k-th transfer begins; may be null.
  std::function<void(std::int64_t k)> before = {};
};

// The spans by which a run is counted, in the engine's clock: a ramp that doesn't count, then
// spans.
struct TrafficSpans {
  std::int64_t ramp_ns = 0;
  std::int64_t length_ns = 0;  // the time of each span
  int count = 0;               // the number of spans
  // Asked once a span, in the thread that called Done; true ends the run. May be null.
  std::function<bool()> stop = {};
};

// One span as it was counted.
struct CountedSpan {
  std::int64_t transfers = 0;
  std::int64_t time_ns = 0;
};

// The feed, for one run after another. Its calls must not overlap; the engine sees to that while it
// runs.
class Traffic : public Feed {
 public:
  // The number of blocks that the buffers must hold.
  static std::size_t BuffersFor(const TrafficOptions& options, int slots);
  // The caller owns `buffers`. REQUIRES: they hold BuffersFor(options, slots) blocks.
  Traffic(const TrafficOptions& options, int slots, std::span<std::byte> buffers);

  // Begins a run of that many transfers (>= 1), all of which count.
  void Begin(std::int64_t transfers);
  // Begins a run that goes on until its spans of time are over. Only transfers that end within
  // spans count. The first span begins with the end of a transfer after the ramp. A span ends, and
  // the next begins, with the end of a transfer at or after its length: among those within an
  // eighth of a span, the one that was waited for longest, so that a volume that answers in lumps
  // is counted in whole lumps.
  void Begin(const TrafficSpans& spans);
  // The spans of the last run. REQUIRES: it has ended without failures.
  const std::vector<CountedSpan>& Spans() const { return counted_; }
  // The times when the first transfer of the run began and when the last one that counts ended.
  std::int64_t BeginNs() const { return begin_ns_; }
  std::int64_t EndNs() const { return end_ns_; }
  // The number of transfers that ended since Begin, whether they count or not.
  std::int64_t FinishedInRun() const { return finished_ - finished_before_; }

  std::optional<Transfer> Next(int slot) override;
  bool WantsTime() const override;
  void PrepareAhead() override;
  void Done(int slot, std::int64_t result, std::int64_t begin_ns, std::int64_t end_ns) override;

  // The number of transfers that ended well since the traffic was made, whether they count or not.
  std::int64_t Finished() const { return finished_; }
  // The number of failures by name ("EIO", "short") since the traffic was made. After the first
  // failure no more transfers are begun.
  const std::map<std::string, std::int64_t>& Failures() const { return failures_; }
  // The latencies of the transfers that count.
  const LatencyHistogram& Latency() const { return latency_; }

  // Compares in full what the last read of each slot brought, and adds to `checked`.
  void VerifyReads(Checked& checked) const;
  // Reads back blocks that were written since Begin, in random order until there were 1,024 or a
  // quarter of a second is over, compares them in full, and adds to `checked`. Throws Error when a
  // block can't be read.
  void VerifyWrites(int fd, Checked& checked) const;

 private:
  // The end of a transfer, at which a span may end.
  struct End {
    std::int64_t at_ns = 0;
    std::int64_t finished = 0;   // transfers that had ended by then
    std::int64_t waited_ns = 0;  // since the end before it
  };
  void TakeEnd(const End& end, std::int64_t latency_ns);
  void EndSpan();
  std::int64_t OffsetOf(std::int64_t k) const;
  std::span<std::byte> Buffer(std::size_t buffer) const;
  // Makes the contents of the k-th write.
  void MakeContents(std::int64_t k, std::span<std::byte> data) const;

  const TrafficOptions options_;
  const AccessPattern pattern_;
  const std::span<std::byte> buffers_;
  std::int64_t first_ = 0;  // the first transfer since Begin
  std::int64_t next_ = 0;
  std::int64_t finished_ = 0;
  std::int64_t finished_before_ = 0;  // finished_ when the run began
  std::int64_t left_ = 0;             // transfers that are still to be begun
  bool is_over_ = true;               // nothing more is to be begun, and nothing more counts
  std::optional<TrafficSpans> spans_ = {};
  End span_begin_ = {};                    // the begin of the span, or of the ramp at first
  std::optional<End> span_end_ = {};       // the best end of the span so far
  LatencyHistogram of_span_ = {};          // the latencies up to span_end_
  std::vector<std::int64_t> behind_ = {};  // the latencies after span_end_
  std::vector<CountedSpan> counted_ = {};  // the ramp is not among them
  bool in_ramp_ = false;
  std::int64_t latest_ns_ = 0;  // threads may tell of their ends out of order
  std::int64_t begin_ns_ = 0;
  std::int64_t end_ns_ = 0;
  std::map<std::string, std::int64_t> failures_ = {};
  LatencyHistogram latency_ = {};
  std::vector<std::optional<std::int64_t>> last_offset_;  // by slot
  std::vector<std::size_t> buffer_of_;                    // each slot
  std::optional<std::size_t> spare_ = {};                 // a buffer that no slot has
  std::optional<std::int64_t> ahead_ = {};                // the write whose contents are in it
};

}  // namespace assay::io
