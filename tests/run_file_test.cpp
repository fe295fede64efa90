#include "results/file/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/file/json.h"
#include "tests/error_text.h"
#include "tests/sample_run.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
namespace fs = std::filesystem;

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return (std::stringstream() << file.rdbuf()).str();
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

assay::Run Header() {
  assay::Run run = SampleRun();
  run.rounds = 5;
  run.records.clear();
  return run;
}

// A record after `rounds` visits, told apart by their start.
Record After(int rounds) {
  Record record = SampleStorage();
  record.rounds.clear();
  for (int i = 0; i < rounds; ++i) {
    record.rounds.push_back({.start_s = 1.0 * i, .order = i, .batch = 1, .time_s = {0.5}});
  }
  return record;
}

// Each test in an empty folder of its own.
class RunFile : public ::testing::Test {
 protected:
  RunFile() {
    std::string pattern = ::testing::TempDir() + "run_file_XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/run.json";
    part_ = path_ + ".part";
  }
  ~RunFile() override { fs::remove_all(folder_); }

  std::string folder_;
  std::string path_;
  std::string part_;
};

TEST_F(RunFile, TheJournalIsFoldedIntoTheFile) {
  Journal journal(path_, Header());
  journal.Append(SampleGemm(), 1);
  EXPECT_FALSE(fs::exists(path_));
  journal.Finish(SampleRun());
  EXPECT_EQ(Contents(path_), RunToJson(SampleRun()));
  EXPECT_EQ(RunToJson(ReadRun(path_)), RunToJson(SampleRun()));
  // Neither the journal nor a temporary file is left.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(RunFile, TheJournalAloneIsAnInterruptedRun) {
  {
    Journal journal(path_, Header());
    for (int round = 1; round <= 2; ++round) journal.Append(After(round), round);
    journal.Append(SampleSkip(), 1);
  }
  const assay::Run run = ReadRun(part_);
  EXPECT_EQ(run.status, "interrupted");
  EXPECT_FALSE(run.complete);
  ASSERT_THAT(run.records, SizeIs(2));
  EXPECT_EQ(RecordToJson(run.records[1]), RecordToJson(SampleSkip()));
  const Record& record = run.records[0];
  ASSERT_THAT(record.rounds, SizeIs(2));
  EXPECT_EQ(record.rounds[1].start_s, 1.0);
  EXPECT_FALSE(record.complete);
  EXPECT_EQ(record.stopped, "interrupted");
}

TEST_F(RunFile, ALineHoldsOnlyTheNewestVisit) {
  Journal journal(path_, Header());
  for (int round = 1; round <= 3; ++round) journal.Append(After(round), round);
  std::istringstream lines(Contents(part_));
  std::string line;
  std::getline(lines, line);
  for (int round = 1; std::getline(lines, line); ++round) {
    EXPECT_THAT(line, HasSubstr("{\"round\":" + std::to_string(round) + ",\"probe\":\"storage\""));
    EXPECT_THAT(RecordFromJson(line, "line").rounds, SizeIs(1));
  }
  EXPECT_THAT(ReadRun(part_).records.at(0).rounds, SizeIs(3));
}

TEST_F(RunFile, TheNewestStatusFactsAndVerificationWin) {
  {
    Journal journal(path_, Header());
    journal.Append(After(1), 1);
    Record failed = After(1);
    failed.status = Status::kPartial;
    failed.reason = "the disk went away";
    failed.facts = {{"tries", std::int64_t{2}}};
    journal.Append(failed, 2);
  }
  const Record record = ReadRun(part_).records.at(0);
  EXPECT_EQ(record.status, Status::kPartial);
  EXPECT_EQ(record.reason, "the disk went away");
  EXPECT_EQ(record.facts.count("tries"), 1U);
  EXPECT_THAT(record.rounds, SizeIs(1));
}

TEST_F(RunFile, AWrongAnswerTakesItsRoundsBack) {
  {
    Journal journal(path_, Header());
    journal.Append(After(2), 2);
    Record wrong = After(0);
    wrong.status = Status::kWrong;
    journal.Append(wrong, 3);
  }
  const Record record = ReadRun(part_).records.at(0);
  EXPECT_EQ(record.status, Status::kWrong);
  EXPECT_THAT(record.rounds, SizeIs(0));
}

// A record with these visits, each by its round and its time.
Record WithVisits(const std::vector<std::pair<int, double>>& visits) {
  Record record = After(0);
  for (const auto& [round, time_s] : visits) {
    record.rounds.push_back({.round = round, .batch = 1, .time_s = {time_s}});
  }
  return record;
}

std::vector<std::pair<int, double>> VisitsIn(const Record& record) {
  std::vector<std::pair<int, double>> visits;
  for (const Visit& visit : record.rounds) visits.emplace_back(visit.round, visit.time_s.at(0));
  return visits;
}

// A journal with a line for each of these records.
assay::Run JournalOf(const std::vector<Record>& lines, const ReadLimits& limits = {}) {
  std::string text = RunToJson(Header());
  for (const Record& line : lines) text += RecordToJson(line) + "\n";
  return RunFromJournal(text, "a journal", limits);
}

