// A team of threads, each pinned to a core of its own, that runs one function together and says how
// long the slowest took from a common start.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "results/run.h"

namespace assay {

// The cores this process may use: its affinity mask, one hardware thread per core where the machine
// has several, and at most ceil(the container's CPU quota). Never empty.
std::vector<int> UsableCores();

class Team {
 public:
  // `threads` 0: one per usable core.
  explicit Team(int threads = 0);
  ~Team();
  int Size() const;
  // Calls body(thread index) on every thread at once; returns after the last ends. The time is from
  // the common start to the end of the last. An exception of any thread is rethrown here.
  Seconds Run(const std::function<void(int)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay
