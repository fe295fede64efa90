#include "kernels/cpu_crew.h"

#include <fmt/core.h>
#include <omp.h>
#include <pthread.h>

#include "results/base/error.h"

namespace assay {

OmpThreads::OmpThreads(int threads) : before_(omp_get_max_threads()) {
  omp_set_num_threads(threads);
}

OmpThreads::~OmpThreads() { omp_set_num_threads(before_); }

SavedAffinity::SavedAffinity() {
  pthread_getaffinity_np(pthread_self(), sizeof(before_), &before_);
}

SavedAffinity::~SavedAffinity() {
  pthread_setaffinity_np(pthread_self(), sizeof(before_), &before_);
}

Crew::Shift::Shift(const Crew& crew) : omp_threads_(crew.threads_) {
  omp_set_dynamic(0);
  const std::vector<int>& cores = crew.cores_;
  int present = 0;
  int refused = 0;
#pragma omp parallel reduction(+ : present, refused)
  {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    const auto thread = static_cast<std::size_t>(omp_get_thread_num());
    CPU_SET(static_cast<std::size_t>(cores[thread % cores.size()]), &mine);
    ++present;
    if (pthread_setaffinity_np(pthread_self(), sizeof(mine), &mine) != 0) ++refused;
  }
  if (present != crew.threads_) {
    throw Error(
        fmt::format("OpenMP gives {} of {} threads; unset OMP_THREAD_LIMIT or ask for "
                    "fewer with --threads",
                    present, crew.threads_));
  }
  crew.pinned_ = refused == 0 && static_cast<std::size_t>(crew.threads_) <= cores.size();
}

void Crew::For(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
  Failure failure;
#pragma omp parallel
  {
    const std::int64_t thread = omp_get_thread_num();
    const std::int64_t threads = omp_get_num_threads();
    const std::int64_t begin = count * thread / threads;
    const std::int64_t end = count * (thread + 1) / threads;
    failure.Guard([&] {
      if (begin < end) body(begin, end);
    });
  }
  failure.Rethrow();
}

}  // namespace assay