TEST_F(RunFile, AVisitIsKnownByItsCaseAndItsRound) {
  // The run was taken up again after its second round was lost, and did its third once more.
  const assay::Run run =
      JournalOf({WithVisits({{1, 0.1}}), WithVisits({{3, 0.3}}), WithVisits({{4, 0.4}}),
                 WithVisits({{2, 0.2}}), WithVisits({{3, 0.5}})});
  EXPECT_THAT(VisitsIn(run.records.at(0)),
              ElementsAre(Pair(1, 0.1), Pair(2, 0.2), Pair(3, 0.5), Pair(4, 0.4)));
  Record other = WithVisits({{1, 0.7}});
  other.backend = "psync";
  EXPECT_THAT(JournalOf({WithVisits({{1, 0.1}}), other}).records, SizeIs(2));
}

TEST_F(RunFile, VisitsThatTellNoRoundAllCount) {
  const assay::Run old = JournalOf({WithVisits({{0, 0.1}}), WithVisits({{0, 0.2}})});
  EXPECT_THAT(VisitsIn(old.records.at(0)), ElementsAre(Pair(0, 0.1), Pair(0, 0.2)));
  // An older assay began this run, and this one went on.
  const assay::Run both =
      JournalOf({WithVisits({{0, 0.1}}), WithVisits({{2, 0.2}}), WithVisits({{2, 0.3}})});
  EXPECT_THAT(VisitsIn(both.records.at(0)), ElementsAre(Pair(0, 0.1), Pair(2, 0.3)));
}

TEST_F(RunFile, AVisitThatComesAgainIsNoMoreValues) {
  const std::vector<Record> once = {WithVisits({{1, 0.1}})};
  ReadLimits limits = {};
  for (limits.values = 1;; ++limits.values) {
    try {
      JournalOf(once, limits);
      break;
    } catch (const Error&) {
      ASSERT_LT(limits.values, 1000);
    }
  }
  const std::vector<Record> often(10, once[0]);
  EXPECT_THAT(VisitsIn(JournalOf(often, limits).records.at(0)), ElementsAre(Pair(1, 0.1)));
  EXPECT_THROW(JournalOf({once[0], WithVisits({{2, 0.1}})}, limits), Error);
}

TEST_F(RunFile, RecordsOfOneCaseOnTwoDevicesStayApart) {
  Record first = After(1);
  first.units = {{.rank = 0, .node = 0, .device = 0}};
  Record second = After(1);
  second.units = {{.rank = 0, .node = 0, .device = 1}};
  {
    Journal journal(path_, Header());
    journal.Append(first, 1);
    journal.Append(second, 1);
  }
  EXPECT_THAT(ReadRun(part_).records, SizeIs(2));
}

TEST_F(RunFile, ATornLastLineIsDropped) {
  {
    Journal journal(path_, Header());
    for (int round = 1; round <= 2; ++round) journal.Append(After(round), round);
  }
  const std::string whole = Contents(part_);
  const std::size_t second_line = whole.find('\n') + 1;
  const std::size_t third_line = whole.find('\n', second_line) + 1;
  for (std::size_t size = third_line; size < whole.size(); ++size) {
    const assay::Run run = RunFromJournal(whole.substr(0, size), "torn");
    ASSERT_EQ(run.records.at(0).rounds.size(), 1U) << size;
  }
  EXPECT_THAT(RunFromJournal(whole.substr(0, second_line + 5), "torn").records, SizeIs(0));
  EXPECT_THAT(ErrorText([&] { RunFromJournal(whole.substr(0, 20), "a.part"); }),
              HasSubstr("a.part: nothing had been measured"));
}

TEST_F(RunFile, ADamagedLineInTheMiddleIsNamed) {
  {
    Journal journal(path_, Header());
    for (int round = 1; round <= 2; ++round) journal.Append(After(round), round);
  }
  std::string text = Contents(part_);
  text[text.find('\n') + 10] = '\x01';
  Write(part_, text);
  EXPECT_THAT(ErrorText([&] { ReadRun(part_); }), HasSubstr("run.json.part, line 2: this isn't"));
}

// The text of a journal with so many lines, one for each of so many cases in turn.
std::string JournalOf(int lines, int cases) {
  std::string text = RunToJson(Header());
  Record record = SampleSkip();
  for (int line = 0; line < lines; ++line) {
    record.backend = fmt::format("b{}", line % cases);
    text += RecordToJson(record) + "\n";
  }
  return text;
}

