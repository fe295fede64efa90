#include "runner/core/module.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
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
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    fs::remove_all(folder_);
  }

  // FAKE_MODULES holds fit.so, of this build, and unfit.so, of another.
  void Lay(const std::string& fake, const std::string& mpi = "openmpi") const {
    fs::copy_file(fs::path(FAKE_MODULES) / fake, File(mpi), fs::copy_options::overwrite_existing);
    chmod(File(mpi).c_str(), 0755);
  }
  std::string File(const std::string& mpi = "openmpi") const {
    return folder_ + "/libassay-" + mpi + ".so";
  }
  // The mpirun that is found first, by its real name.
  void LayMpirun(const std::string& name) const {
    const fs::path real = fs::path(folder_) / name;
    std::ofstream(real) << "#!/bin/sh\n";
    chmod(real.c_str(), 0755);
    if (name != "mpirun") {
      fs::remove(folder_ + "/mpirun");
      fs::create_symlink(real, folder_ + "/mpirun");
    }
    setenv("PATH", (folder_ + ":" + path_).c_str(), 1);
  }
  static Modules::Entry Mpi(const ModuleSearch& search) {
    const Modules modules = Modules::Load(search);
    for (const Modules::Entry& entry : modules.Entries()) {
      if (entry.name == "mpi") return entry;
    }
    return {};
  }

  const std::string path_ = std::getenv("PATH");
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
  LayMpirun("mpirun.openmpi");
  const Modules::Entry entry = Mpi({.folders = {folder_}});
  EXPECT_EQ(entry.module, nullptr);
  EXPECT_THAT(entry.reason, HasSubstr("there is no libassay-openmpi.so"));
  EXPECT_THAT(entry.remedy, HasSubstr("libopenmpi-dev"));
}

TEST_F(ModuleFolder, WhatNeedsADriverThatIsNotThereIsNotOpenedWhereThatIsAsked) {
  if (void* driver = dlopen("libcuda.so.1", RTLD_LAZY)) {
    dlclose(driver);
    GTEST_SKIP() << "there is a driver here";
  }
  Lay("fit.so", "cuda");
  Lay("fit.so", "ofi");
  const auto reason = [&](bool skips, const char* name) {
    const Modules modules = Modules::Load({.folders = {folder_}, .skips_driverless = skips});
    for (const Modules::Entry& entry : modules.Entries()) {
      if (entry.name == name) return entry.module != nullptr ? "open" : entry.reason;
    }
    return std::string("unknown");
  };
  EXPECT_EQ(reason(false, "cuda"), "open");
  EXPECT_EQ(reason(true, "cuda"), "there is no NVIDIA driver");
  EXPECT_EQ(reason(true, "ofi"), "open");
  EXPECT_THAT(reason(true, "nccl"), HasSubstr("there is no libassay-nccl.so"));
}

TEST_F(ModuleFolder, TheLaunchersVariablesTellWhichMpiIsOpened) {
  Lay("fit.so", "openmpi");
  Lay("fit.so", "mpich");
  const std::vector<std::pair<const char*, const char*>> told = {
      {"OMPI_COMM_WORLD_SIZE", "openmpi"},
      {"PMIX_RANK", "openmpi"},
      {"PMI_RANK", "mpich"},
      {"PMI_SIZE", "mpich"}};
  for (const auto& [variable, mpi] : told) {
    // Whatever there is in PATH.
    LayMpirun(mpi == std::string("mpich") ? "mpirun.openmpi" : "mpiexec.hydra");
    setenv(variable, "2", 1);
    const std::string path = Mpi({.folders = {folder_}}).path;
    unsetenv(variable);
    EXPECT_EQ(path, fs::canonical(File(mpi)).string()) << variable;
  }
}

