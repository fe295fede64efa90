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
// the object lives. It must be destroyed by the thread that made it.
class OmpThreads {
 public:
  explicit OmpThreads(int threads);
  ~OmpThreads();
  OmpThreads(const OmpThreads&) = delete;
  OmpThreads& operator=(const OmpThreads&) = delete;

 private:
  int before_;
};

// Saves the calling thread's affinity (the cores that it may run on), and restores it when it is
// destroyed, which the same thread must do.
class SavedAffinity {
 public:
  SavedAffinity();
  ~SavedAffinity();
  SavedAffinity(const SavedAffinity&) = delete;
  SavedAffinity& operator=(const SavedAffinity&) = delete;

 private:
  cpu_set_t before_ = {};
};

// A thread pool of OpenMP's threads, each pinned to a core. The pool sets the placement itself,
// since libgomp would otherwise read it from the environment. It belongs to one thread at a time.
class Crew {
 public:
  // With `threads` 0 there is one thread for each of `cores`; more threads than cores share the
  // cores in turn. REQUIRES: there is at least one core.
  Crew(int threads, const std::vector<int>& cores)
      : cores_(cores), threads_(threads > 0 ? threads : static_cast<int>(cores_.size())) {}

  int Size() const { return threads_; }
  // Whether the last Shift gave each thread a core to itself; false before the first one.
  bool Pinned() const { return pinned_; }

  // A Shift makes OpenMP's parallel regions in the calling thread, oneDNN's too, run on this crew
  // for as long as it lives. The calling thread is the first of the crew; its own affinity is
  // restored afterwards, since threads that it starts later inherit it, and that of the other
  // threads isn't. Throws Error where OpenMP gives fewer threads than the crew has.
  class Shift {
   public:
    explicit Shift(const Crew& crew);

   private:
    SavedAffinity affinity_;
    OmpThreads omp_threads_;
  };

  // A ParallelFor (kernels/inputs.h) that gives each thread of the crew an equal share, and
  // rethrows the first exception of `body`. REQUIRES: a Shift of the calling thread lives.
  static void For(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body);

  // A Failure carries an exception out of a parallel region, which none may leave by itself. Guard
  // calls `f` and keeps the first exception of all calls; any thread may call it. Rethrow, which is
  // called after the region, throws that exception, or does nothing where there was none.
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
