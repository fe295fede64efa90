#include "io/io.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "io/file_engine.h"
#include "io/stamp.h"
#include "io/storage.h"
#include "io/test_file.h"
#include "io/traffic.h"
#include "io/volume.h"
#include "results/base/descriptor.h"
#include "results/base/error.h"
#include "results/figures/histogram.h"
#include "runner/core/engine.h"
#include "runner/core/random.h"

namespace assay::io {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

// An empty folder in the build tree, gone at the end of the test.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& parent = ".") {
    std::string name = parent + "/io_test.XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = std::filesystem::canonical(name);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& Path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  bool IsEmpty() const { return std::filesystem::is_empty(path_); }

 private:
  std::string path_;
};

void Write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// A file of a few MiB, so that a test takes milliseconds.
StorageOptions Small() {
  return {
      .file = {
          .bytes = 4 * kMiB, .memory_bytes = 4 * kMiB, .least_bytes = kMiB, .reserve_bytes = 0}};
}

Params With(const Probe& probe, const Params& changed) {
  Params params = probe.defaults;
  for (const auto& [name, value] : changed) params[name] = value;
  return params;
}

Params Pattern(const std::string& pattern, std::int64_t block_bytes = 4096,
               std::int64_t depth = 8) {
  return {{"pattern", pattern}, {"block_bytes", block_bytes}, {"depth", depth}};
}

// The workload of the one case that these params unfold into.
std::unique_ptr<Workload> Prepare(const Setup& setup, const StorageOptions& options,
                                  const Params& changed, std::uint64_t seed = 1) {
  const Probe probe = StorageProbe(setup, options);
  const std::vector<Case> cases = probe.unfold(With(probe, changed));
  EXPECT_EQ(cases.size(), 1u);
  Prepared prepared = cases.front().prepare(seed);
  if (const Skipped* no = std::get_if<Skipped>(&prepared)) throw Error(no->reason);
  return std::move(std::get<std::unique_ptr<Workload>>(prepared));
}

std::string TextOf(const Facts& facts, const std::string& name) {
  return std::get<std::string>(facts.at(name));
}