TEST_F(RunFile, WhatIsKeptOfAJournalIsHeldToTheLimitsOfAFile) {
  const auto refusal = [](const std::string& text, const ReadLimits& limits) {
    return ErrorText([&] { RunFromJournal(text, "j", limits); });
  };
  EXPECT_EQ(refusal(JournalOf(9, 3), {.entries = 3}), "no error");
  EXPECT_THAT(refusal(JournalOf(9, 4), {.entries = 3}),
              HasSubstr("j, line 5: the journal has more records than the 3 that it may have"));
  std::string text = RunToJson(Header());
  const std::string line = RecordToJson(After(2)) + "\n";
  for (int i = 0; i < 3; ++i) text += line;
  EXPECT_EQ(refusal(text, {.entries = 6}), "no error");
  EXPECT_THAT(refusal(text, {.entries = 5}),
              HasSubstr("j, line 4: the journal has more rounds of a case than the 5"));
  HeldValues held;
  RecordFromJson(line, "line", &held);
  EXPECT_GT(held.rounds, 2);
  EXPECT_GT(held.rest, 10);
  const std::int64_t values = 3 * held.rounds + held.rest;
  EXPECT_EQ(refusal(text, {.values = values}), "no error");
  EXPECT_THAT(refusal(text, {.values = values - 1}),
              HasSubstr("j, line 4: the journal has more values than the"));
  Record wrong = After(0);
  wrong.status = Status::kWrong;
  // Rounds that a wrong answer takes back no longer count as held.
  EXPECT_EQ(refusal(text + RecordToJson(wrong) + "\n" + line + line, {.values = values}),
            "no error");
  Record other = After(2);
  other.backend = "libaio";
  EXPECT_THAT(refusal(text + RecordToJson(other) + "\n", {.values = values}),
              HasSubstr("j, line 5: the journal has more values than the"));
}

TEST_F(RunFile, LinesAreReadOneByOne) {
  const std::string large((3U << 20U) + 7, 'x');  // more than is read at once
  Write(path_, "a\n\n" + large + "\nb\ntorn");
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) { lines.emplace_back(line); };
  ReadLines(path_, 8 << 20, "x", take);
  EXPECT_EQ(lines, (std::vector<std::string>{"a", "", large, "b"}));
  EXPECT_THAT(ErrorText([&] { ReadLines(path_, 1 << 20, "another", take); }),
              HasSubstr("run.json' has a line over 1 MiB; give another"));
}

// A soak says again at each visit what a case is; 5,000 lines here stand for the millions that it
// writes in days.
TEST_F(RunFile, WhatALongSoakSaysAgainAtEachVisitCountsOnce) {
  std::string text = RunToJson(Header());
  Record record = After(1);
  for (int i = 0; i < 200; ++i) record.facts[fmt::format("fact{}", i)] = std::int64_t{i};
  const std::string line = RecordToJson(record) + "\n";
  constexpr std::size_t kLines = 5'000;
  for (std::size_t i = 0; i < kLines; ++i) text += line;
  const ReadLimits limits = {.values = 100'000, .entries = kLines};  // of the million that it says
  const assay::Run run = RunFromJournal(text, "j", limits);
  ASSERT_THAT(run.records, SizeIs(1));
  EXPECT_THAT(run.records[0].rounds, SizeIs(kLines));
}

TEST_F(RunFile, AJournalOfOneRecordMoreThanAFileMayHaveIsRefused) {
  Write(part_, JournalOf(100'001, 100'001));
  EXPECT_THAT(ErrorText([&] { ReadRun(part_); }), HasSubstr("more records than the 100000"));
}

TEST_F(RunFile, WhileHeldBackNothingTouchesTheDisk) {
  Journal journal(path_, Header());
  const std::string before = Contents(part_);
  journal.HoldBack(true);
  journal.Append(After(1), 1);
  journal.Append(After(2), 2);
  EXPECT_EQ(Contents(part_), before);
  journal.HoldBack(false);
  EXPECT_THAT(ReadRun(part_).records.at(0).rounds, SizeIs(2));
}

TEST_F(RunFile, WhatWasHeldBackIsKeptWhenTheJournalGoes) {
  {
    Journal journal(path_, Header());
    journal.HoldBack(true);
    journal.Append(After(1), 1);
  }
  EXPECT_THAT(ReadRun(part_).records, SizeIs(1));
}

TEST_F(RunFile, FinishKeepsRecordsThatOnlyTheJournalHas) {
  Journal journal(path_, Header());
  journal.Append(After(3), 3);
  assay::Run run = Header();
  run.records = {SampleGemm()};
  journal.Finish(run);
  const assay::Run read = ReadRun(path_);
  ASSERT_THAT(read.records, SizeIs(2));
  EXPECT_EQ(read.records[1].probe, "storage");
  EXPECT_THAT(read.records[1].rounds, SizeIs(3));
}

TEST_F(RunFile, AJournalThatWasDamagedMeanwhileDoesNotCostTheRun) {
  Journal journal(path_, Header());
  journal.Append(After(1), 1);
  Write(part_, "not ours\n");
  journal.Finish(SampleRun());
  EXPECT_EQ(Contents(path_), RunToJson(SampleRun()));
  EXPECT_EQ(Contents(part_), "not ours\n");
}

TEST_F(RunFile, ABadPathFailsBeforeMeasuring) {
  EXPECT_THAT(ErrorText([&] { Journal(folder_ + "/no/run.json", Header()); }),
              HasSubstr("No such file or directory; make that folder first"));
  Write(folder_ + "/file", "x");
  EXPECT_THAT(ErrorText([&] { Journal(folder_ + "/file/run.json", Header()); }),
              HasSubstr("Not a directory; choose another file with --out"));
}

TEST_F(RunFile, ARunThatCouldNotBeReadBackIsFoundOutAtOnce) {
  assay::Run one_node = Header();
  one_node.nodes.resize(1);
  EXPECT_THAT(ErrorText([&] { Journal(path_, one_node); }), HasSubstr("rank 1 on node 1 of 1"));
  one_node.ranks.resize(1);
  Journal journal(path_, one_node);
  EXPECT_THAT(ErrorText([&] { journal.Append(SampleGemm(), 1); }),
              HasSubstr("on node 1 of 1 (gemm), so its file could not be read"));
}

TEST_F(RunFile, ADefaultNameThatIsTakenGivesTheNextThatNobodyHas) {
  Journal first(path_, Header(), WhereTaken::kTakesNext);
  Journal second(path_, Header(), WhereTaken::kTakesNext);
  EXPECT_EQ(first.Path(), path_);
  EXPECT_EQ(second.Path(), folder_ + "/run-2.json");
  first.Finish(Header());
  // The first has its file by now, and the second still its journal.
  Journal third(path_, Header(), WhereTaken::kTakesNext);
  EXPECT_EQ(third.Path(), folder_ + "/run-3.json");
  second.Finish(Header());
  third.Finish(Header());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 3);
}

