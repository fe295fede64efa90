#include "io/storage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <functional>
#include <limits>
#include <vector>

#include "io/io.h"
#include "io/page_cache.h"
#include "io/stamp.h"
#include "io/traffic.h"
#include "io/volume.h"
#include "results/base/descriptor.h"
#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/memory.h"
#include "runner/core/random.h"
#include "runner/core/threads.h"

namespace assay::io {
namespace {

constexpr std::int64_t kMaxBlockBytes = std::int64_t{64} << 20;
constexpr std::int64_t kMaxBufferBytes = std::int64_t{1} << 30;  // io_uring's own bound on one

// The params of a case, checked.
struct Access {
  bool write = false;
  bool random = false;
  std::int64_t block_bytes = 0;
  int depth = 0;
  int jobs = 0;
  bool direct = false;
  bool warm = false;
};

// Reads and checks the params of a case. Throws Error, with the param's name, for a value that
// makes no sense.
Access Parse(const Params& params) {
  constexpr std::string_view kBefore = "storage: ";
  const std::string& pattern =
      WordOf(params, "pattern", {"seqread", "seqwrite", "randread", "randwrite"}, kBefore);
  const std::string& cache = WordOf(params, "cache", {"cold", "warm"}, kBefore);
  const std::int64_t block_bytes =
      IntegerWithin(params, "block_bytes", kStampedBytes, kMaxBlockBytes, kBefore);
  const std::int64_t depth = IntegerWithin(params, "depth", 1, 1024, kBefore);
  const std::int64_t jobs = IntegerWithin(params, "jobs", 1, 256, kBefore);
  if (block_bytes % kStampedBytes != 0) {
    throw Error(fmt::format("storage: block_bytes is {}; give a multiple of {}.", block_bytes,
                            kStampedBytes));
  }
  if (depth * block_bytes * jobs > kMaxBufferBytes) {
    throw Error(fmt::format(
        "storage: {} of {} of {} bytes in flight take over 1 GiB of buffers; give a smaller "
        "depth, block_bytes or jobs.",
        CountText(jobs, "job"), CountText(depth, "block"), block_bytes));
  }
  return {.write = pattern.ends_with("write"),
          .random = pattern.starts_with("rand"),
          .block_bytes = block_bytes,
          .depth = static_cast<int>(depth),
          .jobs = static_cast<int>(jobs),
          .direct = BooleanOf(params, "direct"),
          .warm = cache == "warm"};
}

// The CPU time that this process has used so far, in user and system mode.
double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// One job: a thread with its own buffers and its own part of the file.
struct Job {
  Job(const TrafficOptions& options, int depth)
      : buffers(static_cast<std::size_t>(options.block_bytes) *
                Traffic::BuffersFor(options, depth)),
        traffic(options, depth, buffers.Bytes()) {}

  Slab buffers;
  Traffic traffic;
  std::unique_ptr<PageCachePass> pass = {};  // only for reads through the page cache
  std::unique_ptr<FileEngine> engine = {};
  // An io_uring must be used by the thread that made it.
  TaskThread worker;  // declared last, since its task uses the others
};

// A storage case that is ready to run: its jobs, each with its engine, on the shared test file.
class StorageWorkload : public Workload {
 public:
  StorageWorkload(std::shared_ptr<const TestFile> file, const Access& access, std::uint64_t seed,
                  std::uint64_t sequence)
      : file_(std::move(file)), access_(access), fd_(file_->Open(access.direct)) {
    cached_before_ = access.warm ? file_->CachedFraction(0, file_->Bytes()) : file_->DropCache();
    // The advice keeps the kernel from reading ahead of random reads, which later ones would find
    // in the page cache.
    if (!access.direct && access.random) posix_fadvise(fd_.Number(), 0, 0, POSIX_FADV_RANDOM);
    const std::int64_t blocks = file_->Bytes() / access.block_bytes / access.jobs;
    for (int i = 0; i < access.jobs; ++i) {
      TrafficOptions options = {
          .write = access.write,
          .random = access.random,
          .block_bytes = access.block_bytes,
          .first_byte = i * blocks * access.block_bytes,
          .blocks = blocks,
          .seed = RandomAt(seed, static_cast<std::uint64_t>(i)),
          .salt = file_->Salt(),
          .sequence = sequence,
      };
      std::unique_ptr<PageCachePass> pass;
      if (!access.direct && !access.write) {
        pass = std::make_unique<PageCachePass>(*file_, options, !access.warm);
        options.before = [&pass = *pass](std::int64_t k) { pass.Before(k); };
      }
      jobs_.push_back(std::make_unique<Job>(options, access.depth));
      jobs_.back()->pass = std::move(pass);
    }
  }