std::string SentenceOf(const std::function<void()>& what) {
  try {
    what();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

std::int64_t OperationsOf(const Histogram& histogram) {
  std::int64_t operations = 0;
  for (const auto& [bucket, count] : histogram.counts) operations += count;
  return operations;
}

// Runs `body` in a process of its own; its exit status, or -signal.
int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    int status = 99;
    try {
      status = body();
    } catch (const std::exception& error) {
      fprintf(stderr, "in the child: %s\n", error.what());
    }
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// A scripted /proc and /sys: the test's folder `data` is seen through mount 31, unless Mount or
// Place say otherwise.
class ScriptedKernel {
 public:
  ScriptedKernel() {
    Write(folder_ / "proc/cpuinfo", "flags\t\t: fpu sse hypervisor\n");
    Write(folder_ / "proc/devices",
          "Character devices:\n  1 mem\n\nBlock devices:\n  1 ramdisk\n  7 loop\n253 zram\n");
    std::filesystem::create_directories(folder_ / "data");
    Place("data", {.mount_id = 31});
  }
  // At data, or another point under this root.
  void Mount(const std::string& device, const std::string& type, const std::string& source,
             const std::string& options, int id = 31, const std::string& point = "data") {
    mountinfo_ += std::to_string(id) + " 22 " + device + " / " + folder_ / point +
                  " rw,noatime shared:1 - " + type + " " + source + " " + options + "\n";
    Write(folder_ / "proc/self/mountinfo", "22 1 254:0 / / rw - ext4 /dev/other rw\n" + mountinfo_);
  }
  // A path under this root, or of another name space (absolute).
  void Place(const std::string& path, io::Place place) {
    place.path = path.starts_with('/') ? path : folder_ / path;
    if (place.inode == 0) place.inode = InodeOf(place.path);
    const std::string key = place.path;
    places_[key] = std::move(place);
  }
  // The inode that a file has unless a test says otherwise.
  static std::uint64_t InodeOf(const std::string& path) { return std::hash<std::string>()(path); }
  // A disk, and its entry under dev/block.
  std::filesystem::path Disk(const std::string& name, const std::string& device,
                             const std::string& model) {
    const std::filesystem::path disk = folder_ / ("sys/devices/pci/" + name);
    Write(disk / "device/model", model + "   \n");
    Write(disk / "device/serial", "vol0123456789abcdef0\n");
    Write(disk / "size", "2097152\n");
    Link(disk, device);
    return disk;
  }
  // A block device that is no disk: a RAID, a loop device, memory.
  std::filesystem::path Virtual(const std::string& name, const std::string& device,
                                const std::vector<std::filesystem::path>& members = {}) {
    const std::filesystem::path block = folder_ / ("sys/devices/virtual/block/" + name);
    Write(block / "dev", device + "\n");
    Write(block / "size", "2097152\n");
    std::filesystem::create_directories(block / "slaves");
    for (const std::filesystem::path& member : members) {
      std::filesystem::create_directory_symlink(member, block / "slaves" / member.filename());
    }
    Link(block, device);
    return block;
  }
  // A loop device on a file of the root's folder `lower`.
  std::filesystem::path Loop(const std::string& name, const std::string& device,
                             const std::string& direct, const std::string& file) {
    const std::filesystem::path loop = Virtual(name, device);
    Write(loop / "loop/dio", direct + "\n");
    Write(loop / "loop/backing_file", folder_ / file + "\n");
    loops_[device] = {.inode = InodeOf(folder_ / file)};
    return loop;
  }
  // Sets the file that the loop device says it is on; nothing: this process may not ask.
  void LoopIsOn(const std::string& device, std::optional<FileIdentity> file) {
    loops_[device] = std::move(file);
  }
  void Link(const std::filesystem::path& block, const std::string& device) {
    for (const std::string& link :
         {"sys/dev/block/" + device, "sys/class/block/" + block.filename().string()}) {
      std::filesystem::create_directories(std::filesystem::path(folder_ / link).parent_path());
      std::filesystem::create_symlink(block, folder_ / link);
    }
  }
  KernelRoots Roots() const {
    return {folder_ / "proc", folder_ / "sys",
            [this](const std::string& path) -> std::optional<io::Place> {
              const auto found = places_.find(path);
              return found == places_.end() ? std::nullopt : std::optional(found->second);
            },
            [this](const std::string&, const std::string& number) { return loops_.at(number); }};
  }
  Volume Describe() const { return DescribeVolume(folder_ / "data", Roots()); }
  Below DescribeBelow() const { return io::DescribeBelow(folder_ / "data", Roots()); }
  std::string operator/(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
  std::string mountinfo_ = {};
  std::map<std::string, io::Place> places_ = {};
  std::map<std::string, std::optional<FileIdentity>> loops_ = {};
};

constexpr const char* kLocalModel = "Amazon EC2 NVMe Instance Storage";
constexpr const char* kNetworkModel = "Amazon Elastic Block Store";

TEST(LatencyHistogram, BucketsAreTheFormulaOfTheFileFormat) {
  EXPECT_EQ(LatencyBucket(0), 0);
  EXPECT_EQ(LatencyBucket(63), 63);
  EXPECT_EQ(LatencyBucket(64), 64);
  EXPECT_EQ(LatencyBucket(127), 127);
  EXPECT_EQ(LatencyBucket(128), 128);
  EXPECT_EQ(LatencyBucket(129), 128);
  EXPECT_EQ(LatencyBucket(1000), 64 * (9 - 5) + 125 - 64);
  EXPECT_EQ(LatencyBucket(1'000'000), 64 * (19 - 5) + 122 - 64);
}

TEST(LatencyHistogram, BucketsTouchAndAreAtMostOneSixtyFourthWide) {
  const std::int64_t last = LatencyBucket(std::numeric_limits<std::int64_t>::max());
  for (std::int64_t bucket = 0; bucket < last; ++bucket) {
    const std::int64_t low = LatencyBucketFloor(bucket);
    const std::int64_t next = LatencyBucketFloor(bucket + 1);
    ASSERT_EQ(LatencyBucket(low), bucket);
    ASSERT_EQ(LatencyBucket(next - 1), bucket);
    ASSERT_LE(next - low, std::max<std::int64_t>(1, low / 64));
  }
}

TEST(LatencyHistogram, CountsEveryOperationAndMergesJobs) {
  LatencyHistogram one;
  LatencyHistogram other;
  one.Add(100);
  one.Add(1000);
  other.Add(1001);
  other.Add(-5);
  one.Add(other);
  EXPECT_THAT(one.ToHistogram().counts,
              ElementsAre(std::pair(0L, 1L), std::pair(100L, 1L), std::pair(317L, 2L)));
}

TEST(AccessPattern, ARandomPassVisitsEveryBlockOnce) {
  for (const std::int64_t blocks : {1, 2, 3, 5, 64, 100, 1025}) {
    const AccessPattern pattern(true, blocks, 7);
    for (const std::int64_t pass : {0, 1}) {
      std::set<std::int64_t> seen;
      for (std::int64_t k = 0; k < blocks; ++k) seen.insert(pattern.BlockAt(pass * blocks + k));
      ASSERT_EQ(std::ssize(seen), blocks);
      ASSERT_EQ(*seen.begin(), 0);
      ASSERT_EQ(*seen.rbegin(), blocks - 1);
    }
  }
}

TEST(AccessPattern, RandomIsNotSequentialAndDiffersBySeed) {
  const AccessPattern pattern(true, 1000, 1);
  const AccessPattern other(true, 1000, 2);
  int successors = 0;
  int equal = 0;
  for (std::int64_t k = 0; k < 1000; ++k) {
    successors += pattern.BlockAt(k + 1) == pattern.BlockAt(k) + 1;
    equal += pattern.BlockAt(k) == other.BlockAt(k);
  }
  EXPECT_LT(successors, 20);
  EXPECT_LT(equal, 20);
}

TEST(AccessPattern, SequentialGoesOnFromARandomBlockAndWraps) {
  const AccessPattern pattern(false, 10, 3);
  for (std::int64_t k = 0; k < 30; ++k) {
    ASSERT_EQ(pattern.BlockAt(k + 1), (pattern.BlockAt(k) + 1) % 10);
  }
}

TEST(Stamps, AnyChangedByteIsSeen) {
  std::vector<std::byte> data(8192);
  FillBodies(data, 5);
  PutStamps(data, {.offset = 1 << 20, .sequence = 9, .salt = 77});
  EXPECT_EQ(CheckStamps(data, 1 << 20, 77, 9), std::nullopt);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] ^= std::byte{1};
    ASSERT_NE(CheckStamps(data, 1 << 20, 77, 9), std::nullopt) << "byte " << i;
    data[i] ^= std::byte{1};
  }
}

TEST(Stamps, ABlockOfAnotherPlaceWriteOrFileIsNamed) {
  std::vector<std::byte> data(4096);
  FillBodies(data, 5);
  PutStamps(data, {.offset = 4096, .sequence = 2, .salt = 77});
  EXPECT_EQ(CheckStamps(data, 8192, 77, {}), "the block at byte 8192 is the one of byte 4096");
  EXPECT_EQ(CheckStamps(data, 4096, 78, {}), "the block at byte 4096 is not of this file");
  EXPECT_EQ(CheckStamps(data, 4096, 77, 3),
            "the block at byte 4096 is of write 0x2, not of write 0x3");
  EXPECT_EQ(CheckStamps(data, 4096, 77, {}), std::nullopt);
}

// Completes transfers last come, first served, moving nothing; results come from a script, and are
// full when that is empty.
class ScriptedEngine : public FileEngine {
 public:
  explicit ScriptedEngine(int depth, std::vector<std::int64_t> results = {})
      : depth_(depth), results_(std::move(results)), begun_(static_cast<std::size_t>(depth)) {}
  std::string Flags() const override { return "scripted"; }
  bool ExactLatency() const override { return true; }
  std::int64_t Flush() override { return 0; }
  void Run(Feed& feed) override {
    std::vector<std::pair<int, Transfer>> in_flight;
    const auto take = [&](int slot) {
      if (const auto transfer = feed.Next(slot)) {
        in_flight.emplace_back(slot, *transfer);
        begun_[static_cast<std::size_t>(slot)] = done_;
        seen.push_back(*transfer);
      }
    };
    for (int slot = 0; slot < depth_; ++slot) take(slot);
    while (!in_flight.empty()) {
      most_in_flight = std::max(most_in_flight, in_flight.size());
      const auto [slot, transfer] = in_flight.back();
      in_flight.pop_back();
      const auto all = static_cast<std::int64_t>(transfer.data.size());
      const std::int64_t result =
          done_ < std::ssize(results_) ? results_[static_cast<std::size_t>(done_)] : all;
      ++done_;  // A transfer takes as long as it waits: one nanosecond a completion.
      feed.Done(slot, result, begun_[static_cast<std::size_t>(slot)], done_);
      take(slot);
    }
  }

  std::vector<Transfer> seen = {};
  std::size_t most_in_flight = 0;

 private:
  const int depth_;
  const std::vector<std::int64_t> results_;
  std::vector<std::int64_t> begun_;
  std::int64_t done_ = 0;
};

// A storage probe whose engine gives these results.
StorageOptions Scripted(std::vector<std::int64_t> results) {
  StorageOptions options = Small();
  options.engines = {{"scripted", [results](const EngineSetup& setup) {
                        return std::make_unique<ScriptedEngine>(setup.depth, results);
                      }}};
  return options;
}

TEST(Traffic, ARunOfTransfersBeginsNoOthers) {
  std::vector<std::byte> buffers(4 * 4096);
  Traffic traffic({.block_bytes = 4096, .blocks = 1000}, 4, buffers);
  ScriptedEngine engine(4);
  traffic.Begin(30);
  engine.Run(traffic);
  EXPECT_EQ(engine.most_in_flight, 4u);
  EXPECT_EQ(engine.seen.size(), 30u);
  EXPECT_EQ(traffic.FinishedInRun(), 30);
  EXPECT_EQ(OperationsOf(traffic.Latency().ToHistogram()), 30);
}

TEST(Traffic, SpansGoOnToTheEndOfATransferAndTheRampDoesNotCount) {
  std::vector<std::byte> buffers(4 * 4096);
  Traffic traffic({.block_bytes = 4096, .blocks = 1000}, 4, buffers);
  ScriptedEngine engine(4);
  traffic.Begin(7);
  engine.Run(traffic);
  traffic.Begin({.ramp_ns = 4, .length_ns = 10, .count = 3});
  engine.Run(traffic);
  ASSERT_EQ(traffic.Spans().size(), 3u);
  for (const CountedSpan& span : traffic.Spans()) {
    EXPECT_EQ(span.transfers, 10);
    EXPECT_EQ(span.time_ns, 10);
  }
  EXPECT_EQ(engine.most_in_flight, 4u);
  // The ramp, the spans, the eighth of one that the last could have gone on for, what was in
  // flight.
  EXPECT_EQ(traffic.FinishedInRun(), 4 + 30 + 2 + 3);
  EXPECT_EQ(OperationsOf(traffic.Latency().ToHistogram()), 7 + 30);
}

TEST(Traffic, SpansEndWhereTheyAreToldTo) {
  std::vector<std::byte> buffers(4096);
  Traffic traffic({.block_bytes = 4096, .blocks = 1000}, 1, buffers);
  ScriptedEngine engine(1);
  int asked = 0;
  traffic.Begin(
      {.ramp_ns = 5, .length_ns = 10, .count = 100, .stop = [&] { return ++asked == 3; }});
  engine.Run(traffic);
  EXPECT_EQ(traffic.Spans().size(), 2u);  // asked after the ramp, too
}

// A volume with a cap: in each tenth of a second it moves so many transfers at once, and lets the
// next ones wait; beyond them it has some credit at first. Its clock is its own.
struct Bucket {
  std::int64_t per_period = 0;
  std::int64_t period_ns = 100'000'000;
  std::int64_t transfer_ns = 12'000;
  std::int64_t credit = 0;
  std::int64_t wobble_ns = 0;  // up to which each period begins late
  std::int64_t flush_ns = 0;
  std::int64_t now_ns = 0;
  std::int64_t moved = 0;
  std::int64_t moved_in_period = 0;
  int flushes = 0;
};

class BucketEngine : public FileEngine {
 public:
  BucketEngine(int depth, Bucket& bucket)
      : depth_(depth), bucket_(bucket), begun_ns_(static_cast<std::size_t>(depth)) {}
  std::string Flags() const override { return "bucket"; }
  bool ExactLatency() const override { return true; }
  std::int64_t Flush() override {
    ++bucket_.flushes;
    bucket_.now_ns += bucket_.flush_ns;
    return bucket_.flush_ns;
  }
  void Run(Feed& feed) override {
    std::deque<std::pair<int, Transfer>> in_flight;
    const auto take = [&](int slot) {
      if (const auto transfer = feed.Next(slot)) {
        in_flight.emplace_back(slot, *transfer);
        begun_ns_[static_cast<std::size_t>(slot)] = bucket_.now_ns;
      }
    };
    for (int slot = 0; slot < depth_; ++slot) take(slot);
    while (!in_flight.empty()) {
      const auto [slot, transfer] = in_flight.front();
      in_flight.pop_front();
      Move();
      feed.Done(slot, static_cast<std::int64_t>(transfer.data.size()),
                begun_ns_[static_cast<std::size_t>(slot)], bucket_.now_ns);
      take(slot);
    }
  }

 private:
  void Move() {
    const std::int64_t period = bucket_.now_ns / bucket_.period_ns;
    if (period != period_) bucket_.moved_in_period = 0;
    period_ = period;
    if (bucket_.credit > 0) {
      --bucket_.credit;
    } else if (++bucket_.moved_in_period > bucket_.per_period) {
      bucket_.now_ns = (++period_) * bucket_.period_ns;
      if (bucket_.wobble_ns > 0) {
        bucket_.now_ns +=
            static_cast<std::int64_t>(RandomAt(1, static_cast<std::uint64_t>(period_)) %
                                      static_cast<std::uint64_t>(bucket_.wobble_ns));
      }
      bucket_.moved_in_period = 1;
    }
    bucket_.now_ns += bucket_.transfer_ns;
    ++bucket_.moved;
  }

  const int depth_;
  Bucket& bucket_;
  std::int64_t period_ = 0;
  std::vector<std::int64_t> begun_ns_;
};

StorageOptions OnBucket(Bucket& bucket) {
  StorageOptions options = Small();
  options.engines = {{"bucket", [&bucket](const EngineSetup& setup) {
                        return std::make_unique<BucketEngine>(setup.depth, bucket);
                      }}};
  return options;
}

double RateOf(const std::vector<Batch>& spans) {
  double iterations = 0;
  double seconds = 0;
  for (const Batch& span : spans) {
    iterations += static_cast<double>(span.iterations);
    seconds += span.time.count();
  }
  return iterations / seconds;
}

TEST(Storage, AVolumeWithACapIsMeasuredAtItsCap) {
  const TemporaryFolder folder;
  for (const std::int64_t cap : {200, 500, 1000, 3000, 10'000, 40'000}) {
    for (const std::int64_t depth : {1, 32}) {
      for (const double length_s : {1.0, 1.5}) {
        Bucket bucket = {.per_period = cap / 10, .credit = cap / 10, .now_ns = 31'234'567};
        const auto workload = Prepare({.storage_path = folder.Path()}, OnBucket(bucket),
                                      Pattern("randread", 4096, depth));
        const std::vector<Batch> spans =
            workload->RunSpans({.ramp = Seconds(0.5), .length = Seconds(length_s), .count = 1});
        ASSERT_EQ(spans.size(), 1u);
        EXPECT_GE(spans[0].time.count(), length_s);
        EXPECT_NEAR(RateOf(spans) / static_cast<double>(cap), 1, 0.01)
            << cap << " at depth " << depth << " over " << length_s;
      }
    }
  }
}

TEST(Storage, SpansEndBetweenTheLumpsThatAVolumeWithACapMoves) {
  const TemporaryFolder folder;
  // Lumps of 300 take 60 ms, and begin up to 25 ms late.
  Bucket bucket = {.per_period = 300, .transfer_ns = 200'000, .wobble_ns = 25'000'000};
  const auto workload =
      Prepare({.storage_path = folder.Path()}, OnBucket(bucket), Pattern("randread", 4096, 32));
  const std::vector<Batch> spans =
      workload->RunSpans({.ramp = Seconds(0.5), .length = Seconds(1), .count = 15});
  ASSERT_EQ(spans.size(), 15u);
  double most = 0;
  for (const Batch& span : spans) {
    EXPECT_EQ(span.iterations % 300, 0);
    most = std::max(most, std::abs(RateOf({span}) / 3000 - 1));
  }
  EXPECT_LT(most, 0.025) << "the late beginnings alone";
  EXPECT_NEAR(RateOf(spans), 3000, 3000 * 0.025 / 15);
  const auto of_spans = [&] {
    double iterations = 0;
    for (const Batch& span : spans) iterations += static_cast<double>(span.iterations);
    return iterations;
  };
  EXPECT_EQ(OperationsOf(workload->Histograms().at("latency_s")), of_spans());
}

TEST(Storage, EveryWritePaysAnEqualShareOfTheFlushBehindThem) {
  const TemporaryFolder folder;
  Bucket bucket = {.per_period = 1'000'000, .transfer_ns = 100'000, .flush_ns = 600'000'000};
  const auto workload =
      Prepare({.storage_path = folder.Path()}, OnBucket(bucket), Pattern("randwrite", 4096, 4));
  for (int visit = 0; visit < 2; ++visit) {
    const std::int64_t moved_before = bucket.moved;
    const std::vector<Batch> spans =
        workload->RunSpans({.ramp = Seconds(0.25), .length = Seconds(1), .count = 2});
    ASSERT_EQ(spans.size(), 2u);
    EXPECT_EQ(bucket.flushes, visit + 1);
    const double share_s = 0.6 / static_cast<double>(bucket.moved - moved_before);
    for (const Batch& span : spans) {
      const auto iterations = static_cast<double>(span.iterations);
      EXPECT_NEAR(span.time.count() / iterations, 100e-6, 1e-9);
      EXPECT_NEAR(span.stable->count() / iterations, 100e-6 + share_s, 1e-9);
    }
    // A flush of 0.6 s takes a good fifth of the rate of 2.25 s of writing and up to two eighths
    // more.
    const double seconds = static_cast<double>(bucket.moved - moved_before) * 100e-6;
    EXPECT_NEAR(seconds, 2.375, 0.126);
    EXPECT_NEAR(spans[0].stable->count() / spans[0].time.count(), 1 + 0.6 / seconds, 0.001);
  }
}

TEST(Storage, RatesOfJobsAddUp) {
  const TemporaryFolder folder;
  Params params = Pattern("randread", 4096, 1);
  params["jobs"] = std::int64_t{2};
  std::vector<Bucket> buckets = {{.per_period = 100}, {.per_period = 300}};
  std::size_t made = 0;
  StorageOptions options = Small();
  options.engines = {{"bucket", [&](const EngineSetup& setup) {
                        static Bucket probed = {.per_period = 1};
                        // The first one asks whether there can be such an engine.
                        Bucket& bucket = made++ < 1 ? probed : buckets.at((made - 2) % 2);
                        return std::make_unique<BucketEngine>(setup.depth, bucket);
                      }}};
  const Probe probe = StorageProbe({.storage_path = folder.Path()}, options);
  const Case which = probe.unfold(With(probe, params)).front();
  made = 0;
  Prepared prepared = which.prepare(1);
  const std::vector<Batch> spans = std::get<std::unique_ptr<Workload>>(prepared)->RunSpans(
      {.ramp = Seconds(0.5), .length = Seconds(1), .count = 2});
  EXPECT_NEAR(RateOf(spans), 4000, 20);
}

TEST(Traffic, AloneInFlightEveryTransferCountsFromItsBeginning) {
  std::vector<std::byte> buffers(4096);
  Traffic traffic({.block_bytes = 4096, .blocks = 1000}, 1, buffers);
  ScriptedEngine engine(1);
  for (const std::int64_t begin : {0, 30}) {
    traffic.Begin(30);
    engine.Run(traffic);
    EXPECT_EQ(traffic.BeginNs(), begin);
    EXPECT_EQ(traffic.EndNs(), begin + 30);
  }
  EXPECT_EQ(engine.seen.size(), 60u);
}

TEST(Traffic, VisitsItsPartOfTheFileOnceAPass) {
  std::vector<std::byte> buffers(4 * 4096);
  Traffic traffic({.random = true, .block_bytes = 4096, .first_byte = 1 << 16, .blocks = 64}, 4,
                  buffers);
  ScriptedEngine engine(4);
  traffic.Begin(30);
  engine.Run(traffic);
  traffic.Begin(34);
  engine.Run(traffic);
  EXPECT_EQ(traffic.Finished(), 64);
  std::set<std::int64_t> offsets;
  for (const Transfer& transfer : engine.seen) offsets.insert(transfer.offset);
  EXPECT_EQ(offsets.size(), 64u);
  EXPECT_EQ(*offsets.begin(), 1 << 16);
  EXPECT_EQ(*offsets.rbegin(), (1 << 16) + 63 * 4096);
}

TEST(Traffic, BeginsNoMoreAfterAFailureAndLetsTheRestEnd) {
  std::vector<std::byte> buffers(4 * 4096);
  Traffic traffic({.block_bytes = 4096, .blocks = 100}, 4, buffers);
  ScriptedEngine engine(4, {4096, -EIO, -EIO, 512});
  traffic.Begin(100);
  engine.Run(traffic);
  EXPECT_EQ(engine.seen.size(), 5u);  // four, and one after the first success
  EXPECT_EQ(traffic.Finished(), 2);
  EXPECT_EQ(traffic.Failures(), (std::map<std::string, std::int64_t>{{"EIO", 2}, {"short", 1}}));
}

TEST(Storage, AnIoErrorFailsTheCaseWithItsName) {
  const TemporaryFolder folder;
  const auto workload =
      Prepare({.storage_path = folder.Path()}, Scripted({4096, -EIO}), Pattern("randread"));
  EXPECT_THAT(SentenceOf([&] { workload->Run(100); }),
              HasSubstr("1 of 9 reads of the test file failed (1 EIO); look at"));
}

TEST(Storage, TryAgainAndShortReadsAreCountedByName) {
  const TemporaryFolder folder;
  const auto workload =
      Prepare({.storage_path = folder.Path()}, Scripted({-EAGAIN, 100}), Pattern("seqread"));
  EXPECT_THAT(SentenceOf([&] { workload->Run(100); }), HasSubstr("(1 EAGAIN, 1 short)"));
}

// psync, but with a fault between it and the disk.
class FaultyEngine : public FileEngine, private Feed {
 public:
  using Fault = std::function<void(const Transfer&)>;
  FaultyEngine(std::unique_ptr<FileEngine> engine, int depth, bool lose_writes, Fault fault)
      : engine_(std::move(engine)),
        last_(static_cast<std::size_t>(depth)),
        lose_writes_(lose_writes),
        fault_(std::move(fault)) {}
  std::string Flags() const override { return "faulty"; }
  bool ExactLatency() const override { return true; }
  std::int64_t Flush() override { return engine_->Flush(); }
  void Run(Feed& feed) override {
    feed_ = &feed;
    engine_->Run(*this);
  }

 private:
  std::optional<Transfer> Next(int slot) override {
    std::optional<Transfer> transfer = feed_->Next(slot);
    if (!transfer) return transfer;
    last_[static_cast<std::size_t>(slot)] = *transfer;
    if (transfer->write && lose_writes_) transfer->write = false;
    return transfer;
  }
  void Done(int slot, std::int64_t result, std::int64_t begin_ns, std::int64_t end_ns) override {
    if (fault_) fault_(last_[static_cast<std::size_t>(slot)]);
    feed_->Done(slot, result, begin_ns, end_ns);
  }

  std::unique_ptr<FileEngine> engine_;
  std::vector<Transfer> last_;
  const bool lose_writes_;
  const Fault fault_;
  Feed* feed_ = nullptr;
};

StorageOptions Faulty(bool lose_writes, FaultyEngine::Fault fault) {
  StorageOptions options = Small();
  options.engines = {{"faulty", [=](const EngineSetup& setup) -> MadeEngine {
                        return std::make_unique<FaultyEngine>(
                            std::get<std::unique_ptr<FileEngine>>(MakePsync(setup)), setup.depth,
                            lose_writes, fault);
                      }}};
  return options;
}

TEST(Storage, AReadThatBringsAWrongByteIsWrong) {
  const TemporaryFolder folder;
  const auto flip = [](const Transfer& transfer) { transfer.data[1234] ^= std::byte{4}; };
  const auto workload =
      Prepare({.storage_path = folder.Path()}, Faulty(false, flip), Pattern("randread", 8192, 4));
  workload->Run(100);
  const Checked checked = workload->Verify();
  EXPECT_GE(checked.checked, 1);  // a thread that starves has read nothing
  EXPECT_EQ(checked.wrong, checked.checked);
  ASSERT_TRUE(checked.what);
  EXPECT_THAT(*checked.what, HasSubstr("is wrong from its byte 1232 on"));
}

TEST(Storage, AWriteThatNeverReachesTheFileIsWrong) {
  const TemporaryFolder folder;
  const auto workload =
      Prepare({.storage_path = folder.Path()}, Faulty(true, {}), Pattern("randwrite"));
  workload->Run(100);
  const Checked checked = workload->Verify();
  EXPECT_GE(checked.checked, 100);
  EXPECT_EQ(checked.wrong, checked.checked);
  EXPECT_THAT(checked.what.value_or(""), HasSubstr("not of write"));
}

struct Real {
  std::string backend;
  std::string pattern;
  std::int64_t depth;
};

void PrintTo(const Real& real, std::ostream* out) {
  *out << real.backend << "_" << real.pattern << "_" << real.depth;
}

class RealStorage : public testing::TestWithParam<Real> {};

TEST_P(RealStorage, MovesWhatItSaysAndMovesItRight) {
  const TemporaryFolder folder;
  const Probe probe =
      StorageProbe({.storage_path = folder.Path(), .backends = {GetParam().backend}}, Small());
  const Case which =
      probe.unfold(With(probe, Pattern(GetParam().pattern, 8192, GetParam().depth))).front();
  Prepared prepared = which.prepare(3);
  if (const Skipped* no = std::get_if<Skipped>(&prepared)) GTEST_SKIP() << no->reason;
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);

  for (const std::int64_t iterations : {1, 700, 50}) {  // 700: more than the file has blocks
    const Batch batch = workload.Run(iterations);
    // A transfer that ends in the same reap as the one before has taken no time that could be told.
    EXPECT_GE(batch.time.count(), 0);
    EXPECT_TRUE(batch.time.count() > 0 || iterations < GetParam().depth);
    EXPECT_FALSE(batch.stable.has_value());
    const Checked checked = workload.Verify();
    EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
    EXPECT_GE(checked.checked, 1);
  }

  EXPECT_EQ(OperationsOf(workload.Histograms().at("latency_s")), 751);
  EXPECT_EQ(which.backend, GetParam().backend);
  EXPECT_EQ(which.work.bytes, 8192);
  EXPECT_EQ(which.work.ops, 1);
  const Facts facts = workload.Describe();
  EXPECT_EQ(std::get<std::int64_t>(facts.at("file_bytes")), 4 * kMiB);
  EXPECT_GT(std::get<double>(facts.at("cpu_s_per_op")), 0);
  EXPECT_EQ(TextOf(facts, "lat"),
            GetParam().backend == "io_uring" && GetParam().depth >= 8 ? "per_reap" : "exact");
}

INSTANTIATE_TEST_SUITE_P(
    EngineAndPattern, RealStorage, testing::ValuesIn([] {
      std::vector<Real> all;
      for (const char* backend : {"io_uring", "psync"}) {
        for (const char* pattern : {"seqread", "seqwrite", "randread", "randwrite"}) {
          for (const std::int64_t depth : {1, 16}) all.push_back({backend, pattern, depth});
        }
      }
      return all;
    }()),
    testing::PrintToStringParamName());

TEST(Storage, SeveralJobsShareTheWorkAndTheFile) {
  const TemporaryFolder folder;
  Params params = Pattern("randwrite");
  params["jobs"] = std::int64_t{3};
  const auto workload = Prepare({.storage_path = folder.Path()}, Small(), params);
  workload->Run(301);
  const Checked checked = workload->Verify();
  EXPECT_GE(checked.checked, 3) << "of each job, as many as a quarter of a second allows";
  EXPECT_EQ(OperationsOf(workload->Histograms().at("latency_s")), 301);
  EXPECT_EQ(checked.wrong, 0) << checked.what.value_or("");
}

TEST(Storage, FewerIterationsThanJobsStillTakeTime) {
  const TemporaryFolder folder;
  Params params = Pattern("randread", 4096, 1);
  params["jobs"] = std::int64_t{3};
  const auto workload = Prepare({.storage_path = folder.Path()}, Small(), params);
  for (int i = 0; i < 3; ++i) {
    const Batch batch = workload->Run(2);
    EXPECT_GT(batch.time.count(), 0);
    EXPECT_LT(batch.time.count(), 1);
  }
}

TEST(Storage, TheEngineMakesARecordOfIt) {
  const TemporaryFolder folder;
  const Probe probe = StorageProbe({.storage_path = folder.Path()}, Small());
  Observer observer;
  const std::vector<Record> records =
      Measure(probe.unfold(With(probe, Pattern("randwrite"))),
              {.rounds = 2, .max_spans_case = Seconds(2.5)}, observer);
  ASSERT_EQ(records.size(), 1u);
  const Record& record = records.front();
  EXPECT_EQ(record.status, Status::kOk) << record.reason;
  ASSERT_EQ(record.rounds.size(), 2u);
  for (const Visit& visit : record.rounds) {
    ASSERT_EQ(visit.iterations.size(), 1u);
    EXPECT_GE(static_cast<double>(visit.iterations[0]) * visit.time_s[0], 1);
    ASSERT_EQ(visit.stable_time_s.size(), 1u);
    EXPECT_GE(visit.stable_time_s[0], visit.time_s[0]);
  }
  EXPECT_EQ(record.storage, 0);
  EXPECT_GT(OperationsOf(record.histograms.at("latency_s")), 0);
  ASSERT_TRUE(record.verify);
  EXPECT_EQ(record.verify->wrong, 0);
}

TEST(Storage, CasesOfARunShareOneFile) {
  const TemporaryFolder folder;
  const Probe probe = StorageProbe({.storage_path = folder.Path()}, Small());
  const Case writes = probe.unfold(With(probe, Pattern("randwrite"))).front();
  const Case reads = probe.unfold(With(probe, Pattern("randread"))).front();
  {
    Prepared written = writes.prepare(1);
    std::get<std::unique_ptr<Workload>>(written)->Run(500);
  }
  // The other case's writes have this file's stamps, which are in another file by chance only.
  Prepared prepared = reads.prepare(2);
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
  workload.Run(1000);
  EXPECT_EQ(workload.Verify().wrong, 0);
}

TEST(Storage, UnfoldsIntoTheBestBackendOrThoseAskedFor) {
  const TemporaryFolder folder;
  const auto backends = [&](const std::vector<std::string>& asked) {
    const Probe probe = StorageProbe({.storage_path = folder.Path(), .backends = asked}, Small());
    std::vector<std::string> names;
    for (const Case& one : probe.unfold(probe.defaults)) names.push_back(one.backend);
    return names;
  };
  EXPECT_EQ(backends({}).size(), 1u);
  EXPECT_THAT(backends({"psync"}), ElementsAre("psync"));
  EXPECT_THAT(backends({"psync", "onednn", "io_uring"}), ElementsAre("io_uring", "psync"));
  EXPECT_EQ(backends({"onednn"}).size(), 0u);
  const EngineFactory refuses = [](const EngineSetup&) {
    return MadeEngine(Skipped{.reason = "not here", .remedy = "elsewhere"});
  };
  const Probe probe = StorageProbe({}, {.engines = {{"one", MakePsync}, {"other", refuses}}});
  EXPECT_THAT(probe.backends, ElementsAre("one", "other"));
  const std::map<std::string, Skipped> absent = probe.absent();
  EXPECT_EQ(absent.size(), 1u);
  EXPECT_EQ(absent.at("other").reason, "not here");
}

TEST(Storage, SenselessParamsAreRefusedByName) {
  const TemporaryFolder folder;
  const Probe probe = StorageProbe({.storage_path = folder.Path()}, Small());
  const auto refusal = [&](const Params& changed) {
    return SentenceOf([&] { probe.unfold(With(probe, changed)); });
  };
  EXPECT_THAT(refusal({{"pattern", std::string("read")}}), HasSubstr("pattern is 'read'"));
  EXPECT_THAT(refusal({{"block_bytes", std::int64_t{5000}}}), HasSubstr("a multiple of 4096"));
  EXPECT_THAT(refusal({{"block_bytes", std::int64_t{0}}}), HasSubstr("block_bytes is 0"));
  EXPECT_THAT(refusal({{"depth", std::int64_t{0}}}), HasSubstr("depth is 0"));
  EXPECT_THAT(refusal({{"jobs", std::int64_t{-1}}}), HasSubstr("jobs is -1"));
  EXPECT_THAT(refusal({{"depth", std::int64_t{1024}}, {"block_bytes", 64 * kMiB}}),
              HasSubstr("1 GiB of buffers"));
  EXPECT_TRUE(folder.IsEmpty());
}

TEST(Storage, AFileThatAssayDidNotMakeIsRefusedAndStaysAsItIs) {
  const TemporaryFolder folder;
  Write(folder / "precious", "data");
  const Probe probe = StorageProbe({.storage_path = folder / "precious"}, Small());
  EXPECT_THAT(SentenceOf([&] { probe.unfold(probe.defaults); }),
              HasSubstr("is a file that assay did not make"));
  std::string text;
  std::ifstream(folder / "precious") >> text;
  EXPECT_EQ(text, "data");
}

TEST(Storage, ABlockDeviceIsRefused) {
  std::string device;
  for (const auto& entry : std::filesystem::directory_iterator("/dev")) {
    if (entry.is_block_file()) device = entry.path();
  }
  if (device.empty()) GTEST_SKIP() << "there is no block device in /dev";
  const Probe probe = StorageProbe({.storage_path = device}, Small());
  EXPECT_THAT(SentenceOf([&] { probe.unfold(probe.defaults); }), HasSubstr("is a block device"));
}

TEST(Storage, AFolderThatIsNotThereIsAnError) {
  const Probe probe = StorageProbe({.storage_path = "/nowhere/at/all"}, Small());
  EXPECT_THAT(SentenceOf([&] { probe.unfold(probe.defaults); }),
              HasSubstr("\"/nowhere/at/all\" can't be used (ENOENT)"));
}

TEST(Storage, MemoryFileSystemsAreNeverDirect) {
  struct statfs fs = {};
  if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC) GTEST_SKIP() << "no /dev/shm";
  const TemporaryFolder folder("/dev/shm");
  const auto workload = Prepare({.storage_path = folder.Path()}, Small(), Pattern("randread"));
  workload->Run(100);
  EXPECT_EQ(workload->Verify().wrong, 0);
  EXPECT_EQ(TextOf(workload->Describe(), "direct"), "refuted");
}

TEST(Storage, DirectIsProvedWhereTheKernelStatesIt) {
  const TemporaryFolder folder;
  struct statfs fs = {};
  ASSERT_EQ(statfs(folder.Path().c_str(), &fs), 0);
  struct statx status = {};
  Write(folder / "file", "x");
  statx(AT_FDCWD, (folder / "file").c_str(), 0, STATX_DIOALIGN, &status);
  if ((fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC) ||
      (status.stx_mask & STATX_DIOALIGN) == 0) {
    GTEST_SKIP() << "the build tree is not on ext4 or xfs with STATX_DIOALIGN";
  }
  const Probe probe = StorageProbe({.storage_path = folder.Path()}, Small());
  const auto facts = [&](bool direct) {
    Params params = Pattern("randread");
    params["direct"] = direct;
    Prepared prepared = probe.unfold(With(probe, params)).front().prepare(1);
    return std::get<std::unique_ptr<Workload>>(prepared)->Describe();
  };
  EXPECT_EQ(TextOf(facts(true), "direct"), "proved") << TextOf(facts(true), "direct_how");
  EXPECT_EQ(TextOf(facts(true), "extents"), "written");
  EXPECT_EQ(TextOf(facts(false), "direct"), "not_asked");
}

TEST(TestFile, DirectReadsLeaveNothingInThePageCacheAndOthersDo) {
  const TemporaryFolder folder;
  const auto made = TestFile::Make(folder.Path(), Small().file);
  const TestFile& file = *std::get<std::shared_ptr<TestFile>>(made);
  if (file.GetDirect().verdict != "proved") GTEST_SKIP() << file.GetDirect().how;
  ASSERT_EQ(file.DropCache(), 0);
  const Slab slab(static_cast<std::size_t>(kMiB));
  ASSERT_EQ(pread(file.Open(true).Number(), slab.Bytes().data(), slab.Bytes().size(), 0), kMiB);
  EXPECT_EQ(file.CachedFraction(0, kMiB), 0);
  ASSERT_EQ(pread(file.Open(false).Number(), slab.Bytes().data(), slab.Bytes().size(), 0), kMiB);
  EXPECT_EQ(file.CachedFraction(0, kMiB), 1);
  EXPECT_EQ(file.DropCache(), 0);
}

TEST(TestFile, IsFullOfBlocksThatAreAllDifferent) {
  const TemporaryFolder folder;
  const auto made = TestFile::Make(folder.Path(), Small().file);
  const TestFile& file = *std::get<std::shared_ptr<TestFile>>(made);
  ASSERT_EQ(file.Bytes(), 4 * kMiB);
  std::vector<std::byte> data(static_cast<std::size_t>(file.Bytes()));
  ASSERT_EQ(pread(file.Open(false).Number(), data.data(), data.size(), 0), file.Bytes());
  EXPECT_EQ(CheckStamps(data, 0, file.Salt(), {}), std::nullopt);
  std::set<std::string> bodies;
  for (std::size_t at = 0; at < data.size(); at += 4096) {
    bodies.emplace(reinterpret_cast<const char*>(&data[at + 32]), 4096 - 32);
  }
  EXPECT_EQ(bodies.size(), data.size() / 4096);
}

TEST(TestFile, HolesAndUnwrittenExtentsAreFound) {
  const TemporaryFolder folder;
  const Descriptor file(open((folder / "file").c_str(), O_RDWR | O_CREAT, 0600));
  if (fallocate(file.Number(), 0, 0, kMiB) != 0 || !MapExtents(file.Number(), kMiB).known) {
    GTEST_SKIP() << "the build tree's file system has no FIEMAP";
  }
  EXPECT_EQ(MapExtents(file.Number(), kMiB).first_unwritten, 0);
  const std::string data(static_cast<std::size_t>(kMiB / 2), 'x');
  ASSERT_EQ(pwrite(file.Number(), data.data(), data.size(), 0), std::ssize(data));
  EXPECT_EQ(MapExtents(file.Number(), kMiB).first_unwritten, kMiB / 2);
  ASSERT_EQ(pwrite(file.Number(), data.data(), data.size(), kMiB / 2), std::ssize(data));
  EXPECT_EQ(MapExtents(file.Number(), kMiB).first_unwritten, std::nullopt);
  ASSERT_EQ(ftruncate(file.Number(), 2 * kMiB), 0);
  EXPECT_EQ(MapExtents(file.Number(), 2 * kMiB).first_unwritten, kMiB);
}

TEST(TestFile, HasNoNameWhileItIsUsed) {
  for (const bool may_be_nameless : {true, false}) {
    const TemporaryFolder folder;
    TestFileOptions options = Small().file;
    options.may_be_nameless = may_be_nameless;
    const auto made = TestFile::Make(folder.Path(), options);
    ASSERT_TRUE(std::holds_alternative<std::shared_ptr<TestFile>>(made));
    EXPECT_TRUE(folder.IsEmpty());
  }
}

TEST(TestFile, NothingIsLeftByInterruptOrKill) {
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    for (const bool may_be_nameless : {true, false}) {
      const TemporaryFolder folder;
      int ready[2] = {};
      ASSERT_EQ(pipe(ready), 0);
      const pid_t child = fork();
      if (child == 0) {
        std::signal(signal, SIG_DFL);  // a shell's background jobs are started with SIGINT ignored
        StorageOptions options = Small();
        options.file.may_be_nameless = may_be_nameless;
        const auto workload =
            Prepare({.storage_path = folder.Path()}, options, Pattern("randwrite"));
        if (write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) workload->Run(1000);
      }
      char byte = 0;
      ASSERT_EQ(read(ready[0], &byte, 1), 1);
      kill(child, signal);
      int status = 0;
      waitpid(child, &status, 0);
      close(ready[0]);
      close(ready[1]);
      EXPECT_TRUE(WIFSIGNALED(status));
      EXPECT_EQ(WTERMSIG(status), signal);
      EXPECT_TRUE(folder.IsEmpty());
    }
  }
}