TEST_F(ModuleFolder, WithoutALauncherTheMpirunInThePathTellsWhichMpiIsOpened) {
  Lay("fit.so", "openmpi");
  Lay("fit.so", "mpich");
  for (const char* name : {"orterun", "mpirun.openmpi", "mpirun"}) {
    LayMpirun(name);
    EXPECT_EQ(FindMpirun()->path, folder_ + "/mpirun");
    EXPECT_EQ(Mpi({.folders = {folder_}}).path, fs::canonical(File("openmpi")).string()) << name;
  }
  fs::remove(folder_ + "/mpirun");
  // A script named mpirun beside hydra, as Intel MPI's, too.
  for (const char* name : {"mpiexec.hydra", "mpirun.mpich", "mpirun"}) {
    LayMpirun(name);
    EXPECT_EQ(Mpi({.folders = {folder_}}).path, fs::canonical(File("mpich")).string()) << name;
    fs::remove(folder_ + "/mpirun");
  }
}

TEST_F(ModuleFolder, ABuildWithOneMpiTriesThatUnderAnyLauncher) {
  LayMpirun("mpirun.openmpi");
  Lay("fit.so", "mpich");
  EXPECT_EQ(Mpi({.folders = {folder_}}).path, fs::canonical(File("mpich")).string());
}

TEST_F(ModuleFolder, OfTwoMpisThatCantBeOpenedTheReasonIsThatOfTheFittingOne) {
  LayMpirun("mpirun.openmpi");
  Lay("unfit.so", "mpich");
  EXPECT_THAT(Mpi({.folders = {folder_}}).reason, HasSubstr("there is no libassay-openmpi.so"));
}

TEST_F(ModuleFolder, AFileThatIsNoLibraryIsAReason) {
  std::ofstream(File()) << "not a library";
  const Modules::Entry entry = Mpi({.folders = {folder_}});
  EXPECT_EQ(entry.module, nullptr);
  EXPECT_THAT(entry.reason, HasSubstr("libassay-openmpi.so"));
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
  EXPECT_THAT(Mpi({.chosen = folder_}).reason,
              HasSubstr("libassay-openmpi.so is writable by others"));
}

