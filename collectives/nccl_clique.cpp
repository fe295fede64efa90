#include "collectives/nccl_clique.h"

#include <map>

namespace assay {

std::shared_ptr<Clique> Clique::Of(const std::string& id) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Clique>> all;
  const std::lock_guard lock(mutex);
  std::erase_if(all, [](const auto& one) { return one.second.expired(); });
  std::weak_ptr<Clique>& known = all[id];
  std::shared_ptr<Clique> clique = known.lock();
  if (!clique) known = clique = std::make_shared<Clique>();
  return clique;
}

std::string Clique::Lose(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (!is_lost_) why_ = why;
  is_lost_ = true;
  return why_;
}

}  // namespace assay
