#include "collectives/used_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace assay {
namespace {

using testing::Optional;

TEST(UsedTransport, IsOneTextWhereAllRanksAgreeAndNamesThemWhereTheyDoNot) {
  EXPECT_EQ(TransportOfRanks({"tcp", "tcp", "tcp"}, {0, 1, 2}), "tcp");
  EXPECT_EQ(TransportOfRanks({"shm", "tcp", "shm"}, {0, 1, 2}), "ranks 0,2: shm; rank 1: tcp");
  EXPECT_EQ(TransportOfRanks({"shm", "shm", "shm", "tcp", "shm"}, {0, 1, 2, 3, 4}),
            "ranks 0-2,4: shm; rank 3: tcp");
  EXPECT_EQ(TransportOfRanks({"shm", "tcp"}, {4, 6}), "rank 4: shm; rank 6: tcp")
      << "a group's ranks have the names that all call them by";
  EXPECT_EQ(TransportOfRanks({"shm", ""}, {0, 1}),
            "rank 0: shm; rank 1: unknown (it does not say)");
  EXPECT_EQ(TransportOfRanks({"", ""}, {0, 1}), "");
}

TEST(UsedTransport, WithinANodeAndBetweenNodesAreTold) {
  EXPECT_EQ(OnTwoLevels("ob1/vader", "ob1/tcp"), "ob1/vader within a node, ob1/tcp between nodes");
  EXPECT_EQ(OnTwoLevels("ob1/vader", ""), "ob1/vader");
  EXPECT_EQ(OnTwoLevels("", "ob1/tcp"), "ob1/tcp");
  EXPECT_EQ(OnTwoLevels("ob1/tcp", "ob1/tcp"), "ob1/tcp");
  EXPECT_EQ(BetweenNodes(OnTwoLevels("ob1/vader", "ob1/tcp")), "ob1/tcp");
  EXPECT_EQ(BetweenNodes("efa"), "efa");
}

TEST(UsedTransport, ThatWasAskedForIsFoundByItsWholeNameInAnyCase) {
  for (const char* name : {"efa", "EFA", "net/libfabric", "Libfabric", "p2p"}) {
    EXPECT_EQ(NotOver("NET/Libfabric/GDRDMA (efa), P2P/CUMEM", name), std::nullopt) << name;
  }
  for (const char* name : {"fabric", "ib", "NET/IB", "ef", "P2"}) {
    EXPECT_THAT(NotOver("NET/Libfabric/GDRDMA (efa), P2P/CUMEM", name),
                Optional(std::string("every rank went over NET/Libfabric/GDRDMA (efa), P2P/CUMEM")))
        << name;
  }
  EXPECT_EQ(NotOver("tcp;ofi_rxm", "tcp"), std::nullopt);
  EXPECT_EQ(NotOver("shared memory", "shared memory"), std::nullopt);
}

TEST(UsedTransport, RanksThatUsedAnotherAreNamed) {
  const std::string used = TransportOfRanks({"shm", "tcp", "shm"}, {0, 1, 2});
  EXPECT_THAT(NotOver(used, "shm"), Optional(std::string("rank 1 went over tcp")));
  EXPECT_THAT(NotOver(used, "tcp"), Optional(std::string("ranks 0,2 went over shm")));
  EXPECT_THAT(NotOver(used, "efa"),
              Optional(std::string("ranks 0,2 went over shm, rank 1 went over tcp")));
}

TEST(UsedTransport, WhatIsUnknownIsNeverWhatWasAskedFor) {
  const std::string unknown = UnknownTransport("ob1 by openib or tcp");
  EXPECT_THAT(NotOver(unknown, "tcp"),
              Optional(std::string("every rank went over unknown (ob1 by openib or tcp)")));
  EXPECT_NE(NotOver(unknown, "unknown"), std::nullopt);
  EXPECT_EQ(NotOver(OnTwoLevels(unknown, "tcp"), "tcp"), std::nullopt);
  EXPECT_NE(NotOver(OnTwoLevels(unknown, "ucx"), "tcp"), std::nullopt);
  EXPECT_NE(NotOver("unknown (torn", "torn"), std::nullopt);
  EXPECT_NE(NotOver("", "tcp"), std::nullopt);
}

}  // namespace
}  // namespace assay
