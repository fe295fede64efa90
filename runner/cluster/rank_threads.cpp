#include "runner/cluster/rank_threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/group.h"

namespace assay {
namespace {

// A meeting, at which threads wait for each other while the first of them does something for all.
class Meeting {
 public:
  explicit Meeting(int members) : members_(members) {}

  // Waits until all have come and the first one's `act` is done; then all leave. Where it throws,
  // they all throw Error with its reason. Throws Error where a member is lost.
  void Hold(bool is_first, const std::function<void()>& act) {
    std::unique_lock lock(mutex_);
    const std::uint64_t held = held_;
    ++present_;
    changed_.notify_all();
    if (is_first) {
      changed_.wait(lock, [&] { return !lost_.empty() || present_ == members_; });
      if (!lost_.empty()) throw Error(lost_);
      acts_ = true;
      lock.unlock();
      std::string failure;
      try {
        act();
      } catch (const std::exception& error) {
        failure = error.what();
      }
      lock.lock();
      failure_ = failure;
      acts_ = false;
      present_ = 0;
      ++held_;
      changed_.notify_all();
    } else {
      // No thread leaves while the first one may be using what belongs to it.
      changed_.wait(lock, [&] { return held_ != held || (!lost_.empty() && !acts_); });
      if (held_ == held) throw Error(lost_);
    }
    if (!failure_.empty()) throw Error(failure_);
  }

  // The first reason is the one that counts.
  void Lose(const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (lost_.empty()) lost_ = why;
    changed_.notify_all();
  }

 private:
  const int members_;
  std::mutex mutex_ = {};
  std::condition_variable changed_ = {};
  int present_ = 0;
  std::uint64_t held_ = 0;
  bool acts_ = false;
  std::string failure_ = {};  // why the last meeting failed; "" if it didn't
  std::string lost_ = {};
};

// The state that the ranks of one process share. What a rank leaves here for the others may be read
// until it comes to the next meeting.
struct Process {
  Process(std::unique_ptr<Ranks> joined, const PerProcess& chosen)
      : processes(std::move(joined)),
        per_process(chosen),
        all(chosen.Ranks()),
        texts(static_cast<std::size_t>(chosen.Ranks())),
        values(texts.size()),
        things(texts.size()) {
    for (int thread = 0; thread < chosen.threads; ++thread) {
      of_thread.push_back(std::make_unique<Meeting>(chosen.gpus));
    }
  }

  void Lose(const std::string& why) {
    all.Lose(why);
    for (const auto& meeting : of_thread) meeting->Lose(why);
    const std::lock_guard lock(mutex);
    is_lost = true;
  }
  bool IsLost() {
    const std::lock_guard lock(mutex);
    return is_lost;
  }

  std::unique_ptr<Ranks> processes;
  PerProcess per_process;
  Meeting all;
  std::vector<std::unique_ptr<Meeting>> of_thread = {};
  std::vector<std::string> texts;
  std::vector<std::span<double>> values;
  std::vector<void*> things;
  std::string text = {};  // the text that was broadcast last
  std::mutex mutex = {};
  bool is_lost = false;
};

class RankThread : public Ranks {
 public:
  RankThread(Process& process, int place) : process_(process), place_(place) {}

  int Rank() const override { return Others().Rank() * Here().Ranks() + place_; }
  int Size() const override { return Others().Size() * Here().Ranks(); }
  int LocalRank() const override { return Others().LocalRank() * Here().Ranks() + place_; }
  int Node() const override { return Others().Node(); }
  std::string JoinedBy() const override { return "threads"; }
  bool AnyThread() const override { return Others().AnyThread(); }
  void Abort(int status) override { Others().Abort(status); }

  void Barrier() override {
    Meet([&] { Others().Barrier(); });
  }
  std::string Broadcast(const std::string& text) override {
    Meet([&] { process_.text = Others().Broadcast(text); });
    return process_.text;
  }
  std::vector<std::string> Gather(const std::string& text) override {
    process_.texts[Index()] = text;
    std::vector<std::string> all;
    Meet([&] {
      for (const std::string& joined : Others().Gather(JoinTexts(process_.texts))) {
        for (std::string& one : PartTexts(joined)) all.push_back(std::move(one));
      }
    });
    return all;
  }
  void Max(std::span<double> values) override {
    process_.values[Index()] = values;
    Meet([&] {
      for (const std::span<double> one : process_.values) {
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::max(values[i], one[i]);
      }
      Others().Max(values);
      for (const std::span<double> one : process_.values) std::ranges::copy(values, one.begin());
    });
  }
  void Together(void* own, const std::function<void(std::span<void* const>)>& body) override {
    process_.things[Index()] = own;
    const auto gpus = static_cast<std::size_t>(Here().gpus);
    const std::size_t thread = Index() / gpus;
    process_.of_thread[thread]->Hold(Index() % gpus == 0, [&] {
      body(std::span<void* const>(process_.things).subspan(thread * gpus, gpus));
    });
  }

 private:
  Ranks& Others() const { return *process_.processes; }
  const PerProcess& Here() const { return process_.per_process; }
  std::size_t Index() const { return static_cast<std::size_t>(place_); }
  void Meet(const std::function<void()>& act) { process_.all.Hold(place_ == 0, act); }

  Process& process_;
  int place_;
};

struct OwnedProcess {
  Process process;
};

class FirstRank : OwnedProcess, public RankThread {
 public:
  FirstRank(std::unique_ptr<Ranks> processes, const PerProcess& per_process,
            const std::function<void(Ranks&)>& others)
      : OwnedProcess{{std::move(processes), per_process}}, RankThread(process, 0) {
    double most_and_least[] = {static_cast<double>(per_process.Ranks()),
                               -static_cast<double>(per_process.Ranks())};
    process.processes->Max(most_and_least);
    if (most_and_least[0] != -most_and_least[1]) {
      throw Error(fmt::format("some processes have {} and others {}: give all the same -t and -g",
                              CountText(static_cast<int>(-most_and_least[1]), "rank"),
                              most_and_least[0]));
    }
    for (int place = 1; place < per_process.Ranks(); ++place) {
      threads_.emplace_back([this, place, others] {
        RankThread own(process, place);
        try {
          others(own);
        } catch (const std::exception& error) {
          process.Lose(fmt::format("rank {} gave up: {}", own.Rank(), error.what()));
        }
      });
    }
  }
  ~FirstRank() override {
    process.all.Lose("the first rank of this process has left");
    for (std::thread& thread : threads_) thread.join();
    // Other processes can't be told, since they may be in another call by now.
    if (process.IsLost() && process.processes->Size() > 1) process.processes->Abort(2);
  }
  FirstRank(const FirstRank&) = delete;
  FirstRank& operator=(const FirstRank&) = delete;

 private:
  std::vector<std::thread> threads_ = {};
};

}  // namespace

std::unique_ptr<Ranks> JoinThreads(std::unique_ptr<Ranks> processes, const PerProcess& per_process,
                                   const std::function<void(Ranks&)>& others) {
  return std::make_unique<FirstRank>(std::move(processes), per_process, others);
}

}  // namespace assay
