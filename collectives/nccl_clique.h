// The state that communicators of one process share, since NCCL tells none of them when another one
// is given up.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

namespace assay {

// A Clique is connected communicators of one process. Each may wait for ever for one that was given
// up, which NCCL tells other processes alone. Safe from any thread.
class Clique {
 public:
  // The clique of this process whose communicators have that identifier. Lives as long as one of
  // them holds it.
  static std::shared_ptr<Clique> Of(const std::string& id);

  bool IsLost() const { return is_lost_; }
  // Marks the communicators as lost. Returns the reason that was given first: `why`, or that of an
  // earlier call.
  std::string Lose(const std::string& why);

 private:
  std::mutex mutex_ = {};
  std::string why_ = {};
  std::atomic<bool> is_lost_ = false;
};

}  // namespace assay