TEST(RemoveTestFiles, RemovesTheNameThatIsPendingAndNoOther) {
  const TemporaryFolder folder;
  Write(folder / "other", "");
  {
    const PendingName pending(folder / "name");
    Write(folder / "name", "");
    RemoveTestFiles();
    EXPECT_FALSE(std::filesystem::exists(folder / "name"));
  }
  Write(folder / "name", "");
  RemoveTestFiles();
  EXPECT_TRUE(std::filesystem::exists(folder / "name"));
  EXPECT_TRUE(std::filesystem::exists(folder / "other"));
}

TEST(TestFile, AVolumeWithoutRoomIsSkippedWithItsFreeSpace) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small tmpfs takes root";
  const TemporaryFolder folder;
  const int status = InChild([&] {
    if (unshare(CLONE_NEWNS) != 0) return 77;
    mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (mount("tmpfs", folder.Path().c_str(), "tmpfs", 0, "size=32m") != 0) return 77;
    const auto made = TestFile::Make(folder.Path(), {});
    if (!std::holds_alternative<Skipped>(made)) return 1;
    if (std::get<Skipped>(made).reason.find("32 MiB free") == std::string::npos) return 2;
    // With a reserve that fits, the file takes what the reserve leaves.
    const auto fits =
        TestFile::Make(folder.Path(), {.least_bytes = kMiB, .reserve_bytes = 16 * kMiB});
    return std::get<std::shared_ptr<TestFile>>(fits)->Bytes() == 16 * kMiB ? 0 : 3;
  });
  if (status == 77) GTEST_SKIP() << "no mount namespace may be made here";
  EXPECT_EQ(status, 0);
}