TEST_F(ModuleFolder, AChosenFolderOfAnotherUserIsRefused) {
  Lay("fit.so");
  if (chown(folder_.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "needs root to give a folder away";
  EXPECT_THAT(Mpi({.chosen = folder_}).reason, HasSubstr("belongs to another user"));
}

// Folders below the test's own.
class ChosenFolder : public ModuleFolder {
 protected:
  // A folder that is the user's alone, in which there is a module of this build.
  std::string Good() const {
    const std::string good = folder_ + "/good";
    Lay("fit.so");
    fs::create_directory(good);
    chmod(good.c_str(), 0755);
    fs::rename(File(), good + "/libassay-openmpi.so");
    return good;
  }
  static bool IsOpened(const std::string& chosen) {
    return Mpi({.chosen = chosen}).module != nullptr;
  }
  static std::string Refusal(const std::string& chosen) {
    const Modules::Entry entry = Mpi({.chosen = chosen});
    EXPECT_EQ(entry.module, nullptr) << chosen;
    EXPECT_THAT(entry.reason, HasSubstr("so nothing from ASSAY_MODULE_DIR is opened"));
    EXPECT_THAT(entry.remedy, HasSubstr("unset ASSAY_MODULE_DIR"));
    return entry.reason;
  }
};

TEST_F(ChosenFolder, AFolderAboveItThatOthersMayWriteIsRefused) {
  const std::string good = Good();
  EXPECT_TRUE(IsOpened(good));
  for (const mode_t mode : {0777U, 0775U}) {
    chmod(folder_.c_str(), mode);
    EXPECT_THAT(Refusal(good), HasSubstr(folder_ + " is writable by others"));
  }
}

TEST_F(ChosenFolder, AFolderAboveItThatBelongsToAnotherUserIsRefused) {
  const std::string good = Good();
  if (chown(folder_.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "needs root to give a folder away";
  EXPECT_THAT(Refusal(good), HasSubstr(folder_ + " belongs to another user"));
}

TEST_F(ChosenFolder, AStickyFolderMayStandAboveItButNotInItsPlace) {
  const std::string good = Good();
  chmod(folder_.c_str(), 01777);
  EXPECT_TRUE(IsOpened(good));
  chmod(good.c_str(), 01777);
  for (const std::string end : {"", "/", "/.", "/x/.."}) {
    if (end == "/x/..") fs::create_directory(good + "/x");
    EXPECT_THAT(Refusal(good + end), HasSubstr(good + " is writable by others")) << end;
  }
}

TEST_F(ChosenFolder, ALinkOfTheUsersOwnIsFollowed) {
  const std::string good = Good();
  const std::string link = folder_ + "/link";
  fs::create_symlink("good/../good/.", link);
  EXPECT_TRUE(IsOpened(link));
  EXPECT_EQ(Mpi({.chosen = link}).path, fs::canonical(good + "/libassay-openmpi.so").string());
}

TEST_F(ChosenFolder, ALinkToItsOwnFolderIsJudgedByThatFolder) {
  const std::string good = Good();
  fs::create_symlink(".", good + "/link");
  EXPECT_TRUE(IsOpened(good + "/link"));
  chmod(good.c_str(), 01777);
  EXPECT_THAT(Refusal(good + "/link"), HasSubstr(good + " is writable by others"));
}

TEST_F(ChosenFolder, AFolderOfAUserWhomTheNamespaceDoesntKnowIsRefusedAsThat) {
  const std::string good = Good();
  // Without the right to give it away, "/" is root's, whom the namespace doesn't know either.
  [[maybe_unused]] const int given = chown(good.c_str(), 12345, 12345);
  const std::string map = std::to_string(geteuid()) + ' ' + std::to_string(geteuid()) + " 1\n";
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::string said;
    if (unshare(CLONE_NEWUSER) == 0 && (std::ofstream("/proc/self/uid_map") << map << std::flush)) {
      const Modules::Entry entry = Mpi({.chosen = good});
      said = entry.reason + "; " + entry.remedy;
    }
    _exit(write(ends[1], said.data(), said.size()) < 0 ? 1 : 0);
  }
  close(ends[1]);
  std::string said(4096, '\0');
  said.resize(
      static_cast<std::size_t>(std::max<ssize_t>(read(ends[0], said.data(), said.size()), 0)));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (said.empty()) GTEST_SKIP() << "needs the right to make a user namespace";
  EXPECT_THAT(said, HasSubstr(", as which this user namespace shows all users"));
  EXPECT_THAT(said, HasSubstr("; install modules beside assay"));
}

TEST_F(ChosenFolder, WhatALinkLeadsToIsHeldToTheSame) {
  const std::string good = Good();
  const std::string link = folder_ + "/link";
  fs::create_symlink(good, link);
  chmod(good.c_str(), 0777);
  EXPECT_THAT(Refusal(link), HasSubstr(good + " is writable by others"));
  // A module that is a link is held to the same.
  const std::string other = folder_ + "/other";
  fs::create_directory(other);
  chmod(other.c_str(), 0755);
  fs::create_symlink(good + "/libassay-openmpi.so", other + "/libassay-openmpi.so");
  EXPECT_THAT(Refusal(other), HasSubstr(good + " is writable by others"));
}

TEST_F(ChosenFolder, ALinkOfAnotherUserIsRefusedWhereverItLeads) {
  const std::string good = Good();
  const std::string link = folder_ + "/link";
  fs::create_symlink(good, link);
  chmod(folder_.c_str(), 01777);
  EXPECT_TRUE(IsOpened(link));
  if (lchown(link.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "needs root to give a link away";
  EXPECT_THAT(Refusal(link), HasSubstr(link + " belongs to another user"));
}

TEST_F(ChosenFolder, LinksWithoutAnEndAreRefused) {
  const std::string link = folder_ + "/link";
  fs::create_symlink("link", link);
  EXPECT_THAT(Refusal(link), HasSubstr(link + " is a link that leads nowhere"));
}

TEST_F(ChosenFolder, ARelativePathIsRefused) {
  const std::string good = Good();
  const fs::path here = fs::current_path();
  fs::current_path(folder_);
  EXPECT_THAT(Refusal("good"), HasSubstr("good is no absolute path"));
  fs::current_path(here);
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
