// The fixture of every test over the stand-in.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "standin/standin.h"

namespace standin {

// Begins with everything as in the beginning, and ends with nothing done that isn't allowed and
// everything given back.
class Fixture : public testing::Test {
 protected:
  void SetUp() override { Reset(); }
  void TearDown() override {
    EXPECT_THAT(Violations(), testing::IsEmpty());
    EXPECT_THAT(Leaks(), testing::IsEmpty());
  }
};

}  // namespace standin
