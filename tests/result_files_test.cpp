// Tests of folders of result files: what is taken, what is named and left out, and that each run
// counts once.
#include "runner/program/result_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "results/base/error.h"
#include "results/file/json.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ResultFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              fmt::format("assay-folder-{}",
                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Put(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  std::string PutRun(const std::string& name, const std::string& id) {
    assay::Run run = SampleRun();
    run.id = id;
    return Put(name, RunToJson(run));
  }
  std::vector<std::string> Names(const std::vector<std::string>& paths) const {
    std::vector<std::string> names;
    for (const std::string& path : paths) names.push_back(fs::path(path).filename());
    return names;
  }
  ReadBriefs ReadAll() const {
    return ReadAllBriefs(FindResultFiles({folder_.string()}).paths, Catalog::BuiltIn(), false);
  }

  fs::path folder_;
};

TEST_F(ResultFolder, AFolderGivesItsResultsAndJournalsAndNothingBelowIt) {
  PutRun("b.json", "1");
  Put("a.json.part", "");
  Put("notes.txt", "");
  Put("c.json.gz", "");
  fs::create_directories(folder_ / "below");
  fs::create_directories(folder_ / "folder.json");
  Put("below/d.json", "");
  fs::create_symlink(folder_ / "below" / "d.json", folder_ / "link.json");
  fs::create_symlink(folder_ / "nowhere", folder_ / "broken.json");
  const ResultFiles found = FindResultFiles({folder_.string()});
  EXPECT_TRUE(found.has_folder);
  EXPECT_THAT(Names(found.paths), ElementsAre("a.json.part", "b.json", "link.json"));
}

TEST_F(ResultFolder, AFileThatIsGivenBesideItsFolderComesOnceAndOneGivenTwiceTwice) {
  const std::string a = PutRun("a.json", "1");
  PutRun("b.json", "2");
  EXPECT_THAT(Names(FindResultFiles({a, folder_.string()}).paths), ElementsAre("a.json", "b.json"));
  EXPECT_THAT(Names(FindResultFiles({a, a}).paths), ElementsAre("a.json", "a.json"));
}

TEST_F(ResultFolder, WhatHoldsNoRunIsNamedAndLeftOutAndCountedWhereThereIsMuchOfIt) {
  PutRun("good.json", "1");
  Put("half.json", RunToJson(SampleRun()).substr(0, 900));
  Put("other.json", R"({"format":"assay-figures","version":1})");
  ReadBriefs read = ReadAll();
  EXPECT_THAT(read.briefs, SizeIs(1));
  EXPECT_THAT(read.notes, SizeIs(2));
  EXPECT_THAT(read.notes, Contains(HasSubstr("left out: " + (folder_ / "half.json").string())));
  for (int i = 0; i < 20; ++i) Put(fmt::format("bad{}.json", i), "{");
  read = ReadAll();
  EXPECT_THAT(read.briefs, SizeIs(1));
  EXPECT_THAT(read.notes, SizeIs(6));
  EXPECT_EQ(read.notes.back(), "17 more of the files that hold no run");
}

TEST_F(ResultFolder, NothingThatHoldsARunIsAnError) {
  EXPECT_THROW(FindResultFiles({folder_.string()}), Error);
  Put("bad.json", "{");
  Put("worse.json", "[");
  EXPECT_THROW(ReadAll(), Error);
}

TEST_F(ResultFolder, TheSameRunInTwoFilesCountsOnce) {
  PutRun("a.json", "1");
  PutRun("copy.json", "1");
  PutRun("b.json", "2");
  const ReadBriefs read = ReadAll();
  EXPECT_THAT(read.briefs, SizeIs(2));
  EXPECT_THAT(read.notes, ElementsAre(HasSubstr("is the same run as")));
}

// A file that was changed and one that assay wrote can't both be believed.
TEST_F(ResultFolder, TwoFilesOfOneRunThatContradictEachOtherAreAnError) {
  PutRun("a.json", "1");
  assay::Run run = SampleRun();
  run.id = "1";
  run.records[1].rounds[0].time_s[0] *= 0.9;
  Put("changed.json", RunToJson(run));
  EXPECT_THROW(ReadAll(), Error);
}

}  // namespace
}  // namespace assay
