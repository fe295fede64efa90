// One storage case for a given time, in the shape that it can be set beside fio: scripts/
// compare-peers.sh runs the two in turn. Prints one line of JSON.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "io/storage.h"
#include "results/error.h"

namespace {

double CpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

int Measure(char** argv) {
  using namespace assay;
  const std::string folder = argv[1];
  const std::int64_t block_bytes = std::atoll(argv[3]);
  const double seconds = std::atof(argv[5]);
  Setup setup = {.storage_path = folder};
  if (argv[6] != nullptr) setup.backends = {argv[6]};
  const Probe probe = io::StorageProbe(setup, {});
  Params params = probe.defaults;
  params["pattern"] = std::string(argv[2]);
  params["block_bytes"] = block_bytes;
  params["depth"] = std::int64_t{std::atoll(argv[4])};
  Prepared prepared = probe.unfold(params).front().prepare(1);
  if (const Skipped* no = std::get_if<Skipped>(&prepared)) {
    std::fprintf(stderr, "%s\n", no->reason.c_str());
    return 2;
  }
  Workload& workload = *std::get<std::unique_ptr<Workload>>(prepared);

  // Batches of about a second, as the sampler would choose for a case of this length.
  std::int64_t batch = 32;
  while (workload.Run(batch).time.count() < 0.25) batch *= 2;
  batch *= 2;
  const double cpu_begin = CpuSeconds();
  double time = 0;
  double stable = 0;
  std::int64_t operations = 0;
  while (time < seconds) {
    const Batch taken = workload.Run(batch);
    time += taken.time.count();
    stable += taken.stable.value_or(taken.time).count();
    operations += batch;
  }
  const double cpu = CpuSeconds() - cpu_begin;
  const Checked checked = workload.Verify();
  const auto rate = static_cast<double>(operations) / time;
  std::printf(
      "{\"iops\": %.1f, \"bytes_per_s\": %.0f, \"stable_bytes_per_s\": %.0f, \"cpu_s_per_op\": "
      "%.3e, \"checked\": %lld, \"wrong\": %lld, \"flags\": \"%s\"}\n",
      rate, rate * static_cast<double>(block_bytes),
      static_cast<double>(operations * block_bytes) / stable, cpu / static_cast<double>(operations),
      static_cast<long long>(checked.checked), static_cast<long long>(checked.wrong),
      std::get<std::string>(workload.Describe().at("flags")).c_str());
  return checked.wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    std::fprintf(stderr,
                 "usage: storage_peer FOLDER PATTERN BLOCK_BYTES DEPTH SECONDS [BACKEND]\n");
    return 2;
  }
  try {
    return Measure(argv);
  } catch (const assay::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
