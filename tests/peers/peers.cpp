// assay_peers memory|peak: our loops beside hand-written ones, alternating every iteration in one
// process, so that both see the same clock and the same neighbours. Prints one Markdown row each:
// the median of the ratios (ours / theirs) of independent pairs and the t interval of their mean.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "results/base/error.h"
#include "results/figures/stats.h"
#include "runner/core/threads.h"
#include "tests/peers/hand.h"

namespace assay::peers {
namespace {

constexpr int kPairs = 15;
constexpr int kTurns = 9;  // of each side in a pair

// Speeds of one pair, work per second.
struct Pair {
  double ours = 0;
  double theirs = 0;
};

void PrintRow(const std::string& what, const std::string& unit, const std::vector<Pair>& pairs,
              double bar) {
  std::vector<double> logs, ours, theirs;
  for (const Pair& pair : pairs) {
    logs.push_back(std::log(pair.ours / pair.theirs));
    ours.push_back(pair.ours);
    theirs.push_back(pair.theirs);
  }
  const auto n = static_cast<double>(logs.size());
  const double half = StudentT(0.95, n - 1) * StandardDeviation(logs) / std::sqrt(n);
  const double ratio = std::exp(Median(logs));
  fmt::print("| {} | {:.1f} {} | {:.1f} {} | {:.3f} | {:.3f} … {:.3f} ({} pairs) | {:.2f} | {} |\n",
             what, Median(ours) / 1e9, unit, Median(theirs) / 1e9, unit, ratio,
             std::exp(Mean(logs) - half), std::exp(Mean(logs) + half), logs.size(), bar,
             ratio >= bar ? "met" : "**not met**");
}

// Calls both sides in turn, the first one changing; what each side's median turn took.
template <class Ours, class Theirs>
std::pair<Seconds, Seconds> Alternate(bool ours_first, Ours ours, Theirs theirs) {
  std::vector<double> our_times, their_times;
  for (int turn = 0; turn < kTurns; ++turn) {
    if ((turn % 2 == 0) == ours_first) {
      our_times.push_back(ours().count());
      their_times.push_back(theirs().count());
    } else {
      their_times.push_back(theirs().count());
      our_times.push_back(ours().count());
    }
  }
  return {Seconds(Median(our_times)), Seconds(Median(their_times))};
}

Case Only(const std::string& probe, const Params& params) {
  for (const Probe& each : kernels::Probes({})) {
    if (each.name == probe) return each.unfold(params).at(0);
  }
  throw Error("no probe " + probe);
}

std::unique_ptr<Workload> Ready(const Case& which, std::uint64_t seed) {
  Prepared prepared = which.prepare(seed);
  if (const Skipped* no = std::get_if<Skipped>(&prepared)) throw Error(no->reason);
  std::unique_ptr<Workload> workload = std::get<std::unique_ptr<Workload>>(std::move(prepared));
  workload->Run(1);
  const Checked checked = workload->Verify();
  if (checked.wrong > 0) throw Error("wrong: " + checked.what.value_or(""));
  return workload;
}

// An array of doubles in huge pages, not yet touched.
using Array = std::unique_ptr<double, void (*)(void*)>;
Array NewArray(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  void* memory = std::aligned_alloc(kHugePage, (bytes + kHugePage - 1) / kHugePage * kHugePage);
  if (memory == nullptr) throw Error("out of memory");
  madvise(memory, bytes, MADV_HUGEPAGE);
  return {static_cast<double*>(memory), std::free};
}

void CompareTriad() {
  const Case which = Only("memory", {{"pattern", "triad"}});
  const auto bytes = static_cast<std::size_t>(IntegerOf(which.params, "bytes"));
  const std::size_t n = bytes / sizeof(double);
  const auto work = static_cast<double>(*which.work.bytes);
  Team team;
  const auto threads = static_cast<std::size_t>(team.Size());
  const std::size_t part = n / threads / 256 * 256;  // whole unrolled lines; a rest is left out

  std::vector<Pair> pairs;
  std::string chosen;
  for (int round = 0; round < kPairs; ++round) {
    // Fresh arrays on both sides: which physical pages one gets is luck, and belongs in the
    // interval.
    const auto ours = Ready(which, static_cast<std::uint64_t>(round));
    const Array a = NewArray(bytes), b = NewArray(bytes), c = NewArray(bytes);
    const auto each = [&](auto body) {
      return team.Run([&](int thread) { body(static_cast<std::size_t>(thread) * part); });
    };
    each([&](std::size_t at) {
      std::fill_n(a.get() + at, part, 0.0);
      std::fill_n(b.get() + at, part, 2.0);
      std::fill_n(c.get() + at, part, 1.0);
    });
    const auto run = [&](const Triad& triad) {
      return each(
          [&](std::size_t at) { triad.run(a.get() + at, b.get() + at, c.get() + at, 3.0, part); });
    };
    // The best hand-written loop on these very arrays.
    Triad best;
    double fastest = 0;
    for (const Triad& triad : HandTriads()) {
      std::vector<double> times;
      for (int turn = 0; turn < 3; ++turn) times.push_back(run(triad).count());
      if (fastest == 0 || Median(times) < fastest) {
        fastest = Median(times);
        best = triad;
      }
    }
    chosen = best.name;
    if (a.get()[part / 2] != 5.0) throw Error("the hand-written triad is wrong");
    const auto [our_time, their_time] = Alternate(
        round % 2 == 0, [&] { return ours->Run(1).time; }, [&] { return run(best); });
    pairs.push_back({.ours = work / our_time.count(),
                     .theirs = work * static_cast<double>(part * threads) / static_cast<double>(n) /
                               their_time.count()});
  }
  PrintRow("triad, STREAM by hand (last best: " + chosen + ")", "GB/s", pairs, 0.95);
}

void ComparePeaks() {
  Team team;
  for (const Dot& dot : HandDots()) {
    const Case which = Only("peak", {{"dtype", dot.dtype}});
    if (!which.work.flops) continue;
    constexpr std::int64_t kIterations = 100;
    const auto our_work = static_cast<double>(kIterations * *which.work.flops);
    const std::int64_t steps =
        kIterations * *which.work.flops / (team.Size() * dot.ops_per_step);  // the same work
    const auto their_work = static_cast<double>(steps * dot.ops_per_step * team.Size());
    const auto ours = Ready(which, 1);
    std::vector<Pair> pairs;
    for (int round = 0; round < kPairs; ++round) {
      const auto [our_time, their_time] = Alternate(
          round % 2 == 0, [&] { return ours->Run(kIterations).time; },
          [&] { return team.Run([&](int) { dot.run(steps); }); });
      pairs.push_back(
          {.ours = our_work / our_time.count(), .theirs = their_work / their_time.count()});
    }
    if (ours->Verify().wrong > 0) throw Error("our peak is wrong");
    PrintRow("peak " + dot.dtype + ", intrinsics by hand", "GFLOP/s", pairs, 0.97);
  }
}

}  // namespace
}  // namespace assay::peers

int main(int argc, char** argv) {
  const std::string what = argc == 2 ? argv[1] : "";
  try {
    if (what == "memory") {
      assay::peers::CompareTriad();
    } else if (what == "peak") {
      assay::peers::ComparePeaks();
    } else {
      fmt::print(stderr, "usage: assay_peers memory|peak\n");
      return 2;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "assay_peers: {}\n", error.what());
    return 2;
  }
  return 0;
}
