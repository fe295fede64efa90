// Tests of what puts add to messages, apart from the algorithms that tests/algorithms_test.cpp runs
// on them.
#include "collectives/puts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/base/error.h"
#include "tests/memory_puts.h"
#include "tests/thread_ranks.h"

namespace assay {
namespace {

using testing::HasSubstr;

TEST(Puts, MoreReceivesThanThereIsRoomForWaitTheirTurn) {
  constexpr int kMessages = 300;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    PutWorld world(seed, 2);
    OnRanks(2, [&](ThreadRanks& own) {
      const auto transport =
          MessagesByPuts(std::make_unique<MemoryPuts>(world, own.Rank(), 2, 64, 4));
      const std::span<std::byte> memory = transport->Window(own, 2 * kMessages);
      const int other = 1 - own.Rank();
      std::vector<Transport::Ticket> tickets;
      for (std::size_t i = 0; i < kMessages; ++i) {
        memory[i] = static_cast<std::byte>(i % 251);
        tickets.push_back(transport->Receive(other, &memory[kMessages + i], 1, 0));
        tickets.push_back(transport->Send(other, &memory[i], 1, 0));
      }
      for (const Transport::Ticket ticket : tickets) transport->Wait(ticket);
      for (std::size_t i = 0; i < kMessages; ++i) {
        ASSERT_EQ(memory[kMessages + i], static_cast<std::byte>(i % 251))
            << i << " of seed " << seed;
      }
    });
    EXPECT_EQ(world.Complaint(), "");
  }
}

TEST(Puts, MessagesOfOneTagKeepTheirOrderWhateverOtherTagsDo) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    PutWorld world(seed, 2);
    OnRanks(2, [&](ThreadRanks& own) {
      const auto transport =
          MessagesByPuts(std::make_unique<MemoryPuts>(world, own.Rank(), 2, 64, 4));
      const std::span<std::byte> memory = transport->Window(own, 40);
      std::vector<Transport::Ticket> tickets;
      for (int i = 0; i < 40; ++i) {
        // Sent by turns, received one tag after the other.
        const int tag = own.Rank() == 0 ? i % 2 : i / 20;
        std::byte* const at = &memory[static_cast<std::size_t>(i)];
        if (own.Rank() == 0) {
          *at = static_cast<std::byte>(i);
          tickets.push_back(transport->Send(1, at, 1, tag));
        } else {
          tickets.push_back(transport->Receive(0, at, 1, tag));
        }
      }
      for (const Transport::Ticket ticket : tickets) transport->Wait(ticket);
      if (own.Rank() == 0) return;
      for (int i = 0; i < 40; ++i) {
        ASSERT_EQ(memory[static_cast<std::size_t>(i)], static_cast<std::byte>(i % 20 * 2 + i / 20));
      }
    });
  }
}

TEST(Puts, ANoticeThatNobodyAskedForIsAnErrorWithItsSender) {
  // The notices are of rank 1's first message, of a grant far too early, and of a rank that isn't
  // there.
  for (const std::uint32_t notice : {1U << 16U, 0x8001'0100U, 7U << 16U}) {
    PutWorld world(1, 2);
    OnRanks(2, [&](ThreadRanks& own) {
      auto network = std::make_unique<MemoryPuts>(world, own.Rank(), 2, 64, 4);
      PutNetwork& raw = *network;
      const auto transport = MessagesByPuts(std::move(network));
      const std::span<std::byte> memory = transport->Window(own, 8);
      if (own.Rank() == 1) {
        raw.Put(0, memory.data(), 0, 1, notice, 0);
      } else {
        try {
          transport->Wait(transport->Send(1, memory.data(), 1, 0));
          ADD_FAILURE() << notice;
        } catch (const Error& error) {
          EXPECT_THAT(error.what(), HasSubstr(notice == 7U << 16U ? "rank 7" : "rank 1"));
        }
      }
      own.Barrier();
    });
  }
}

}  // namespace
}  // namespace assay
