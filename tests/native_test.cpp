// Collectives through shared memory, between threads and between processes.
#include "collectives/native.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <new>
#include <thread>

#include "results/error.h"
#include "tests/layout_check.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::HasSubstr;

void ExpectRight(const Collective& collective, int ranks) {
  std::mutex mutex;
  std::string wrong;
  OnRanks(ranks, [&](ThreadRanks& own) {
    ASSERT_FALSE(NativeRefusal(collective, own));
    const auto exchange = NativeExchange(collective, own);
    const std::string what = WhatIsWrong(collective, own.Rank(), ranks, *exchange, 3);
    const std::lock_guard lock(mutex);
    if (!what.empty()) wrong = what;
  });
  EXPECT_EQ(wrong, "") << NameOf(collective, ranks);
}

class EachNativeOperation : public testing::TestWithParam<Operation> {};

// Sizes of each form: published in the counter's line and beyond it, one segment, several turns of
// segments.
TEST_P(EachNativeOperation, IsRightInEveryFormOnOneToNineRanks) {
  const OperationFacts& facts = FactsOf(GetParam());
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (const std::int64_t bytes : {16, 3004, 70004, 700012}) {
      if (bytes > 100000 && ranks > 5) continue;
      for (const char* buffers : {"plain", "shared"}) {
        for (const bool in_place : {false, true}) {
          if (in_place && !facts.in_place) continue;
          for (int root = 0; root < (facts.rooted ? ranks : 1); root += std::max(1, ranks - 1)) {
            ExpectRight({.operation = GetParam(),
                         .dtype = "i32",
                         .bytes = bytes,
                         .in_place = in_place,
                         .root = root,
                         .buffers = buffers},
                        ranks);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Native, EachNativeOperation, testing::ValuesIn([] {
                           std::vector<Operation> all;
                           for (const OperationFacts& facts : Operations()) {
                             all.push_back(facts.operation);
                           }
                           return all;
                         }()),
                         [](const auto& each) { return std::string(FactsOf(each.param).name); });

TEST(Native, EveryDtypeAndReductionIsExactInEveryForm) {
  int cases = 0;
  for (const std::string& dtype : CollectiveDtypes()) {
    for (const char* redop : {"sum", "prod", "min", "max", "avg"}) {
      for (const char* buffers : {"plain", "shared"}) {
        for (const std::int64_t bytes : {1000, 9000}) {
          const Collective collective = {
              .dtype = dtype, .redop = redop, .bytes = bytes, .buffers = buffers};
          Ranks alone;
          if (NativeRefusal(collective, alone)) continue;
          ExpectRight(collective, 3);
          ++cases;
        }
      }
    }
  }
  EXPECT_EQ(cases, 4 * (10 * 5 - 2)) << "all that reduce, but for the means of those of 16 bits";
}

TEST(Native, WhatOverflowsTheCachesIsStoredPastThemAndIsRightToo) {
  for (const char* buffers : {"plain", "shared"}) {
    ExpectRight({.bytes = (24 << 20) + 4, .buffers = buffers}, 2);
  }
}

TEST(Native, BuffersOffTheirGrainAreRightToo) {
  for (const OperationFacts& facts : Operations()) {
    for (const char* buffers : {"plain", "shared"}) {
      for (const std::int64_t bytes : {240, 70'000, 6 << 20}) {
        const Collective collective = {
            .operation = facts.operation, .bytes = bytes, .buffers = buffers, .unalign = 3};
        OnRanks(2, [&](ThreadRanks& own) {
          const auto library = NativeLibrary();
          const Prepared prepared = library->Prepare(collective, own, 1);
          std::get<std::unique_ptr<Workload>>(prepared)->Run(2);
          const Checked checked = std::get<std::unique_ptr<Workload>>(prepared)->Verify();
          EXPECT_EQ(checked.wrong, 0) << NameOf(collective, 2) << checked.what.value_or("");
        });
      }
    }
  }
}

TEST(Native, SaysWhichFormItTook) {
  const auto form = [](const Collective& collective) {
    Ranks alone;
    return std::get<std::string>(NativeExchange(collective, alone)->Describe().at("form"));
  };
  EXPECT_EQ(form({.bytes = 8}), "published");
  EXPECT_EQ(form({.bytes = 8, .buffers = "shared"}), "published");
  EXPECT_EQ(form({.bytes = 1 << 20}), "staged");
  EXPECT_EQ(form({.bytes = 1 << 20, .buffers = "shared"}), "direct");
}

TEST(Native, RefusesWhatItHasNot) {
  Ranks alone;
  EXPECT_TRUE(NativeRefusal({.buffers = "registered"}, alone));
  EXPECT_TRUE(NativeRefusal({.algorithm = "ring"}, alone));
  EXPECT_TRUE(NativeRefusal({.dtype = "f8e4m3"}, alone));
  EXPECT_FALSE(NativeRefusal({.operation = Operation::kAllGather, .dtype = "f8e4m3"}, alone));
  class OtherNode : public Ranks {
    int Node() const override { return 1; }
  } other;
  EXPECT_THAT(NativeRefusal({}, other)->remedy, HasSubstr("native-mpi"));
}

// Ranks that are processes, forked from this one and joined by anonymous memory.
class ProcessRanks : public Ranks {
 public:
  struct Board {
    std::atomic<int> arrived;
    std::atomic<int> generation;
    char texts[8][256];
    double values[8];
  };
  static Board* MakeBoard() {
    void* memory =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return new (memory) Board{};
  }
  ProcessRanks(Board& board, int rank, int size) : board_(board), rank_(rank), size_(size) {}
  int Rank() const override { return rank_; }
  int Size() const override { return size_; }
  void Barrier() override {
    const int generation = board_.generation;
    if (++board_.arrived == size_) {
      board_.arrived = 0;
      ++board_.generation;
    }
    while (board_.generation == generation) std::this_thread::yield();
  }
  std::string Broadcast(const std::string& text) override {
    if (rank_ == 0) Write(0, text);
    Barrier();
    std::string copy = board_.texts[0];
    Barrier();
    return copy;
  }
  std::vector<std::string> Gather(const std::string& text) override {
    Write(rank_, text);
    Barrier();
    std::vector<std::string> all;
    for (int rank = 0; rank < size_ && rank_ == 0; ++rank) all.emplace_back(board_.texts[rank]);
    Barrier();
    return all;
  }
  void Max(std::span<double> values) override {
    for (double& value : values) {
      board_.values[rank_] = value;
      Barrier();
      for (int rank = 0; rank < size_; ++rank) value = std::max(value, board_.values[rank]);
      Barrier();
    }
  }

 private:
  void Write(int rank, const std::string& text) {
    board_.texts[rank][text.copy(board_.texts[rank], 255)] = '\0';
  }

  Board& board_;
  int rank_;
  int size_;
};

// What body returns is the process's exit status.
std::vector<pid_t> OnProcesses(int ranks, const std::function<int(Ranks&)>& body) {
  ProcessRanks::Board* board = ProcessRanks::MakeBoard();
  std::vector<pid_t> pids;
  for (int rank = 0; rank < ranks; ++rank) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(60);
      ProcessRanks own(*board, rank, ranks);
      int status = 99;
      try {
        status = body(own);
      } catch (const Error& error) {
        fprintf(stderr, "rank %d: %s\n", rank, error.what());
      }
      _exit(status);
    }
    pids.push_back(pid);
  }
  return pids;
}

int StatusOf(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(Native, ProcessesShareMemoryAsThreadsDo) {
  for (const int ranks : {2, 4}) {
    for (const OperationFacts& facts : Operations()) {
      for (const char* buffers : {"plain", "shared"}) {
        for (const std::int64_t bytes : {1024, 300000}) {
          const Collective collective = {
              .operation = facts.operation, .bytes = bytes, .buffers = buffers};
          for (const pid_t pid : OnProcesses(ranks, [&](Ranks& own) {
                 const auto exchange = NativeExchange(collective, own);
                 const std::string what = WhatIsWrong(collective, own.Rank(), ranks, *exchange, 3);
                 if (!what.empty()) fprintf(stderr, "%s\n", what.c_str());
                 return what.empty() ? 0 : 1;
               })) {
            EXPECT_EQ(StatusOf(pid), 0) << NameOf(collective, ranks);
          }
        }
      }
    }
  }
}

TEST(Native, ARankThatIsKilledEndsTheOthersAndIsNamed) {
  const std::vector<pid_t> pids = OnProcesses(3, [](Ranks& own) {
    const auto exchange = NativeExchange({.bytes = 1 << 20}, own);
    std::vector<std::byte> input(1 << 20);
    std::vector<std::byte> output(1 << 20);
    try {
      for (int i = 0;; ++i) {
        exchange->Run(input.data(), output.data());
        if (own.Rank() == 1 && i == 10) raise(SIGKILL);
      }
    } catch (const Error& error) {
      // Whoever looks last may see that the other one has ended too.
      const std::string what = error.what();
      return what.find("rank 1 ended while rank") == 0            ? 1
             : what.find("ended while rank") != std::string::npos ? 2
                                                                  : 99;
    }
  });
  EXPECT_EQ(StatusOf(pids[1]), -SIGKILL);
  const std::vector<int> others = {StatusOf(pids[0]), StatusOf(pids[2])};
  EXPECT_THAT(others, testing::Each(testing::AnyOf(1, 2)));
  EXPECT_THAT(others, testing::Contains(1));
}

}  // namespace
}  // namespace assay