// The test holds 200 of the 384 MiB of a control group itself, and a file by the limit alone would
// have 192.
TEST(TestFile, AControlGroupOfMemoryIsNotOutgrown) {
  const TemporaryFolder folder("/dev/shm");
  const std::filesystem::path group =
      "/sys/fs/cgroup/memory/assay-test-" + std::to_string(getpid());
  std::error_code error;
  if (!std::filesystem::create_directory(group, error)) {
    GTEST_SKIP() << "no control group of memory (v1) can be made here";
  }
  const int status = InChild([&] {
    std::ofstream(group / "memory.limit_in_bytes") << 384 * kMiB;
    std::ofstream(group / "cgroup.procs") << getpid();
    const Slab held(200 * kMiB);
    const auto made = TestFile::Make(folder.Path(), {});
    const auto* file = std::get_if<std::shared_ptr<TestFile>>(&made);
    if (file == nullptr) return 1;
    if ((*file)->SizedBy() != "the memory that can be had") return 2;
    const std::int64_t bytes = (*file)->Bytes();
    return bytes >= 64 * kMiB && bytes <= 92 * kMiB ? 0 : 3;
  });
  std::filesystem::remove(group, error);
  EXPECT_EQ(status, 0);
}

// Files that this process writes may have so many bytes.
void LimitFileSize(std::int64_t bytes) {
  signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {.rlim_cur = static_cast<rlim_t>(bytes),
                        .rlim_max = static_cast<rlim_t>(bytes)};
  setrlimit(RLIMIT_FSIZE, &limit);
}