  ~StorageWorkload() override {
    // An engine is destroyed in the thread that made it.
    for (auto& job : jobs_) {
      job->worker.Give([&job] { job->engine.reset(); });
      job->worker.Wait();
    }
  }

  // Makes the engines, each in its job's thread. Returns Skipped where this way of doing I/O is
  // refused.
  std::optional<Skipped> Start(const EngineFactory& make) {
    std::optional<Skipped> refused;
    for (auto& job : jobs_) {
      job->worker.Give([&] {
        MadeEngine made =
            make({.fd = fd_.Number(), .depth = access_.depth, .buffers = job->buffers.Bytes()});
        if (Skipped* no = std::get_if<Skipped>(&made)) {
          refused = std::move(*no);
        } else {
          job->engine = std::move(std::get<std::unique_ptr<FileEngine>>(made));
        }
      });
      job->worker.Wait();
      if (refused) return refused;
    }
    return std::nullopt;
  }

  Batch Run(std::int64_t iterations) override {
    // Where there are fewer iterations than jobs, the jobs without a share stay out.
    const std::int64_t jobs = std::min(iterations, std::int64_t{access_.jobs});
    RunJobs(static_cast<std::size_t>(jobs), [&](std::size_t i, Traffic& traffic) {
      const auto job = static_cast<std::int64_t>(i);
      traffic.Begin(iterations / jobs + (job < iterations % jobs ? 1 : 0));
    });
    std::int64_t begin_ns = std::numeric_limits<std::int64_t>::max();
    std::int64_t end_ns = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(jobs); ++i) {
      begin_ns = std::min(begin_ns, jobs_[i]->traffic.BeginNs());
      end_ns = std::max(end_ns, jobs_[i]->traffic.EndNs());
    }
    return {.time = std::chrono::nanoseconds(end_ns - begin_ns)};
  }

  // One flush comes behind all spans, since a flush slows down what is acknowledged after it. Each
  // transfer since the last flush pays an equal share of it.
  std::vector<Batch> RunSpans(const Spans& spans) override {
    std::atomic<bool> is_over = false;
    const auto nanoseconds = [](Seconds time) {
      return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    };
    RunJobs(jobs_.size(), [&](std::size_t i, Traffic& traffic) {
      traffic.Begin({.ramp_ns = nanoseconds(spans.ramp),
                     .length_ns = nanoseconds(spans.length),
                     .count = spans.count,
                     .stop = [&, asks = i == 0] {
                       if (asks && spans.stop && spans.stop()) is_over = true;
                       return is_over.load();
                     }});
    });
    std::vector<Batch> batches;
    for (std::size_t span = 0; span < static_cast<std::size_t>(spans.count); ++span) {
      std::int64_t transfers = 0;
      double per_second = 0;
      bool is_whole = true;
      for (const auto& job : jobs_) {
        if (job->traffic.Spans().size() <= span) {
          is_whole = false;
          break;
        }
        const CountedSpan& counted = job->traffic.Spans()[span];
        transfers += counted.transfers;
        per_second +=
            static_cast<double>(counted.transfers) * 1e9 / static_cast<double>(counted.time_ns);
      }
      if (!is_whole) break;
      // The jobs' spans end within a transfer of each other, so their rates add up.
      batches.push_back(
          {.time = Seconds(static_cast<double>(transfers) / per_second), .iterations = transfers});
    }
    if (!access_.write) return batches;
    const Seconds flush_share = Flush() / static_cast<double>(unflushed_);
    unflushed_ = 0;
    for (Batch& batch : batches) {
      batch.stable = batch.time + flush_share * static_cast<double>(batch.iterations);
    }
    return batches;
  }

