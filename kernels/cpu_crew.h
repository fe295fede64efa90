// The threads of kernels that compute with OpenMP: how many there are, and the core of each.
#pragma once

#include <sched.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <vector>

namespace assay {

// Sets the number of threads that OpenMP gives the calling thread, itself included, for as long as
// the object lives.
class OmpThreads {
 public:
  explicit OmpThreads(int threads);
  ~OmpThreads();
  OmpThreads(const OmpThreads&) = delete;
  OmpThreads& operator=(const OmpThreads&) = delete;

 private:
  int before_;
};

// Restores the calling thread's affinity (the cores that it may run on) at the end of its life.
class Roaming {
 public:
  Roaming();
  ~Roaming();
  Roaming(const Roaming&) = delete;
  Roaming& operator=(const Roaming&) = delete;

 private:
  cpu_set_t before_ = {};
};

// A thread pool of OpenMP's threads, one pinned to each core. The pool sets the placement itself,
// since libgomp would otherwise read it from the environment.
class Crew {
 public:
  Crew(int threads, const std::vector<int>& cores)
      : cores_(cores), threads_(threads > 0 ? threads : static_cast<int>(cores_.size())) {}

  int Size() const { return threads_; }
  // Whether each thread has a core to itself, as seen by the last Shift.
  bool Pinned() const { return pinned_; }

  // For as long as a Shift lives, the calling thread is the first of the crew and pinned to the
  // first core, the others are pinned to theirs, and oneDNN uses just them. Afterwards the caller's
  // affinity is as before, since threads that it starts later inherit it. Throws Error where OpenMP
  // gives fewer threads.
  class Shift {
   public:
    explicit Shift(const Crew& crew);

   private:
    Roaming roaming_;
    OmpThreads omp_threads_;
  };

  // A ParallelFor that gives each thread of the crew an equal share. REQUIRES: a Shift lives.
  static void For(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

  // A Failure keeps the first exception that Guard catches in a parallel region, since none may
  // leave one. Rethrow throws it, and is called after the region.
  class Failure {
   public:
    template <class F>
    void Guard(const F& f) {
      try {
        f();
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!first_) first_ = std::current_exception();
      }
    }
    void Rethrow() const {
      if (first_) std::rethrow_exception(first_);
    }

   private:
    std::mutex mutex_;
    std::exception_ptr first_;
  };

 private:
  std::vector<int> cores_;
  int threads_;
  mutable bool pinned_ = false;
};

}  // namespace assay