TEST(TestFile, OneThatCannotBeFilledIsAnErrorWithItsReason) {
  const TemporaryFolder folder;
  EXPECT_EQ(InChild([&] {
              TestFileOptions options = Small().file;
              options.bytes = 16 * kMiB;
              const auto begun = TestFile::Begin(folder.Path(), options);
              LimitFileSize(10 * kMiB);
              const std::string sentence =
                  SentenceOf([&] { std::get<std::shared_ptr<TestFile>>(begun)->Finish(); });
              return sentence.find("can't be filled (EFBIG)") != std::string::npos ? 0 : 1;
            }),
            0);
  EXPECT_TRUE(folder.IsEmpty());
}

TEST(TestFile, TheLimitOnTheSizeOfFilesBoundsItOrSkipsItByName) {
  const TemporaryFolder folder;
  EXPECT_EQ(InChild([&] {
              LimitFileSize(2 * kMiB);
              const auto bounded = TestFile::Make(folder.Path(), Small().file);
              const TestFile& file = *std::get<std::shared_ptr<TestFile>>(bounded);
              if (file.Bytes() != 2 * kMiB) return 1;
              if (file.SizedBy().find("ulimit -f") == std::string::npos) return 2;
              LimitFileSize(kMiB - 1);
              const auto skipped = TestFile::Make(folder.Path(), Small().file);
              const Skipped* no = std::get_if<Skipped>(&skipped);
              if (no == nullptr || no->reason.find("EFBIG") == std::string::npos) return 3;
              return no->remedy.find("ulimit -f") != std::string::npos ? 0 : 4;
            }),
            0);
}

TEST(TestFile, WhatMayLieInMemoryTakesHalfOfWhatCanBeHad) {
  const TemporaryFolder folder;
  ScriptedKernel memory;
  memory.Mount("0:25", "tmpfs", "tmpfs", "rw");
  ScriptedKernel unknown;
  unknown.Mount("0:25", "virtiofs", "share", "rw");
  ScriptedKernel disk;
  disk.Disk("nvme1n1", "259:1", kLocalModel);
  disk.Mount("259:1", "ext4", "/dev/nvme1n1", "rw");
  const auto make = [&](const ScriptedKernel& kernel, std::int64_t available) {
    TestFileOptions options = Small().file;
    options.kernel = kernel.Roots();
    options.kernel.place = [&](const std::string&) {
      return kernel.Roots().place(kernel / "data");
    };
    options.available_memory = [=] { return available; };
    return TestFile::Begin(folder.Path(), options);
  };
  for (const ScriptedKernel* kernel : {&memory, &unknown}) {
    const auto half = make(*kernel, 4 * kMiB + 2);
    EXPECT_EQ(std::get<std::shared_ptr<TestFile>>(half)->Bytes(), 2 * kMiB);
    EXPECT_EQ(std::get<std::shared_ptr<TestFile>>(half)->SizedBy(), "the memory that can be had");
    const auto least = make(*kernel, 2 * kMiB);
    EXPECT_EQ(std::get<std::shared_ptr<TestFile>>(least)->Bytes(), kMiB);
    const auto none = make(*kernel, 2 * kMiB - 2);
    ASSERT_TRUE(std::holds_alternative<Skipped>(none));
    EXPECT_THAT(std::get<Skipped>(none).reason, HasSubstr("more than half of the 1 MiB"));
  }
  const auto whole = make(disk, kMiB);
  EXPECT_EQ(std::get<std::shared_ptr<TestFile>>(whole)->Bytes(), 4 * kMiB);
}

TEST(TestFile, WhatLiesBelowRefutesDirectAndTheUnknownLeavesItUnproven) {
  const TemporaryFolder folder;
  ScriptedKernel buffered;
  buffered.Loop("loop5", "7:5", "0", "none");
  buffered.Mount("7:5", "ext4", "/dev/loop5", "rw");
  ScriptedKernel unknown;
  unknown.Virtual("nbd0", "43:0");
  unknown.Mount("43:0", "ext4", "/dev/nbd0", "rw");
  const auto direct = [&](const ScriptedKernel& kernel) {
    TestFileOptions options = Small().file;
    options.kernel = kernel.Roots();
    options.kernel.place = [&](const std::string&) {
      return kernel.Roots().place(kernel / "data");
    };
    const auto made = TestFile::Make(folder.Path(), options);
    return std::get<std::shared_ptr<TestFile>>(made)->GetDirect();
  };
  EXPECT_EQ(direct(buffered).verdict, "refuted");
  EXPECT_THAT(direct(buffered).how, HasSubstr("loop5 does its file's I/O through the page cache"));
  EXPECT_NE(direct(unknown).verdict, "proved");
}

// The file of a storage case is read in passes through the page cache.
std::unique_ptr<Workload> PageCacheReads(const TemporaryFolder& folder, const std::string& pattern,
                                         const std::string& cache) {
  Params params = Pattern(pattern, 65536, 4);
  params["direct"] = false;
  params["cache"] = cache;
  StorageOptions options = Small();
  options.file.bytes = 64 * kMiB;  // a quarter is more than what is read ahead
  return Prepare({.storage_path = folder.Path()}, options, params);
}

TEST(Storage, ColdReadsFindNoBlockThatAnEarlierPassBroughtAndWarmOnesFindAll) {
  const TemporaryFolder folder;
  struct statfs fs = {};
  ASSERT_EQ(statfs(folder.Path().c_str(), &fs), 0);
  if (fs.f_type == TMPFS_MAGIC) GTEST_SKIP() << "the build tree's file system is in memory";
  for (const std::string pattern : {"randread", "seqread"}) {
    const auto cold = PageCacheReads(folder, pattern, "cold");
    cold->Run(5000);  // of 1,024 blocks
    EXPECT_EQ(cold->Verify().wrong, 0);
    EXPECT_EQ(std::get<double>(cold->Describe().at("cached_before")), 0);
    EXPECT_LE(std::get<double>(cold->Describe().at("cached_reads")), 0.02) << pattern;
    const auto warm = PageCacheReads(folder, pattern, "warm");
    warm->Run(5000);
    EXPECT_EQ(std::get<double>(warm->Describe().at("cached_before")), 1);
    EXPECT_EQ(std::get<double>(warm->Describe().at("cached_reads")), 1) << pattern;
  }
}