TEST_F(RunFile, AFileIsReplacedWholeOrStaysAsItWas) {
  Write(path_, "old");
  chmod(path_.c_str(), 0600);
  WriteText(path_, "new", "--out");
  EXPECT_EQ(Contents(path_), "new");
  struct stat status = {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit = {};
  getrlimit(RLIMIT_FSIZE, &old_limit);
  const rlimit small = {.rlim_cur = 2, .rlim_max = old_limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string sentence = ErrorText([&] { WriteText(path_, "newer", "--report"); });
  setrlimit(RLIMIT_FSIZE, &old_limit);
  signal(SIGXFSZ, old_handler);
  EXPECT_THAT(sentence, HasSubstr("File too large; choose another file with --report; what was "
                                  "there is as it was"));
  EXPECT_EQ(Contents(path_), "new");
  EXPECT_THAT(ErrorText([] { WriteText("/dev/full", "x", "--out"); }),
              HasSubstr("No space left on device"));
  EXPECT_THAT(ErrorText([&] { CheckWritable(folder_ + "/no/page.html", "--report"); }),
              HasSubstr("make that folder first or choose another --report"));
  CheckWritable(path_, "--out");
  EXPECT_EQ(Contents(path_), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(RunFile, ALinkAtThePlaceIsReplacedAndWhatItLeadsToIsNotTouched) {
  const std::string target = folder_ + "/precious";
  Write(target, "precious");
  for (const std::string& leads_to :
       {target, folder_ + "/nowhere", std::string("/dev/null"), path_}) {
    fs::create_symlink(leads_to, path_);
    CheckWritable(path_, "--report");
    EXPECT_TRUE(fs::is_symlink(path_)) << "it is only looked at";
    WriteText(path_, "page", "--report");
    EXPECT_FALSE(fs::is_symlink(path_)) << leads_to;
    EXPECT_EQ(Contents(path_), "page");
    fs::remove(path_);
  }
  EXPECT_EQ(Contents(target), "precious");
  EXPECT_FALSE(fs::exists(folder_ + "/nowhere"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(RunFile, ALinkAtTheResultFileIsRefusedBeforeMeasuring) {
  fs::create_symlink("nowhere", path_);
  EXPECT_THAT(ErrorText([&] { Journal(path_, Header()); }),
              HasSubstr("run.json' is a link that leads to nothing, and links are not followed"));
  EXPECT_FALSE(fs::exists(part_));
  EXPECT_EQ(fs::read_symlink(path_), "nowhere");
  Journal next(path_, Header(), WhereTaken::kTakesNext);
  EXPECT_EQ(next.Path(), folder_ + "/run-2.json");
  // A link that is put there while the run goes on is not followed either.
  fs::create_symlink("nowhere", next.Path());
  EXPECT_THAT(ErrorText([&] { next.Finish(Header()); }), HasSubstr("File exists"));
  EXPECT_FALSE(fs::exists(folder_ + "/nowhere"));
}

mode_t ModeOf(const std::string& path) {
  struct stat status = {};
  return lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
}

TEST_F(RunFile, WhatIsNewHasMode0644WhateverTheUmaskIs) {
  const std::string page = folder_ + "/page.html";
  for (const mode_t mask : {mode_t{0077}, mode_t{0}, mode_t{0777}}) {
    const mode_t before = umask(mask);
    Journal journal(path_, Header());
    const mode_t part = ModeOf(part_);
    journal.Finish(Header());
    WriteText(page, "page", "--report");
    umask(before);
    EXPECT_EQ(part, 0644U) << mask;
    EXPECT_EQ(ModeOf(path_), 0644U) << mask;
    EXPECT_EQ(ModeOf(page), 0644U) << mask;
    fs::remove(path_);
    fs::remove(page);
  }
}

TEST_F(RunFile, WhatReplacesAFileOfOnesOwnKeepsItsPermissionsAlone) {
  Write(path_, "ours");
  ASSERT_EQ(chmod(path_.c_str(), 04755), 0);
  WriteText(path_, "ours", "--report");
  // A replaced file's setuid bit is not kept.
  EXPECT_EQ(ModeOf(path_), 0755U);
}

TEST_F(RunFile, AFileOfAnotherUserSaysNothingOfWhoMayReadWhatReplacesIt) {
  if (geteuid() != 0) GTEST_SKIP() << "giving a file away needs root";
  Write(path_, "theirs");
  ASSERT_EQ(chown(path_.c_str(), 4711, 4711), 0);
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  WriteText(path_, "ours", "--report");
  EXPECT_EQ(ModeOf(path_), 0644U);
}

// The sentence that `function` throws when another user calls it, in a separate process.
template <class Function>
std::string SentenceOfAnother(uid_t user, const Function& function) {
  int ends[2] = {};
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    const std::string sentence =
        setgid(user) == 0 && setuid(user) == 0 ? ErrorText(function) : "no other user";
    const bool is_told = write(ends[1], sentence.data(), sentence.size()) > 0;
    _exit(is_told ? 0 : 1);
  }
  close(ends[1]);
  std::string sentence(4096, '\0');
  const ssize_t got = read(ends[0], sentence.data(), sentence.size());
  close(ends[0]);
  waitpid(child, nullptr, 0);
  sentence.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return sentence;
}

TEST_F(RunFile, WhatAStickyFolderKeepsIsFoundOutBeforeMeasuring) {
  if (geteuid() != 0) GTEST_SKIP() << "being another user needs root";
  constexpr uid_t kTheirs = 4711;
  constexpr uid_t kOurs = 4712;
  ASSERT_EQ(chmod(folder_.c_str(), 01777), 0);
  const std::string link = folder_ + "/link";
  Write(path_, "theirs");
  fs::create_symlink("nowhere", link);
  for (const std::string& path : {path_, link}) {
    ASSERT_EQ(lchown(path.c_str(), kTheirs, kTheirs), 0);
    for (const auto put : {+[](const std::string& to) { CheckWritable(to, "--report"); },
                           +[](const std::string& to) { WriteText(to, "page", "--report"); }}) {
      EXPECT_THAT(SentenceOfAnother(kOurs, [&] { put(path); }),
                  HasSubstr("Operation not permitted; choose another file with --report"));
      EXPECT_EQ(SentenceOfAnother(kOurs, [&] { put(folder_ + "/new"); }), "no error");
    }
    // The owner of the file or of the folder, and the system's own user, may replace it.
    EXPECT_EQ(SentenceOfAnother(kTheirs, [&] { CheckWritable(path, "--report"); }), "no error");
    CheckWritable(path, "--report");
    ASSERT_EQ(chown(folder_.c_str(), kOurs, kOurs), 0);
    EXPECT_EQ(SentenceOfAnother(kOurs, [&] { CheckWritable(path, "--report"); }), "no error");
    ASSERT_EQ(chown(folder_.c_str(), 0, 0), 0);
  }
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_EQ(SentenceOfAnother(kOurs, [&] { CheckWritable(path_, "--report"); }), "no error");
}

TEST_F(RunFile, NobodyCanStandInTheWayOfTheTemporaryFile) {
  for (int number = getpid() - 2; number < getpid() + 3; ++number) {
    fs::create_directory(path_ + "." + std::to_string(number) + ".tmp");
  }
  CheckWritable(path_, "--report");
  WriteText(path_, "page", "--report");
  EXPECT_EQ(Contents(path_), "page");
}

TEST_F(RunFile, PipesAndDescriptorsAreWrittenToAsTheyAre) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = Contents(path_); });
  CheckWritable(path_, "--report");
  const std::string text(1U << 20U, 'x');  // more than a pipe holds
  WriteText(path_, text, "--report");
  reader.join();
  EXPECT_EQ(read, text);
  EXPECT_TRUE(fs::is_fifo(path_));
  EXPECT_EQ(FreeName(path_), path_);

  // A descriptor goes on from where it stands, also where it is open on a file.
  const std::string file = folder_ + "/table";
  Write(file, "table\n");
  const File open_file(file, O_WRONLY | O_APPEND);
  for (const std::string& name : {fmt::format("/dev/fd/{}", open_file.Number()),
                                  fmt::format("/proc/self/fd/{}", open_file.Number())}) {
    CheckWritable(name, "--report");
    WriteText(name, "page\n", "--report");
  }
  EXPECT_EQ(Contents(file), "table\npage\npage\n");
  const File for_reading(file, O_RDONLY);
  const std::string name = fmt::format("/dev/fd/{}", for_reading.Number());
  EXPECT_THAT(ErrorText([&] { CheckWritable(name, "--out"); }), HasSubstr("Bad file descriptor"));
  EXPECT_THAT(ErrorText([&] { WriteText(name, "x", "--out"); }), HasSubstr("Bad file descriptor"));
  // A link of somebody's own to such a name is a link like any other.
  fs::create_symlink(fmt::format("/dev/fd/{}", open_file.Number()), folder_ + "/link");
  WriteText(folder_ + "/link", "page", "--report");
  EXPECT_EQ(Contents(folder_ + "/link"), "page");
  EXPECT_EQ(Contents(file), "table\npage\npage\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 3);
}

TEST_F(RunFile, StandardOutputByItsNameIsWrittenTo) {
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    WriteText("/dev/stdout", "page", "--report");
    _exit(fs::is_symlink("/dev/stdout") ? 0 : 1);
  }
  close(ends[1]);
  std::string text(4, ' ');
  EXPECT_EQ(read(ends[0], text.data(), text.size()), 4);
  EXPECT_EQ(text, "page");
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  if (fs::is_symlink("/dev/stdout")) return;
  fs::remove("/dev/stdout");  // as it was before whoever broke this
  fs::create_symlink("/proc/self/fd/1", "/dev/stdout");
}

TEST_F(RunFile, AStrangersPipeInAFolderOfEverybodysIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "giving a pipe away needs root";
  ASSERT_EQ(mkfifo(path_.c_str(), 0666), 0);
  ASSERT_EQ(chown(path_.c_str(), 4711, 4711), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 01777), 0);
  // There is nobody who reads from it: to open it would last for ever.
  EXPECT_THAT(ErrorText([&] { WriteText(path_, "x", "--report"); }),
              HasSubstr("Permission denied; choose another file with --report"));
}

TEST_F(RunFile, NamesAreFreeThatNothingHas) {
  EXPECT_EQ(WriteTextToFreeName(path_, "first", "-J"), path_);
  fs::create_symlink("nowhere", path_ + ".0");
  EXPECT_EQ(FreeName(path_), path_ + ".1");
  EXPECT_EQ(WriteTextToFreeName(path_, "second", "-J"), path_ + ".1");
  EXPECT_EQ(Contents(path_), "first");
  EXPECT_EQ(Contents(path_ + ".1"), "second");
  EXPECT_EQ(fs::read_symlink(path_ + ".0"), "nowhere");
  EXPECT_THAT(ErrorText([&] { WriteTextToFreeName(folder_ + "/no/n.json", "x", "-J"); }),
              HasSubstr("make that folder first or choose another -J"));
}

// A process replaces a page of one letter by one of another again and again. Whenever it is killed,
// the page is whole.
TEST_F(RunFile, KilledAtAnyMomentAPageIsTheOldOneOrTheNewOne) {
  constexpr std::size_t kSize = 1U << 18U;
  Write(path_, std::string(kSize, 'a'));
  std::mt19937 random(7);
  std::set<char> seen;
  for (int kills = 0; kills < 30; ++kills) {
    int ends[2] = {};
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      for (int i = kills;; ++i) {
        WriteText(path_, std::string(kSize, static_cast<char>('a' + i % 7)), "--report");
        if (i == kills && write(ends[1], "w", 1) != 1) _exit(1);
      }
    }
    close(ends[1]);
    char event = 0;
    const ssize_t got = read(ends[0], &event, 1);  // it has written once, however slow the disk is
    close(ends[0]);
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution(0, 20'000)(random)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ASSERT_EQ(got, 1);
    const std::string page = Contents(path_);
    ASSERT_EQ(page.size(), kSize);
    ASSERT_EQ(page.find_first_not_of(page[0]), std::string::npos);
    seen.insert(page[0]);
  }
  EXPECT_GT(seen.size(), 1U) << "no page was replaced";
}

// From here on these calls fail, as on file systems that lack them.
bool Refuse(const std::vector<int>& calls, std::uint32_t error) {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const int call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter = {.len = static_cast<unsigned short>(program.size()),
                             .filter = program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// The calls that rename and that link, as far as a processor's kernel has them.
std::vector<int> Renaming() {
  std::vector<int> calls = {SYS_renameat2};
#ifdef SYS_renameat
  calls.push_back(SYS_renameat);
#endif
#ifdef SYS_rename
  calls.push_back(SYS_rename);
#endif
  return calls;
}

std::vector<int> Linking() {
  std::vector<int> calls = {SYS_linkat};
#ifdef SYS_link
  calls.push_back(SYS_link);
#endif
  return calls;
}

TEST_F(RunFile, WhereRenamingCantRefuseLinksAndLooksDo) {
  std::vector<int> neither = Linking();
  neither.push_back(SYS_renameat2);
  const std::vector<std::vector<int>> lacking = {{SYS_renameat2}, neither};
  for (const std::vector<int>& calls : lacking) {
    const pid_t child = fork();
    if (child == 0) {
      if (!Refuse(calls, EPERM)) _exit(77);
      Journal journal(path_, Header());
      journal.Finish(SampleRun());
      if (Contents(path_) != RunToJson(SampleRun())) _exit(1);
      if (std::distance(fs::directory_iterator(folder_), {}) != 1) _exit(2);
      fs::remove(path_);
      Journal late(path_, Header());
      Write(path_, "made meanwhile");
      if (ErrorText([&] { late.Finish(Header()); }).find("File exists") == std::string::npos) {
        _exit(3);
      }
      _exit(Contents(path_) == "made meanwhile" ? 0 : 4);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no seccomp filter may be set here";
    EXPECT_EQ(status, 0);
    fs::remove(path_);
    fs::remove(part_);
  }
}

// Some file systems say only when they are synced that there was no room.
TEST_F(RunFile, AFullDiskKeepsTheOldPageAndIsNamed) {
  const std::vector<std::vector<int>> failing = {{SYS_pwrite64}, {SYS_fsync}, Renaming()};
  for (const std::vector<int>& calls : failing) {
    Write(path_, "yesterday's");
    const pid_t child = fork();
    if (child == 0) {
      if (!Refuse(calls, ENOSPC)) _exit(77);
      const std::string sentence = ErrorText([&] { WriteText(path_, "today's", "--report"); });
      const bool is_said =
          sentence.find(
              "run.json': No space left on device; free some space there or choose another "
              "--report; what was there is as it was") != std::string::npos;
      if (!is_said) _exit(1);
      if (Contents(path_) != "yesterday's") _exit(2);
      _exit(std::distance(fs::directory_iterator(folder_), {}) == 1 ? 0 : 3);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no seccomp filter may be set here";
    EXPECT_EQ(status, 0) << calls[0];
  }
}

TEST_F(RunFile, NothingIsWrittenOver) {
  Write(path_, "precious");
  EXPECT_THAT(ErrorText([&] { Journal(path_, Header()); }), HasSubstr("never written over"));
  EXPECT_FALSE(fs::exists(part_));
  EXPECT_EQ(Contents(path_), "precious");

  fs::remove(path_);
  { Journal interrupted(path_, Header()); }
  EXPECT_THAT(ErrorText([&] { Journal(path_, Header()); }), HasSubstr("was interrupted; keep it"));

  fs::remove(part_);
  Journal journal(path_, Header());
  journal.Append(After(1), 1);
  Write(path_, "made meanwhile");
  EXPECT_THAT(ErrorText([&] { journal.Finish(Header()); }),
              HasSubstr("File exists; choose another file with --out; what was measured is in '" +
                        part_ + "'"));
  EXPECT_EQ(Contents(path_), "made meanwhile");
  EXPECT_THAT(ReadRun(part_).records, SizeIs(1));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

// A limit on the size of files stands in for a full disk: write fails half-way in the same manner.
TEST_F(RunFile, AFullDiskIsSaidAndNothingIsTornOrLost) {
  Journal journal(path_, Header());
  journal.Append(After(1), 1);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit = {};
  getrlimit(RLIMIT_FSIZE, &old_limit);
  const rlimit small = {.rlim_cur = fs::file_size(part_) + 10, .rlim_max = old_limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string append = ErrorText([&] { journal.Append(After(2), 2); });
  const assay::Run during = ReadRun(part_);
  const std::string finish = ErrorText([&] { journal.Finish(Header()); });
  setrlimit(RLIMIT_FSIZE, &old_limit);
  signal(SIGXFSZ, old_handler);

  EXPECT_THAT(append, HasSubstr("can't write '" + part_ + "': File too large; choose another"));
  EXPECT_THAT(append, HasSubstr("nothing is lost yet"));
  EXPECT_THAT(during.records.at(0).rounds, SizeIs(1));
  EXPECT_THAT(finish, HasSubstr("File too large"));
  EXPECT_THAT(finish, HasSubstr("what was measured since then is lost"));
  EXPECT_THAT(finish, testing::Not(HasSubstr("tries again")));
  // Once there is room again, the lines that could not be written are.
  journal.Append(After(3), 3);
  EXPECT_THAT(ReadRun(part_).records.at(0).rounds, SizeIs(3));
}

TEST_F(RunFile, WhatIsNoResultFileIsRefusedInOneSentence) {
  EXPECT_THAT(ErrorText([&] { ReadRun(path_); }), HasSubstr("No such file or directory; check"));
  EXPECT_THAT(ErrorText([&] { ReadRun(folder_); }), HasSubstr("isn't a file"));
  EXPECT_THAT(ErrorText([&] { ReadRun("/dev/zero"); }), HasSubstr("isn't a file"));
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(ErrorText([&] { ReadRun(path_); }), HasSubstr("isn't a file"));
  fs::remove(path_);
  Write(path_, "");
  EXPECT_THAT(ErrorText([&] { ReadRun(path_); }), HasSubstr("this isn't JSON"));
  Write(part_, "");
  EXPECT_THAT(ErrorText([&] { ReadRun(part_); }), HasSubstr("nothing had been measured"));
  fs::remove(path_);
  EXPECT_THAT(ErrorText([&] { ReadRun(path_); }), HasSubstr("an interrupted run left; give that"));
}

TEST_F(RunFile, WhatAStandInMadeIsNoMeasurement) {
  const auto reading = [&](const assay::Run& run) {
    Write(path_, RunToJson(run));
    return ErrorText([&] { ReadRun(path_); });
  };
  assay::Run run = SampleRun();
  EXPECT_EQ(reading(run), "no error");
  run.nodes.back().accelerators.push_back({.name = "stand-in", .present = 8, .visible = 8});
  EXPECT_THAT(reading(run), HasSubstr("run.json: this was made with a stand-in"));
  run = SampleRun();
  run.records.back().facts["device"] = "stand-in";
  EXPECT_THAT(reading(run), HasSubstr("made with a stand-in"));
  run.records.back().facts["device"] = "stand-in X100";
  EXPECT_EQ(reading(run), "no error") << "another name";
  fs::remove(path_);
  Record record = After(1);
  record.facts["device"] = "stand-in";
  Journal journal(path_, Header());
  journal.Append(record, 1);
  EXPECT_THAT(ErrorText([&] { ReadRun(part_); }), HasSubstr("made with a stand-in"));
}

TEST_F(RunFile, OverOneGibibyteIsRefusedUnread) {
  Write(path_, "{");
  fs::resize_file(path_, (1U << 30U) + 1);  // sparse
  EXPECT_THAT(ErrorText([&] { ReadRun(path_); }), HasSubstr("is over 1 GiB"));
}

// A process writes one file after the other, five visits each, and tells over a pipe what is done:
// J a journal began, A a visit was appended, F a file was finished. It is killed at some moment.
[[noreturn]] void WriteUntilKilled(const std::string& folder, int pipe) {
  for (int file = 0;; ++file) {
    Journal journal(folder + "/" + std::to_string(file), Header());
    if (write(pipe, "J", 1) != 1) _exit(1);
    for (int round = 1; round <= 5; ++round) {
      journal.Append(After(round), round);
      if (write(pipe, "A", 1) != 1) _exit(1);
    }
    assay::Run run = Header();
    run.records = {After(5)};
    journal.Finish(run);
    if (write(pipe, "F", 1) != 1) _exit(1);
  }
}

TEST_F(RunFile, KilledAtFiftyMomentsAtMostOneVisitIsLost) {
  std::mt19937 random(7);
  int in_the_middle = 0;
  for (int kills = 0; kills < 50; ++kills) {
    const std::string folder = folder_ + "/" + std::to_string(kills);
    fs::create_directory(folder);
    int ends[2] = {};
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) WriteUntilKilled(folder, ends[1]);
    close(ends[1]);
    char event = 0;
    ASSERT_EQ(read(ends[0], &event, 1), 1);  // it has begun
    std::string events(1, event);
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution(0, 40'000)(random)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(ends[0], &event, 1) == 1) events += event;
    close(ends[0]);

    const auto finished = std::count(events.begin(), events.end(), 'F');
    for (int file = 0; file < finished; ++file) {
      const assay::Run run = ReadRun(folder + "/" + std::to_string(file));
      ASSERT_THAT(run.records, SizeIs(1));
      ASSERT_THAT(run.records[0].rounds, SizeIs(5));
    }
    const std::string last = folder + "/" + std::to_string(finished);
    const std::string since = events.substr(events.rfind('F') + 1);
    if (since.empty()) continue;  // the next journal had not begun
    const auto appended = static_cast<std::size_t>(std::count(since.begin(), since.end(), 'A'));
    const assay::Run run = ReadRun(fs::exists(last) ? last : last + ".part");
    const std::size_t kept = run.records.empty() ? 0 : run.records[0].rounds.size();
    EXPECT_GE(kept, appended) << "after " << events;
    EXPECT_LE(kept, appended + 1) << "after " << events;
    in_the_middle += fs::exists(last) ? 0 : 1;
  }
  EXPECT_GT(in_the_middle, 10);
}

TEST_F(RunFile, TheEntriesOfAFolderComeByNameAndAnAbsentOneHasNone) {
  for (const char* name : {"c", "a", "b"}) std::ofstream(folder_ + "/" + name) << name;
  std::error_code error;
  const fs::path folder(folder_);
  EXPECT_THAT(EntriesOf(folder, error), ElementsAre(folder / "a", folder / "b", folder / "c"));
  EXPECT_FALSE(error);
  EXPECT_THAT(EntriesOf(folder / "absent", error), IsEmpty());
  EXPECT_EQ(error, std::errc::no_such_file_or_directory);
  EXPECT_THAT(EntriesOf(folder / "absent"), IsEmpty());
}

}  // namespace
}  // namespace assay