  Checked Verify() override {
    Checked checked = {.reference = access_.write ? "stamps and contents, read back"
                                                  : "stamps and contents of the last reads"};
    for (const auto& job : jobs_) {
      access_.write ? job->traffic.VerifyWrites(fd_.Number(), checked)
                    : job->traffic.VerifyReads(checked);
    }
    return checked;
  }

  Facts Describe() const override {
    const Direct& direct = file_->GetDirect();
    const FileEngine& engine = *jobs_.front()->engine;
    Facts facts = {
        {"flags", engine.Flags()},
        {"lat", engine.ExactLatency() ? "exact" : "per_reap"},
        {"direct", access_.direct ? direct.verdict : "not_asked"},
        {"direct_how", access_.direct ? direct.how : "through the page cache"},
        {"file_bytes", file_->Bytes()},
        {"fill_bytes_per_s", file_->FillBytesPerSecond()},
        {"extents", file_->Extents()},
        {"contents", "random, every 4 KiB unique"},
        {"cached_before", cached_before_},
    };
    if (const auto& pass = jobs_.front()->pass; pass && pass->CachedReads()) {
      facts["cached_reads"] = *pass->CachedReads();
    }
    if (!file_->SizedBy().empty()) facts["file_sized_by"] = file_->SizedBy();
    if (const std::int64_t operations = Finished(); operations > 0) {
      facts["cpu_s_per_op"] = cpu_s_ / static_cast<double>(operations);
      // A job whose thread has no time left measures this CPU, not the volume.
      facts["client_bound"] = cpu_s_ > 0.9 * busy_s_ * static_cast<double>(jobs_.size());
    }
    return facts;
  }

  std::map<std::string, Histogram> Histograms() const override {
    LatencyHistogram all;
    for (const auto& job : jobs_) all.Add(job->traffic.Latency());
    return {{"latency_s", all.ToHistogram()}};
  }

 private:
  std::int64_t Finished() const {
    std::int64_t finished = 0;
    for (const auto& job : jobs_) finished += job->traffic.Finished();
    return finished;
  }

  // Runs the first `count` jobs at once, after `begin` was called for each one's traffic; returns
  // when all are done.
  void RunJobs(std::size_t count, const std::function<void(std::size_t, Traffic&)>& begin) {
    const double cpu_begin = CpuSeconds();
    const std::int64_t begin_ns = NowNs();
    for (std::size_t i = 0; i < count; ++i) {
      Job& job = *jobs_[i];
      begin(i, job.traffic);
      job.worker.Give([&job] { job.engine->Run(job.traffic); });
    }
    std::exception_ptr thrown;
    for (auto& job : jobs_) {
      try {
        job->worker.Wait();
      } catch (...) {
        thrown = std::current_exception();  // rethrown once all jobs have ended
      }
    }
    if (thrown) std::rethrow_exception(thrown);
    RequireNoFailures();
    for (std::size_t i = 0; i < count; ++i) unflushed_ += jobs_[i]->traffic.FinishedInRun();
    cpu_s_ += CpuSeconds() - cpu_begin;
    busy_s_ += static_cast<double>(NowNs() - begin_ns) * 1e-9;
  }

  // Flushes the file, which all jobs write to.
  Seconds Flush() {
    Job& job = *jobs_.front();
    std::int64_t flush_ns = 0;
    job.worker.Give([&] { flush_ns = job.engine->Flush(); });
    job.worker.Wait();
    return std::chrono::nanoseconds(flush_ns);
  }