TEST(Storage, WarmIsOfReadsThroughThePageCacheAlone) {
  const TemporaryFolder folder;
  Params params = Pattern("randread");
  params["cache"] = std::string("warm");
  EXPECT_THAT(SentenceOf([&] { Prepare({.storage_path = folder.Path()}, Small(), params); }),
              HasSubstr("direct ones pass it by"));
  params["direct"] = false;
  params["pattern"] = std::string("randwrite");
  EXPECT_THAT(SentenceOf([&] { Prepare({.storage_path = folder.Path()}, Small(), params); }),
              HasSubstr("and this writes"));
  params["cache"] = std::string("tepid");
  EXPECT_THAT(SentenceOf([&] { Prepare({.storage_path = folder.Path()}, Small(), params); }),
              HasSubstr("storage: cache is 'tepid'; give one of: cold, warm"));
}

TEST(Storage, BuffersLargerThanHalfOfWhatCanBeHadAreSkipped) {
  const TemporaryFolder folder;
  StorageOptions options = Small();
  options.file.available_memory = [] { return kMiB; };
  EXPECT_THAT(SentenceOf([&] {
                Prepare({.storage_path = folder.Path()}, options, Pattern("randread", 65536, 9));
              }),
              HasSubstr("buffers are more than half of the 1 MiB"));
  EXPECT_EQ(SentenceOf([&] {
              Prepare({.storage_path = folder.Path()}, options, Pattern("randread", 65536, 8));
            }),
            "(no error)");
}

TEST(Traffic, EveryWriteHasABodyOfItsOwnAtAnySizeAndDepth) {
  for (const std::int64_t block_bytes : {4096, 65536}) {
    for (const int depth : {1, 4}) {
      const TrafficOptions options = {.write = true, .block_bytes = block_bytes, .blocks = 16};
      std::vector<std::byte> buffers(static_cast<std::size_t>(block_bytes) *
                                     Traffic::BuffersFor(options, depth));
      Traffic traffic(options, depth, buffers);
      std::set<std::string> bodies;
      std::set<std::uint64_t> words;
      std::size_t written = 0;
      traffic.Begin(100);  // over the same blocks again and again
      for (int slot = 0; const auto transfer = traffic.Next(slot % depth); ++slot) {
        for (std::size_t at = 0; at < transfer->data.size(); at += 4096) {
          const auto body = transfer->data.subspan(at + 32, 4096 - 32);
          bodies.emplace(reinterpret_cast<const char*>(body.data()), body.size());
          for (std::size_t i = 0; i < body.size(); i += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, &body[i], 8);
            words.insert(word);
          }
          ++written;
        }
        traffic.Done(slot % depth, block_bytes, slot, slot + 1);
      }
      EXPECT_EQ(bodies.size(), written);
      EXPECT_EQ(words.size(), written * 508) << "and no eight bytes of it come twice";
    }
  }
}

TEST(Traffic, ContentsOfLargeWritesAreMadeAheadWithoutTouchingWhatIsInFlight) {
  const TrafficOptions options = {.write = true, .block_bytes = 65536, .blocks = 16, .salt = 5};
  std::vector<std::byte> buffers(65536 * Traffic::BuffersFor(options, 1));
  Traffic traffic(options, 1, buffers);
  traffic.Begin(40);
  EXPECT_TRUE(traffic.WantsTime());
  for (std::uint64_t k = 0; const auto transfer = traffic.Next(0); ++k) {
    ASSERT_TRUE(traffic.WantsTime());
    // Where there is no time it is made as always.
    if (k % 3 != 0) traffic.PrepareAhead();
    EXPECT_EQ(traffic.WantsTime(), k % 3 == 0);
    EXPECT_EQ(CheckStamps(transfer->data, transfer->offset, 5, k), std::nullopt);
    traffic.Done(0, 65536, static_cast<std::int64_t>(k), static_cast<std::int64_t>(k) + 1);
  }
  EXPECT_EQ(traffic.Finished(), 40);
}

TEST(Traffic, NothingElseHasASpareBuffer) {
  EXPECT_EQ(Traffic::BuffersFor({.write = true, .block_bytes = 1 << 20}, 7), 8u);
  EXPECT_EQ(Traffic::BuffersFor({.write = true, .block_bytes = 1 << 20}, 8), 8u);
  EXPECT_EQ(Traffic::BuffersFor({.write = true, .block_bytes = 61440}, 1), 1u);
  EXPECT_EQ(Traffic::BuffersFor({.write = false, .block_bytes = 1 << 20}, 1), 1u);
}

// A clock that says that each MiB of a file took so long.
TEST(TestFile, ASlowFillIsCutToItsTimeAndSaysSo) {
  const TemporaryFolder folder;
  const auto made = [&](double seconds_a_look) {
    TestFileOptions options = Small().file;
    options.bytes = 64 * kMiB;
    options.least_bytes = 12 * kMiB;
    options.now_ns = [now = std::int64_t{0}, seconds_a_look]() mutable {
      return now += static_cast<std::int64_t>(seconds_a_look * 1e9);
    };
    auto begun = TestFile::Begin(folder.Path(), options);
    return std::get<std::shared_ptr<TestFile>>(begun);
  };
  // The clock is looked at before each MiB beyond the least, and around each piece.
  const auto slow = made(1);
  EXPECT_GE(slow->FillSeconds(), Seconds(0.1));
  EXPECT_LE(slow->FillSeconds(), Seconds(20));
  slow->Finish();
  EXPECT_GE(slow->Bytes(), 12 * kMiB);
  EXPECT_LT(slow->Bytes(), 64 * kMiB);
  EXPECT_EQ(slow->SizedBy(), "20 s of its fill");
  EXPECT_FALSE(MapExtents(slow->Open(false).Number(), slow->Bytes()).first_unwritten);

  const auto crawling = made(100);
  crawling->Finish();
  EXPECT_EQ(crawling->Bytes(), 12 * kMiB) << "the least, however long it takes";

  const auto fast = made(0.0001);
  EXPECT_LT(fast->FillSeconds(), Seconds(1));
  fast->Finish();
  EXPECT_EQ(fast->Bytes(), 64 * kMiB);
  EXPECT_EQ(fast->SizedBy(), "");
}

// From here on io_uring_setup fails with `error`, as under a container's seccomp profile.
bool RefuseUring(std::uint32_t error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = std::size(program), .filter = program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(Storage, WhereUringIsRefusedThreadsDoTheWorkAndSaySo) {
  for (const int error : {EPERM, ENOSYS}) {
    const TemporaryFolder folder;
    const int status = InChild([&] {
      if (!RefuseUring(static_cast<std::uint32_t>(error))) return 77;
      const Probe probe = StorageProbe({.storage_path = folder.Path()}, Small());
      const Case which = probe.unfold(With(probe, Pattern("randread"))).front();
      if (which.backend != "psync") return 1;
      Prepared prepared = which.prepare(1);
      Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
      workload.Run(100);
      if (workload.Verify().wrong != 0) return 2;
      return TextOf(workload.Describe(), "flags") == "8_threads" ? 0 : 3;
    });
    if (status == 77) GTEST_SKIP() << "no seccomp filter may be set here";
    EXPECT_EQ(status, 0);
  }
}

TEST(Storage, UringAskedForByNameButRefusedIsSkippedWithARemedy) {
  const TemporaryFolder folder;
  const int status = InChild([&] {
    if (!RefuseUring(EPERM)) return 77;
    const Probe probe =
        StorageProbe({.storage_path = folder.Path(), .backends = {"io_uring"}}, Small());
    const Prepared prepared = probe.unfold(probe.defaults).front().prepare(1);
    const Skipped* no = std::get_if<Skipped>(&prepared);
    if (no == nullptr) return 1;
    if (no->reason.find("EPERM") == std::string::npos) return 2;
    return no->remedy.find("--backend psync") != std::string::npos ? 0 : 3;
  });
  if (status == 77) GTEST_SKIP() << "no seccomp filter may be set here";
  EXPECT_EQ(status, 0);
}

TEST(Uring, WithTooLittleLockableMemoryItRunsAndTheFlagIsMissing) {
  if (geteuid() != 0) GTEST_SKIP() << "giving up the right to lock memory takes root";
  const TemporaryFolder folder("/tmp");
  chmod(folder.Path().c_str(), 0777);
  const int status = InChild([&] {
    // Enough for the ring itself, too little for 512 KiB of buffers.
    const rlimit little = {.rlim_cur = 65536, .rlim_max = 65536};
    if (setrlimit(RLIMIT_MEMLOCK, &little) != 0 || setuid(65534) != 0) return 77;
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // else /proc/self stays root's
    const Probe probe =
        StorageProbe({.storage_path = folder.Path(), .backends = {"io_uring"}}, Small());
    Prepared prepared = probe.unfold(With(probe, Pattern("randread", 65536))).front().prepare(1);
    if (std::holds_alternative<Skipped>(prepared)) return 77;
    Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);
    workload.Run(100);
    if (workload.Verify().wrong != 0) return 1;
    const std::string flags = TextOf(workload.Describe(), "flags");
    return flags.find("fixed_buffers") == std::string::npos ? 0 : 2;
  });
  if (status == 77) GTEST_SKIP() << "io_uring is refused to other users here";
  EXPECT_EQ(status, 0);
}

TEST(Volume, CloudDisksAreKnownByTheirModel) {
  const std::pair<const char*, const char*> models[] = {
      {"Amazon EC2 NVMe Instance Storage", "local"},
      {"Amazon Elastic Block Store", "network"},
      {"nvme_card", "local"},
      {"nvme_card-pd", "network"},
      {"Microsoft NVMe Direct Disk v2", "local"},
      {"MSFT NVMe Accelerator v1.0", "network"},
      {"PersistentDisk", "network"},
      {"Some NVMe", "unknown"}};
  for (const auto& [model, kind] : models) {
    ScriptedKernel kernel;
    kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw,logbufs=8");
    const std::filesystem::path disk = kernel.Disk("nvme1n1", "259:1", model);
    Write(disk / "device/transport", "pcie\n");
    const Volume volume = kernel.Describe();
    EXPECT_EQ(volume.device, model);
    EXPECT_EQ(volume.kind, kind) << model;
    EXPECT_EQ(volume.fs, "xfs");
    EXPECT_EQ(volume.gib, 1);
    EXPECT_THAT(volume.mount, ElementsAre("rw", "noatime", "logbufs=8"));
    EXPECT_EQ(volume.raid, std::nullopt);
  }
}

