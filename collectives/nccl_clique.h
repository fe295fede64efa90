// The state that communicators of one process share, since NCCL tells none of them when another one
// is given up.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

namespace assay {

// A Clique is the communicators of this process that are connected with each other. When one of
// them is aborted, NCCL tells other processes alone, and the others here would wait for it for
// ever; so they must look at IsLost while they wait. Any thread may make any call.
class Clique {
 public:
  // The clique of this process whose communicators have that identifier (ncclUniqueId). It lives as
  // long as somebody holds it.
  static std::shared_ptr<Clique> Of(const std::string& id);

  // Whether a communicator failed, so that none of them can be used any more.
  bool IsLost() const { return is_lost_; }
  // Marks the communicators as lost, for good. Returns the reason that was given first: `why`, or
  // that of an earlier call.
  std::string Lose(const std::string& why);

 private:
  std::mutex mutex_ = {};
  std::string why_ = {};
  std::atomic<bool> is_lost_ = false;
};

}  // namespace assay
