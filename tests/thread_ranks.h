// Ranks that are threads of one process.
#pragma once

#include <algorithm>
#include <barrier>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "runner/core/ranks.h"

namespace assay {

// The state that ranks share which are threads of one process.
struct World {
  explicit World(int ranks)
      : size(ranks),
        ranks_per_node(ranks),
        meeting(ranks),
        texts(static_cast<std::size_t>(ranks)),
        values(static_cast<std::size_t>(ranks)),
        arrays(static_cast<std::size_t>(ranks)),
        now(static_cast<std::size_t>(ranks)) {}
  int size;
  int ranks_per_node;  // as a test pretends
  std::barrier<> meeting;
  std::vector<std::string> texts;
  std::vector<std::vector<double>> values;
  std::vector<std::vector<float>> arrays;
  std::vector<double> now;  // each rank's clock
};

class ThreadRanks : public Ranks {
 public:
  ThreadRanks(World& world, int rank) : world_(world), rank_(rank) {}
  int Rank() const override { return rank_; }
  int Size() const override { return world_.size; }
  int LocalRank() const override { return rank_ % world_.ranks_per_node; }
  int Node() const override { return rank_ / world_.ranks_per_node; }
  void Barrier() override { world_.meeting.arrive_and_wait(); }
  std::string Broadcast(const std::string& text) override {
    if (rank_ == 0) world_.texts[0] = text;
    Barrier();
    std::string copy = world_.texts[0];
    Barrier();
    return copy;
  }
  std::vector<std::string> Gather(const std::string& text) override {
    world_.texts[Index()] = text;
    Barrier();
    std::vector<std::string> all;
    if (rank_ == 0) all = world_.texts;
    Barrier();
    return all;
  }
  void Max(std::span<double> values) override {
    world_.values[Index()].assign(values.begin(), values.end());
    Barrier();
    for (const std::vector<double>& other : world_.values) {
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::max(values[i], other[i]);
    }
    Barrier();
  }
  std::size_t Index() const { return static_cast<std::size_t>(rank_); }
  World& world() { return world_; }

 private:
  World& world_;
  int rank_;
};

inline void OnRanks(int ranks, const std::function<void(ThreadRanks&)>& body) {
  World world(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&world, &body, rank] {
      ThreadRanks own(world, rank);
      body(own);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace assay