TEST(Volume, WithoutAHypervisorAPciDiskIsLocalAndAFabricOneIsNot) {
  for (const auto& [transport, kind] : {std::pair("pcie", "local"), std::pair("tcp", "network")}) {
    ScriptedKernel kernel;
    Write(kernel / "proc/cpuinfo", "flags\t\t: fpu sse\n");
    kernel.Mount("259:1", "ext4", "/dev/nvme0n1", "rw");
    Write(kernel.Disk("nvme0n1", "259:1", "Brand 980 PRO") / "device/transport", transport);
    EXPECT_EQ(kernel.Describe().kind, kind);
  }
}

TEST(Volume, APartitionIsOfItsDisk) {
  ScriptedKernel kernel;
  kernel.Mount("259:2", "ext4", "/dev/nvme0n1p1", "rw");
  const auto disk = kernel.Disk("nvme0n1", "259:1", "Amazon Elastic Block Store");
  Write(disk / "nvme0n1p1/partition", "1\n");
  Write(disk / "nvme0n1p1/size", "1048576\n");
  kernel.Link(disk / "nvme0n1p1", "259:2");
  const Volume volume = kernel.Describe();
  EXPECT_EQ(volume.kind, "network");
  EXPECT_EQ(volume.gib, 0.5);
}

TEST(Volume, ARaidNamesItsLevelAndItsDisks) {
  ScriptedKernel kernel;
  kernel.Mount("9:0", "xfs", "/dev/md0", "rw");
  const std::filesystem::path md = kernel / "sys/devices/virtual/block/md0";
  Write(md / "md/level", "raid0\n");
  Write(md / "size", "4194304\n");
  std::filesystem::create_directories(md / "slaves");
  for (const char* name : {"nvme1n1", "nvme2n1"}) {
    const auto disk =
        kernel.Disk(name, std::string("259:") + name[4], "Amazon EC2 NVMe Instance Storage");
    std::filesystem::create_directory_symlink(disk, md / "slaves" / name);
  }
  kernel.Link(md, "9:0");
  const Volume volume = kernel.Describe();
  EXPECT_EQ(volume.raid, "raid0 x2");
  EXPECT_EQ(volume.kind, "local");
  EXPECT_EQ(volume.device, "Amazon EC2 NVMe Instance Storage");
  EXPECT_EQ(volume.gib, 2);
}

TEST(Volume, ANetworkFileSystemIsNamedWithoutItsAddress) {
  ScriptedKernel kernel;
  kernel.Mount("0:53", "nfs4", "fs-01.efs.example.com:/",
               "rw,vers=4.1,rsize=1048576,hard,clientaddr=10.0.3.7,addr=10.0.9.9,username=jo");
  const Volume volume = kernel.Describe();
  EXPECT_EQ(volume.kind, "network");
  EXPECT_EQ(volume.device, "nfs4");
  EXPECT_THAT(volume.mount, ElementsAre("rw", "noatime", "vers=4.1", "rsize=1048576", "hard"));
}

TEST(Volume, AMountUnderAnotherIsNotTheVolume) {
  ScriptedKernel kernel;
  kernel.Disk("nvme1n1", "259:1", kLocalModel);
  kernel.Disk("nvme2n1", "259:2", kNetworkModel);
  kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw", 30, "data/deep");
  kernel.Mount("259:2", "ext4", "/dev/nvme2n1", "rw", 31, "data");  // over the one above
  kernel.Place("data/deep", {.mount_id = 31, .device = "259:2"});
  EXPECT_EQ(DescribeVolume(kernel / "data/deep", kernel.Roots()).fs, "ext4");
  // Where the kernel doesn't tell the mount, the device does.
  kernel.Place("data/deep", {.device = "259:2"});
  const Volume volume = DescribeVolume(kernel / "data/deep", kernel.Roots());
  EXPECT_EQ(volume.fs, "ext4");
  EXPECT_EQ(volume.kind, "network");
}

TEST(Volume, ABindMountHasTheOptionsOfItsOwnMount) {
  ScriptedKernel kernel;
  kernel.Disk("nvme1n1", "259:1", kLocalModel);
  kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw,logbufs=8", 40, "whole");
  kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw,logbufs=2", 31, "data");
  kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw,logbufs=4", 41, "data/deeper");
  EXPECT_THAT(kernel.Describe().mount, Contains("logbufs=2"));
  kernel.Place("data", {.device = "259:1"});
  EXPECT_THAT(kernel.Describe().mount, Contains("logbufs=2")) << "deepest above the folder";
}

TEST(Volume, ASubvolumeIsFoundThoughNoMountHasItsDeviceNumber) {
  ScriptedKernel kernel;
  kernel.Disk("nvme1n1", "259:1", kLocalModel);
  kernel.Mount("0:40", "btrfs", "/dev/nvme1n1", "rw,subvol=/@", 31);
  kernel.Place("data", {.mount_id = 31, .device = "0:47"});
  EXPECT_EQ(kernel.Describe().kind, "local");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kDevice);
  kernel.Place("data", {.device = "0:47"});
  EXPECT_EQ(kernel.Describe().kind, "unknown") << "rather than a guess by the path";
}

TEST(Volume, TheSourceOfABtrfsMayBeAMappedDevice) {
  ScriptedKernel kernel;
  const auto disk = kernel.Disk("nvme1n1", "259:1", kLocalModel);
  Write(kernel.Virtual("dm-0", "252:0", {disk}) / "dm/name", "group-root\n");
  kernel.Mount("0:40", "btrfs", "/dev/mapper/group-root", "rw");
  EXPECT_EQ(kernel.Describe().kind, "local");
  EXPECT_EQ(kernel.Describe().device, kLocalModel);
}

TEST(Volume, AllDisksOfABtrfsCount) {
  ScriptedKernel kernel;
  const auto one = kernel.Disk("nvme1n1", "259:1", kLocalModel);
  const auto other = kernel.Disk("nvme2n1", "259:2", kNetworkModel);
  kernel.Mount("0:40", "btrfs", "/dev/nvme1n1", "rw");
  const std::filesystem::path devices = kernel / "sys/fs/btrfs/some-uuid/devices";
  std::filesystem::create_directories(devices);
  std::filesystem::create_directory_symlink(one, devices / "nvme1n1");
  std::filesystem::create_directory_symlink(other, devices / "nvme2n1");
  EXPECT_EQ(kernel.Describe().kind, "unknown");
  EXPECT_EQ(kernel.Describe().raid, "btrfs x2");
}

TEST(Volume, ARaidOfUnlikeDisksIsOfNoKindAndNamesThemAll) {
  ScriptedKernel kernel;
  const auto one = kernel.Disk("nvme1n1", "259:1", kLocalModel);
  const auto other = kernel.Disk("nvme2n1", "259:2", kNetworkModel);
  Write(kernel.Virtual("md0", "9:0", {one, other}) / "md/level", "raid0\n");
  kernel.Mount("9:0", "xfs", "/dev/md0", "rw");
  const Volume volume = kernel.Describe();
  EXPECT_EQ(volume.kind, "unknown");
  EXPECT_EQ(volume.device, std::string(kLocalModel) + " + " + kNetworkModel);
  EXPECT_EQ(volume.raid, "raid0 x2");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kDevice);
}

TEST(Volume, WhatIsPartlyMemoryIsMemory) {
  ScriptedKernel kernel;
  const auto disk = kernel.Disk("nvme1n1", "259:1", kLocalModel);
  kernel.Virtual("md0", "9:0", {disk, kernel.Virtual("zram0", "253:0")});
  kernel.Mount("9:0", "xfs", "/dev/md0", "rw");
  EXPECT_EQ(kernel.Describe().kind, "memory");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kMemory);
  EXPECT_EQ(kernel.DescribeBelow().why, "zram0 keeps its data in memory");
}

TEST(Below, MemoryIsKnownByItsDriverWhateverItsName) {
  for (const auto& [name, number] :
       {std::pair("zram1", "253:1"), std::pair("ram3", "1:3"), std::pair("fast", "253:7")}) {
    ScriptedKernel kernel;
    kernel.Virtual(name, number);
    kernel.Mount(number, "ext4", std::string("/dev/") + name, "rw");
    EXPECT_EQ(kernel.Describe().kind, "memory") << name;
    EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kMemory) << name;
  }
  ScriptedKernel kernel;
  kernel.Disk("zram9", "8:0", "A disk of that name");
  kernel.Mount("8:0", "ext4", "/dev/zram9", "rw");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kDevice);
}

TEST(Below, ALoopDeviceEndsInThePageCacheUnlessItsOwnIoIsDirect) {
  const std::pair<const char*, Below::Ends> cases[] = {
      {"0", Below::Ends::kCache}, {"1", Below::Ends::kDevice}, {"", Below::Ends::kUnknown}};
  for (const auto& [direct, ends] : cases) {
    ScriptedKernel kernel;
    kernel.Disk("nvme1n1", "259:1", kLocalModel);
    kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw", 30, "lower");
    kernel.Place("lower/image", {.mount_id = 30});
    kernel.Loop("loop5", "7:5", direct, "lower/image");
    kernel.Mount("7:5", "ext4", "/dev/loop5", "rw");
    EXPECT_EQ(kernel.DescribeBelow().ends, ends) << direct;
    EXPECT_EQ(kernel.Describe().kind, "local") << "as what lies below";
    EXPECT_EQ(kernel.Describe().device, kLocalModel);
    EXPECT_EQ(kernel.Describe().how, "mountinfo, loop, model");
  }
}

TEST(Below, WhatLiesUnderALoopDecides) {
  const auto below = [](const std::string& type, const std::string& inner_direct) {
    ScriptedKernel kernel;
    kernel.Disk("nvme1n1", "259:1", kLocalModel);
    kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw", 29, "lowest");
    kernel.Place("lowest/image", {.mount_id = 29});
    kernel.Loop("loop1", "7:1", inner_direct, "lowest/image");
    kernel.Mount(type == "ext4" ? "7:1" : "0:33", type, "/dev/loop1", "rw", 30, "lower");
    kernel.Place("lower/image", {.mount_id = 30});
    kernel.Loop("loop2", "7:2", "1", "lower/image");
    kernel.Mount("7:2", "ext4", "/dev/loop2", "rw");
    return kernel.DescribeBelow().ends;
  };
  EXPECT_EQ(below("ext4", "1"), Below::Ends::kDevice);
  EXPECT_EQ(below("ext4", "0"), Below::Ends::kCache) << "a buffered loop under a direct one";
  EXPECT_EQ(below("tmpfs", "1"), Below::Ends::kMemory);
  EXPECT_EQ(below("zfs", "1"), Below::Ends::kUnknown);
  EXPECT_EQ(below("fuse.sshfs", "1"), Below::Ends::kUnknown);
  EXPECT_EQ(below("nfs4", "1"), Below::Ends::kUnknown);
}