  // Throws Error if any transfer failed, with the number of each kind of failure.
  void RequireNoFailures() const {
    std::map<std::string, std::int64_t> failures;
    std::int64_t failed = 0;
    for (const auto& job : jobs_) {
      for (const auto& [name, count] : job->traffic.Failures()) {
        failures[name] += count;
        failed += count;
      }
    }
    if (failed == 0) return;
    std::string names;
    for (const auto& [name, count] : failures) {
      names += fmt::format("{}{} {}", names.empty() ? "" : ", ", count, name);
    }
    throw Error(
        fmt::format("{} of {} {} of the test file failed ({}); look at the kernel's log "
                    "(dmesg), the free space and the volume's health.",
                    failed, failed + Finished(), access_.write ? "writes" : "reads", names));
  }

  const std::shared_ptr<const TestFile> file_;
  const Access access_;
  const Descriptor fd_;
  double cached_before_ = 0;
  std::vector<std::unique_ptr<Job>> jobs_ = {};
  std::int64_t unflushed_ = 0;  // transfers since the last flush
  double cpu_s_ = 0;
  double busy_s_ = 0;
};

// The reason why this way of doing I/O can't be used in this process, or nothing. It is tried on a
// page of memory (a memfd), since the question is whether the calls are allowed, not what the disk
// does.
std::optional<Skipped> RefusalOf(const EngineFactory& make) {
  const Descriptor file = MemoryFile("assay");
  if (!file.IsOpen() || ftruncate(file.Number(), kStampedBytes) != 0) return std::nullopt;
  const Slab slab(static_cast<std::size_t>(kStampedBytes));
  MadeEngine made = make({.fd = file.Number(), .depth = 1, .buffers = slab.Bytes()});
  if (Skipped* refused = std::get_if<Skipped>(&made)) return std::move(*refused);
  return std::nullopt;
}

// The test file that all storage cases of a run share; it is made when the first case is prepared.
class Bench {
 public:
  Bench(std::string folder, StorageOptions options)
      : folder_(std::move(folder)), options_(std::move(options)) {}

  // An estimate of how long making the file will take. What prevents making it is told by Prepare.
  Seconds FileSeconds() {
    try {
      if (!file_ && !begun_) Begin();
    } catch (const Error&) {
      return {};
    }
    if (!begun_ || std::holds_alternative<Skipped>(*begun_)) return {};
    return std::get<std::shared_ptr<TestFile>>(*begun_)->FillSeconds();
  }

  // Makes a case's workload, and the test file before the first one. Returns Skipped where the way
  // of doing I/O is refused, or the file can't be made or is too small for the case.
  Prepared Prepare(const Access& access, const EngineFactory& make, std::uint64_t seed) {
    if (std::optional<Skipped> refused = RefusalOf(make)) return std::move(*refused);
    const std::int64_t buffers = access.depth * access.block_bytes * access.jobs;
    const std::optional<std::int64_t> available = options_.file.available_memory();
    if (available && buffers > *available / 2) {
      return Skipped{.reason = fmt::format("{} MiB of buffers are more than half of the {} MiB of "
                                           "memory that can be had",
                                           buffers >> 20, *available >> 20),
                     .remedy = "set a smaller depth, block_bytes or jobs"};
    }
    if (!file_) {
      if (!begun_) Begin();
      if (const Skipped* no = std::get_if<Skipped>(&*begun_)) {
        const Skipped skipped = *no;
        begun_.reset();  // there may be room the next time
        return skipped;
      }
      const auto file = std::get<std::shared_ptr<TestFile>>(*begun_);
      begun_.reset();
      file->Finish();
      file_ = file;
    }
    if (access.direct && access.block_bytes % file_->Alignment() != 0) {
      return Skipped{.reason = fmt::format("direct I/O on this volume takes multiples of {} bytes",
                                           file_->Alignment()),
                     .remedy = "set block_bytes to such a multiple"};
    }
    // A job needs twice as many blocks as transfers in flight, so that no two of these are of one
    // block.
    if (file_->Bytes() / access.block_bytes / access.jobs < 2 * access.depth) {
      return Skipped{.reason = fmt::format("a test file of {} MiB is too small for so many blocks "
                                           "of this size in flight",
                                           file_->Bytes() >> 20),
                     .remedy = "set a smaller block_bytes, depth or jobs, or free some space"};
    }
    if (access.warm && access.direct) {
      return Skipped{.reason =
                         "cache=warm is of reads through the page cache, and direct ones pass "
                         "it by",
                     .remedy = "--set direct=false"};
    }
    if (access.warm && access.write) {
      return Skipped{.reason = "cache=warm is of reads, and this writes",
                     .remedy = "--set pattern=seqread or randread"};
    }
    if (access.warm) {
      if (const double cached = file_->FillCache(); cached < 0.99) {
        return Skipped{.reason = fmt::format("the page cache keeps {:.0f} % of the test file and "
                                             "not all of it",
                                             100 * cached),
                       .remedy = "give this process more memory, or measure cache=cold"};
      }
    }
    // Every workload stamps its writes with its own range of numbers.
    auto workload = std::make_unique<StorageWorkload>(file_, access, seed, ++workloads_ << 40U);
    if (std::optional<Skipped> refused = workload->Start(make)) return std::move(*refused);
    return workload;
  }

