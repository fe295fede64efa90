#include "results/base/hash.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

TEST(Hash, HexIsReadBackAndAnythingElseIsRefused) {
  const std::vector<unsigned char> bytes = {0x00, 0x0f, 0xa5, 0xff};
  EXPECT_EQ(ToHex(bytes), "000fa5ff");
  EXPECT_EQ(FromHex("000fa5ff"), bytes);
  EXPECT_EQ(FromHex(""), std::vector<unsigned char>());
  for (const char* other : {"0", "000", "0g", "g0", "-1", "+1", "0x", " 1"}) {
    EXPECT_FALSE(FromHex(other)) << other;
  }
}

}  // namespace
}  // namespace assay
