// Collectives through shared memory, between threads and between processes.
#include "collectives/native.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/shared_memory.h"
#include "results/base/dtype.h"
#include "results/base/error.h"
#include "runner/core/group.h"
#include "tests/layout_check.h"
#include "tests/other_user.h"
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
// segments; the longer ones on five ranks or fewer.
TEST_P(EachNativeOperation, IsRightInEveryFormOnOneToNineRanks) {
  const OperationFacts& facts = FactsOf(GetParam());
  for (int ranks = 1; ranks <= 9; ++ranks) {
    for (const std::int64_t bytes : {16, 3004, 70004, 700012}) {
      if (bytes > 10000 && ranks > 5) continue;
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
  for (const std::string& dtype : DtypeNames(DtypeUse::kCollectives)) {
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
  EXPECT_TRUE(NativeRefusal({.dtype = "fp8_e4m3"}, alone));
  EXPECT_FALSE(NativeRefusal({.operation = Operation::kAllGather, .dtype = "fp8_e4m3"}, alone));
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

// Runs `body` in a process for each rank; what it returns is the process's exit status.
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
      // The last rank to look may see that the other one has ended too.
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

// ---- Shared memory, of which rank 0 tells where it is

// Rank 1 of two, to which rank 0 says always the same.
class Told : public Ranks {
 public:
  explicit Told(std::string text) : text_(std::move(text)) {}
  int Rank() const override { return 1; }
  int Size() const override { return 2; }
  std::string Broadcast(const std::string& own) override {
    (void)own;
    return text_;
  }
  std::vector<std::string> Gather(const std::string& own) override {
    (void)own;
    return {};
  }

 private:
  std::string text_;
};

constexpr std::size_t kMemory = 16 << 10;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

// The address of a descriptor of this process, as rank 0 tells it.
std::string AddressOf(int descriptor) {
  struct stat status = {};
  EXPECT_EQ(fstat(descriptor, &status), 0);
  return fmt::format("{} {} {} {}", getpid(), descriptor, status.st_dev, status.st_ino);
}

// Maps what rank 0 tells of, and writes to all of it.
bool TakesAndWrites(const std::string& address) {
  Told ranks(address);
  try {
    const SharedMemory memory(ranks, kMemory);
    for (std::byte& byte : memory.Bytes()) byte = std::byte{1};
    return true;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("can't share 16384 bytes of memory"));
    return false;
  }
}

std::string BytesOf(int descriptor) {
  std::string bytes(kMemory, '\0');
  EXPECT_EQ(pread(descriptor, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kMemory));
  return bytes;
}

int Filled(int descriptor) {
  const std::string bytes(kMemory, 'x');
  EXPECT_EQ(pwrite(descriptor, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kMemory));
  return descriptor;
}

int Memfd(std::size_t bytes, int seals, const char* name = "assay-ranks") {
  const int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(ftruncate(descriptor, static_cast<off_t>(bytes)), 0);
  EXPECT_EQ(fcntl(descriptor, F_ADD_SEALS, seals), 0);
  return descriptor;
}

TEST(SharedMemory, IsTakenWhereItIsSealedMemory) {
  const int memory = Memfd(kMemory, kSeals);
  EXPECT_TRUE(TakesAndWrites(AddressOf(memory)));
  EXPECT_EQ(BytesOf(memory), std::string(kMemory, '\1'));
  close(memory);
}

TEST(SharedMemory, AnAddressOfAFileIsRefusedAndTheFileUntouched) {
  std::string path = testing::TempDir() + "assay-file-XXXXXX";
  const int named = Filled(mkstemp(path.data()));
  struct stat status = {};
  ASSERT_EQ(fstat(named, &status), 0);
  EXPECT_FALSE(TakesAndWrites(AddressOf(named)));
  EXPECT_FALSE(TakesAndWrites(fmt::format("{} {} {}", path, status.st_dev, status.st_ino)));
  EXPECT_FALSE(
      TakesAndWrites(fmt::format("1/../../../{} 0 {} {}", path, status.st_dev, status.st_ino)));
  EXPECT_EQ(BytesOf(named), std::string(kMemory, 'x'));
  // A file that has no name any more is refused too, on a disk or in memory.
  EXPECT_EQ(unlink(path.c_str()), 0);
  EXPECT_FALSE(TakesAndWrites(AddressOf(named)));
  EXPECT_EQ(BytesOf(named), std::string(kMemory, 'x'));
  close(named);
  if (const int nameless = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); nameless >= 0) {
    EXPECT_FALSE(TakesAndWrites(AddressOf(Filled(nameless))));
    EXPECT_EQ(BytesOf(nameless), std::string(kMemory, 'x'));
    close(nameless);
  }
}

TEST(SharedMemory, AnyOtherMemoryIsRefused) {
  const int unsealed = Memfd(kMemory, 0);
  const int shrinks = Memfd(kMemory, F_SEAL_GROW);
  const int grows = Memfd(kMemory, F_SEAL_SHRINK);
  const int short_of_it = Memfd(kMemory - 4096, kSeals);
  const int more = Memfd(kMemory + 4096, kSeals);
  const int read_only = Memfd(kMemory, kSeals | F_SEAL_WRITE);
  const int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
  const int another_programs = Memfd(kMemory, kSeals, "assay-ranks2");
  for (const int other :
       {unsealed, shrinks, grows, short_of_it, more, read_only, another_programs, device}) {
    EXPECT_FALSE(TakesAndWrites(AddressOf(other)));
    close(other);
  }
  for (const char* address : {"", "x", "-1 0 0 0", "1 -1 0 0", "1 0"}) {
    EXPECT_FALSE(TakesAndWrites(address)) << address;
  }
}

TEST(SharedMemory, AnotherUsersIsRefused) {
  if (!CanBeAnother()) GTEST_SKIP() << "takes root to be another user";
  const int memory = Memfd(kMemory, kSeals);
  ASSERT_EQ(fchown(memory, kNobody, kNobody), 0);
  EXPECT_FALSE(TakesAndWrites(AddressOf(memory)));
  EXPECT_EQ(BytesOf(memory), std::string(kMemory, '\0'));
  close(memory);
}

TEST(SharedMemory, IsNeverAProgramSinceSystemsMayAllowNoOther) {
  constexpr int kSealedExec = 0x20;  // F_SEAL_EXEC
  // Rank 0, which looks at the seals of what it tells.
  class Looking : public Told {
   public:
    Looking() : Told("") {}
    int Rank() const override { return 0; }
    std::string Broadcast(const std::string& own) override {
      int process = 0;
      int descriptor = -1;
      std::istringstream(own) >> process >> descriptor;
      seals = fcntl(descriptor, F_GET_SEALS);
      return own;
    }
    int seals = -1;
  } ranks;
  const SharedMemory memory(ranks, kMemory);
  const int known = memfd_create("known", MFD_CLOEXEC | 0x8U);  // MFD_NOEXEC_SEAL
  EXPECT_EQ(ranks.seals & kSealedExec, known >= 0 ? kSealedExec : 0);
  if (known >= 0) close(known);
}

TEST(SharedMemory, NobodyCanMakeItSmallerUnderTheOthers) {
  // Rank 0, which does with the memory what another rank could.
  class Shrinking : public Told {
   public:
    Shrinking() : Told("") {}
    int Rank() const override { return 0; }
    std::string Broadcast(const std::string& own) override {
      int process = 0;
      std::istringstream(own) >> process >> descriptor;
      EXPECT_EQ(process, getpid());
      for (const off_t bytes : {off_t{0}, off_t{2 * kMemory}}) {
        EXPECT_NE(ftruncate(descriptor, bytes), 0) << bytes;
      }
      return own;
    }
    int descriptor = -1;
  } ranks;
  const SharedMemory memory(ranks, kMemory);
  EXPECT_GE(ranks.descriptor, 0);
  std::memset(memory.Bytes().data(), 1, kMemory);
}

TEST(SharedMemory, ARanksBadNumberIsNamed) {
  for (const char* pid : {"", "x", "12x", "99999999999999999999"}) {
    Told ranks(JoinTexts({"7", pid}));
    try {
      const SharedWait wait(ranks);
      ADD_FAILURE() << pid;
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), fmt::format("rank 1 told '{}' for the number of its process; report "
                                          "this as a bug",
                                          pid));
    }
  }
}

}  // namespace
}  // namespace assay