 private:
  void Begin() { begun_ = TestFile::Begin(folder_, options_.file); }

  const std::string folder_;
  const StorageOptions options_;
  std::optional<std::variant<std::shared_ptr<TestFile>, Skipped>> begun_ = {};
  std::shared_ptr<TestFile> file_ = nullptr;  // null until it is finished
  std::uint64_t workloads_ = 0;
};

// The engines to measure: those that were asked for, else the first that isn't refused here.
Engines Chosen(const Engines& engines, const Setup& setup) {
  if (setup.backends.empty()) {
    for (const auto& engine : engines) {
      if (!RefusalOf(engine.second)) return {engine};
    }
    return {engines.front()};
  }
  Engines chosen;
  for (const auto& engine : engines) {
    if (setup.TakesBackend(engine.first)) chosen.push_back(engine);
  }
  return chosen;
}

}  // namespace

Probe StorageProbe(const Setup& setup, const StorageOptions& options) {
  auto bench = std::make_shared<Bench>(setup.storage_path, options);
  auto file =
      std::make_shared<const std::function<Seconds()>>([bench] { return bench->FileSeconds(); });
  const auto unfold = [bench, file, setup, engines = options.engines](const Params& params) {
    const Access access = Parse(params);
    std::vector<Case> cases;
    const Engines chosen = Chosen(engines, setup);
    if (!chosen.empty()) RequireFolder(setup.storage_path);
    for (const auto& [name, make] : chosen) {
      cases.push_back({.probe = "storage",
                       .method = 3,
                       .params = params,
                       .backend = name,
                       .work = {.bytes = access.block_bytes, .ops = 1, .formula = "io/bytes"},
                       .storage = 0,
                       .shared = file,
                       .in_spans = true,
                       .prepare = [bench, access, engine = make](std::uint64_t seed) {
                         return bench->Prepare(access, engine, seed);
                       }});
    }
    return cases;
  };
  std::vector<std::string> names;
  for (const auto& [name, make] : options.engines) names.push_back(name);
  return {.name = "storage",
          .summary = "reads and writes of a file: bytes and operations per second, latency",
          .defaults = {{"pattern", std::string("randread")},
                       {"block_bytes", std::int64_t{4096}},
                       {"depth", std::int64_t{32}},
                       {"jobs", std::int64_t{1}},
                       {"direct", true},
                       {"cache", std::string("cold")}},
          .unfold = unfold,
          .backends = names,
          .absent = [engines = options.engines] {
            std::map<std::string, Skipped> absent;
            for (const auto& [name, make] : engines) {
              if (const std::optional<Skipped> refused = RefusalOf(make)) absent[name] = *refused;
            }
            return absent;
          }};
}

std::vector<Probe> Probes(const Setup& setup) { return {StorageProbe(setup, {})}; }

std::vector<Volume> Volumes(const Setup& setup) { return {DescribeVolume(setup.storage_path, {})}; }

std::map<std::string, std::string> Software() { return {{"liburing", LiburingVersion()}}; }

}  // namespace assay::io
