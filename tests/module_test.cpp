#include "runner/module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace assay {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

// A folder into which a test lays modules; gone when the test ends.
class ModuleFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "assay-module-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  // FAKE_MODULES holds fit.so, of this build, and unfit.so, of another.
  void Lay(const std::string& fake) const {
    fs::copy_file(fs::path(FAKE_MODULES) / fake, File(), fs::copy_options::overwrite_existing);
    chmod(File().c_str(), 0755);
  }
  std::string File() const { return folder_ + "/libassay-mpi.so"; }
  static Modules::Entry Mpi(const ModuleSearch& search) {
    const Modules modules = Modules::Load(search);
    for (const Modules::Entry& entry : modules.Entries()) {
      if (entry.name == "mpi") return entry;
    }
    return {};
  }

  std::string folder_;
};

TEST_F(ModuleFolder, AModuleOfThisBuildIsOpened) {
  Lay("fit.so");
  const Modules modules = Modules::Load({.folders = {"/nonexistent", folder_}});
  ASSERT_NE(modules.Find("mpi"), nullptr);
  EXPECT_EQ(modules.Find("mpi")->version(), "fake");
  EXPECT_EQ(modules.Find("another"), nullptr);
  EXPECT_EQ(Mpi({.folders = {folder_}}).reason, "");
}

TEST_F(ModuleFolder, AModuleOfAnotherBuildIsAReasonNotACrash) {
  Lay("unfit.so");
  const Modules::Entry entry = Mpi({.folders = {folder_}});
  EXPECT_EQ(entry.module, nullptr);
  EXPECT_THAT(entry.reason, HasSubstr("was built with another assay (of-another-build, not"));
  EXPECT_THAT(entry.remedy, HasSubstr("together"));
}

TEST_F(ModuleFolder, AnAbsentModuleSaysHowToGetIt) {
  const Modules::Entry entry = Mpi({.folders = {folder_}});
  EXPECT_EQ(entry.module, nullptr);
  EXPECT_THAT(entry.reason, HasSubstr("there is no libassay-mpi.so"));
  EXPECT_THAT(entry.remedy, HasSubstr("libopenmpi-dev"));
}

TEST_F(ModuleFolder, AFileThatIsNoLibraryIsAReason) {
  std::ofstream(File()) << "not a library";
  const Modules::Entry entry = Mpi({.folders = {folder_}});
  EXPECT_EQ(entry.module, nullptr);
  EXPECT_THAT(entry.reason, HasSubstr("libassay-mpi.so"));
  EXPECT_NE(entry.remedy, "");
}

TEST_F(ModuleFolder, AChosenFolderComesFirst) {
  Lay("fit.so");
  EXPECT_EQ(Mpi({.chosen = folder_, .folders = {"/nonexistent"}}).path,
            fs::canonical(File()).string());
}

TEST_F(ModuleFolder, AChosenFolderWithoutTheModuleLeavesItToTheUsualOnes) {
  std::string other = folder_ + "/other";
  fs::create_directory(other);
  chmod(other.c_str(), 0755);
  Lay("fit.so");
  EXPECT_NE(Mpi({.chosen = other, .folders = {folder_}}).module, nullptr);
}

TEST_F(ModuleFolder, AChosenFolderThatOthersMayWriteIsRefused) {
  Lay("fit.so");
  for (const mode_t mode : {0777U, 0775U}) {
    chmod(folder_.c_str(), mode);
    const Modules::Entry entry = Mpi({.chosen = folder_, .folders = {folder_}});
    EXPECT_EQ(entry.module, nullptr) << "not even from the usual folder: that's not what was asked";
    EXPECT_THAT(entry.reason, HasSubstr(folder_ + " is writable by others"));
    EXPECT_THAT(entry.remedy, HasSubstr("chmod"));
  }
}

TEST_F(ModuleFolder, AModuleInAChosenFolderThatOthersMayWriteIsRefused) {
  Lay("fit.so");
  chmod(File().c_str(), 0666);
  EXPECT_THAT(Mpi({.chosen = folder_}).reason, HasSubstr("libassay-mpi.so is writable by others"));
}

TEST_F(ModuleFolder, AChosenFolderOfAnotherUserIsRefused) {
  Lay("fit.so");
  if (chown(folder_.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "needs root to give a folder away";
  EXPECT_THAT(Mpi({.chosen = folder_}).reason, HasSubstr("belongs to another user"));
}

TEST(ModuleSearch, LooksBesideTheBinaryAndWhereItIsInstalled) {
  setenv("ASSAY_MODULE_DIR", "/opt/modules", 1);
  const ModuleSearch search = ModuleSearch::Usual();
  unsetenv("ASSAY_MODULE_DIR");
  EXPECT_EQ(search.chosen, "/opt/modules");
  const fs::path origin = fs::read_symlink("/proc/self/exe").parent_path();
  ASSERT_GE(search.folders.size(), 2u);
  EXPECT_EQ(search.folders[0], origin.string());
  EXPECT_EQ(search.folders[1], (origin.parent_path() / "lib/assay").string());
}

}  // namespace
}  // namespace assay
