// What the communicators of one process must tell each other, since NCCL does not.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

namespace assay {

// The state that connected communicators of one process share. Each may wait for ever for one that
// was given up, since NCCL tells only other processes of that.
class Clique {
 public:
  // The one of this process for the communicators of that identifier.
  static std::shared_ptr<Clique> Of(const std::string& id);

  bool IsLost() const { return is_lost_; }
  // Marks the communicators as lost. Returns why the first of them was: `why`, or what was said
  // before.
  std::string Lose(const std::string& why);

 private:
  std::mutex mutex_ = {};
  std::string why_ = {};
  std::atomic<bool> is_lost_ = false;
};

}  // namespace assay