TEST(Below, AFileOfALoopIsKnownByItsDeviceAndInodeAndNotByItsName) {
  const auto below = [](const std::optional<FileIdentity>& loop, bool is_here = true) {
    ScriptedKernel kernel;
    kernel.Disk("nvme1n1", "259:1", kLocalModel);
    kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw", 30, "lower");
    if (is_here) {
      kernel.Place("lower/image", {.mount_id = 30, .device = "259:1", .inode = 77});
    }
    kernel.Loop("loop5", "7:5", "1", "lower/image");
    kernel.LoopIsOn("7:5", loop);
    kernel.Mount("7:5", "ext4", "/dev/loop5", "rw");
    const bool is_known = kernel.DescribeBelow().ends == Below::Ends::kDevice;
    EXPECT_EQ(kernel.Describe().kind, is_known ? "local" : "unknown");
    return is_known ? "" : kernel.DescribeBelow().why;
  };
  EXPECT_EQ(below(FileIdentity{.device = "259:1", .inode = 77}), "");
  EXPECT_EQ(below(FileIdentity{.device = "259:1", .inode = 78}),
            "the file behind loop5 can't be found");
  EXPECT_EQ(below(FileIdentity{.device = "259:2", .inode = 77}),
            "the file behind loop5 can't be found");
  EXPECT_EQ(below(FileIdentity{.device = "259:1", .inode = 77}, false),
            "the file behind loop5 can't be found");
  EXPECT_EQ(below(std::nullopt), "the file behind loop5 can't be told by this user");
}

// Beside the scripts, a real one.
TEST(Below, ALoopDeviceOfThisMachineTellsItsFile) {
  const TemporaryFolder folder;
  const std::string image = folder / "image";
  Write(image, std::string(1 << 20, 'x'));
  const Descriptor control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  const int number = control.IsOpen() ? ioctl(control.Number(), LOOP_CTL_GET_FREE) : -1;
  const std::string name = "loop" + std::to_string(number);
  const Descriptor loop(open(("/dev/" + name).c_str(), O_RDWR | O_CLOEXEC));
  const Descriptor file(open(image.c_str(), O_RDWR | O_CLOEXEC));
  if (number < 0 || !loop.IsOpen() || ioctl(loop.Number(), LOOP_SET_FD, file.Number()) != 0) {
    GTEST_SKIP() << "no loop device can be made here";
  }
  const std::string device = "7:" + std::to_string(number);
  const auto found = LoopFileOf(name, device);
  const auto other = LoopFileOf(name, "7:" + std::to_string(number + 1));
  ioctl(loop.Number(), LOOP_CLR_FD, 0);
  const std::optional<Place> place = PlaceOf(image);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->device, place->device);
  EXPECT_EQ(found->inode, place->inode);
  EXPECT_FALSE(other) << "a device of another number";
}

TEST(Below, ALoopMayBeOnABlockDevice) {
  ScriptedKernel kernel;
  kernel.Disk("nvme1n1", "259:1", kNetworkModel);
  kernel.Place("dev/nvme1n1", {.mount_id = 22, .block_device = "259:1"});
  kernel.Loop("loop5", "7:5", "1", "dev/nvme1n1");
  kernel.Mount("7:5", "ext4", "/dev/loop5", "rw");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kDevice);
  EXPECT_EQ(kernel.Describe().kind, "network");
}

TEST(Below, EveryMemberOfARaidAndOfDeviceMapperIsAsked) {
  for (const char* direct : {"0", "1"}) {
    ScriptedKernel kernel;
    const auto disk = kernel.Disk("nvme1n1", "259:1", kLocalModel);
    kernel.Mount("259:1", "xfs", "/dev/nvme1n1", "rw", 30, "lower");
    kernel.Place("lower/image", {.mount_id = 30});
    const auto md =
        kernel.Virtual("md0", "9:0", {disk, kernel.Loop("loop5", "7:5", direct, "lower/image")});
    kernel.Virtual("dm-3", "252:3", {md});
    kernel.Mount("252:3", "ext4", "/dev/mapper/crypt", "rw");
    EXPECT_EQ(kernel.DescribeBelow().ends,
              direct[0] == '0' ? Below::Ends::kCache : Below::Ends::kDevice);
  }
}

TEST(Below, AnOverlayIsItsUpperLayerAndUnknownWhereThatIsOutOfSight) {
  ScriptedKernel kernel;
  kernel.Loop("loop5", "7:5", "0", "none");
  kernel.Mount("7:5", "ext4", "/dev/loop5", "rw", 30, "upper dir");
  kernel.Place("upper dir", {.mount_id = 30});
  const std::string upper = kernel / "upper\\040dir";
  kernel.Mount("0:50", "overlay", "overlay", "rw,lowerdir=/l,upperdir=" + upper + ",workdir=/w");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kCache);
  EXPECT_EQ(kernel.Describe().fs, "overlay");

  ScriptedKernel container;
  container.Mount("0:50", "overlay", "overlay", "rw,lowerdir=/l,upperdir=/host/u,workdir=/w");
  EXPECT_EQ(container.DescribeBelow().ends, Below::Ends::kUnknown);
  EXPECT_THAT(container.DescribeBelow().why, HasSubstr("upper layer"));

  // Relative to where the program stood that mounted it, which nobody tells.
  ScriptedKernel relative;
  relative.Disk("nvme1n1", "259:1", kLocalModel);
  relative.Mount("259:1", "ext4", "/dev/nvme1n1", "rw", 30, "upper");
  relative.Mount("0:50", "overlay", "overlay", "rw,lowerdir=l,upperdir=upper,workdir=w");
  KernelRoots roots = relative.Roots();
  roots.place = [place = roots.place, &relative](const std::string& path) {
    return path == "upper" ? std::optional(io::Place{.path = relative / "upper", .mount_id = 30})
                           : place(path);
  };
  EXPECT_EQ(DescribeBelow(relative / "data", roots).ends, Below::Ends::kUnknown);
  EXPECT_THAT(DescribeBelow(relative / "data", roots).why, HasSubstr("upper layer"));
}

TEST(Below, TheUppermostOfMountsOverEachOtherCounts) {
  for (const bool has_number : {true, false}) {
    ScriptedKernel kernel;
    kernel.Disk("nvme1n1", "259:1", kLocalModel);
    kernel.Disk("nvme2n1", "259:2", kNetworkModel);
    kernel.Mount("259:1", "ext4", "/dev/nvme1n1", "rw", 30);
    kernel.Mount("259:2", "ext4", "/dev/nvme2n1", "rw", 31);
    kernel.Mount("0:25", "tmpfs", "tmpfs", "rw", 32);
    // A folder that was opened before the tmpfs lay over it is still the second one's.
    kernel.Place("data", has_number ? io::Place{.mount_id = 31, .device = "259:2"}
                                    : io::Place{.device = "259:2"});
    EXPECT_EQ(kernel.Describe().kind, "network") << has_number;
    EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kDevice);
    kernel.Place("data", has_number ? io::Place{.mount_id = 32, .device = "0:25"}
                                    : io::Place{.device = "0:25"});
    EXPECT_EQ(kernel.Describe().kind, "memory") << has_number;
  }
}

TEST(Volume, OfTwoMountsOfOneDeviceTheLastIsTheOneThatIsSeen) {
  ScriptedKernel kernel;
  kernel.Disk("nvme1n1", "259:1", kLocalModel);
  kernel.Mount("259:1", "ext4", "/dev/nvme1n1", "rw,discard", 30);
  kernel.Mount("259:1", "ext4", "/dev/nvme1n1", "rw,nobarrier", 31);
  kernel.Place("data", {.device = "259:1"});
  EXPECT_THAT(kernel.Describe().mount, testing::Contains("nobarrier"));
  EXPECT_THAT(kernel.Describe().mount, testing::Not(testing::Contains("discard")));
  kernel.Place("data", {.mount_id = 30, .device = "259:1"});
  EXPECT_THAT(kernel.Describe().mount, testing::Contains("discard"));
}

TEST(Below, OneMemberOfARaidThatIsNotProvedDecides) {
  ScriptedKernel kernel;
  const auto disk = kernel.Disk("nvme1n1", "259:1", kLocalModel);
  kernel.Virtual("md0", "9:0", {disk, kernel.Virtual("nbd0", "43:0")});
  kernel.Mount("9:0", "xfs", "/dev/md0", "rw");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kUnknown);
  EXPECT_EQ(kernel.DescribeBelow().why, "what lies below nbd0 can't be told");
  EXPECT_EQ(kernel.Describe().kind, "unknown");
}

TEST(Below, WhatNoDriverSaysOfItselfIsUnknown) {
  ScriptedKernel nbd;
  nbd.Virtual("nbd0", "43:0");
  nbd.Mount("43:0", "ext4", "/dev/nbd0", "rw");
  EXPECT_EQ(nbd.DescribeBelow().ends, Below::Ends::kUnknown);
  EXPECT_EQ(nbd.DescribeBelow().why, "what lies below nbd0 can't be told");

  ScriptedKernel ublk;  // a block device of a program: what it hangs on is no bus
  const auto served = ublk.Virtual("ublkb0", "259:9");
  std::filesystem::create_directories(ublk / "sys/class/ublk-char");
  std::filesystem::create_directories(served / "device");
  std::filesystem::create_directory_symlink(ublk / "sys/class/ublk-char",
                                            served / "device/subsystem");
  ublk.Mount("259:9", "ext4", "/dev/ublkb0", "rw");
  EXPECT_EQ(ublk.DescribeBelow().ends, Below::Ends::kUnknown);

  ScriptedKernel block_fuse;  // a program may keep what it reads from a real disk
  block_fuse.Disk("sda", "8:0", "Disk");
  block_fuse.Mount("8:0", "fuseblk", "/dev/sda", "rw");
  EXPECT_EQ(block_fuse.DescribeBelow().ends, Below::Ends::kUnknown);

  ScriptedKernel nowhere;
  EXPECT_EQ(nowhere.DescribeBelow().ends, Below::Ends::kUnknown) << "no mount";
}

TEST(Below, DevicesThatContainEachOtherEndTheSearch) {
  ScriptedKernel kernel;
  kernel.Loop("loop5", "7:5", "1", "data/image");
  kernel.Place("data/image", {.mount_id = 31});
  kernel.Mount("7:5", "ext4", "/dev/loop5", "rw");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kUnknown);
}

TEST(Volume, MemoryIsMemory) {
  ScriptedKernel kernel;
  kernel.Mount("0:25", "tmpfs", "/dev/nvme0n1", "rw,huge=always");  // a source may say anything
  kernel.Disk("nvme0n1", "259:1", kLocalModel);
  EXPECT_EQ(kernel.Describe().kind, "memory");
  EXPECT_EQ(kernel.DescribeBelow().ends, Below::Ends::kMemory);
}

TEST(Volume, TheOneOfThisFolderIsFound) {
  const Volume volume = Volumes({.storage_path = "."}).front();
  EXPECT_NE(volume.fs, "");
  EXPECT_NE(volume.device, "");
  EXPECT_GT(volume.gib.value_or(0), 0);
  EXPECT_EQ(DescribeVolume("/nowhere/at/all", {}).kind, "unknown");
}

}  // namespace
}  // namespace assay::io
