// What nccl-tests 2.19.6 prints of a collective, byte for byte where it is the same fact, with ours
// to the right; and the JSON that it writes. A pure function of records: scripts that read
// nccl-tests' output read ours (tests/nccl_table_test.cpp holds it to their expressions).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/figures.h"
#include "results/privacy.h"
#include "results/run.h"

namespace assay {

// Where a rank is, as its line says.
struct NcclRank {
  std::int64_t pid = 0;
  std::string host = {};  // on the terminal; in files only where ids are kept
  int node = 0;
  int group = 0;
  int device = 0;              // a processor, where it is one of a CPU
  std::string device_id = {};  // in brackets: a PCI id, "cpu"
  std::string device_name = {};
};

struct NcclOptions {
  std::string program = {};  // "all_reduce_perf"
  std::string version = {};  // of assay and of the libraries, one line
  int threads = 1;
  int gpus = 1;
  std::int64_t min_bytes = 0;
  std::int64_t max_bytes = 0;
  std::int64_t step = 0;
  std::string step_kind = {};                // "factor", "bytes", "list"
  std::optional<std::int64_t> warm_up = {};  // nothing where assay decides
  std::optional<std::int64_t> iterations = {};
  std::int64_t aggregated = 1;
  int check = 1;
  int graph = 0;
  int unalign = 0;
  int blocking = 0;
  std::optional<int> average = {};  // over the ranks; nothing: our median of the slowest rank
  bool cpu_time = false;
  bool timestamps = false;
  bool per_iteration = false;
  std::int64_t skipped = 0;  // iterations that its columns leave out
  bool keep_ids = false;
  bool own_columns = true;
  std::vector<std::string> notes = {};  // each a `#` line of the head
  std::vector<NcclRank> ranks = {};
  // What a record costs; may be null.
  std::function<std::vector<Cost>(const Record& record)> costs = {};
  std::optional<double> link_gbs = {};     // what a rank's share of the network can carry
  std::optional<double> min_bus_gbs = {};  // NCCL_TESTS_MIN_BW
  std::string started = {};                // "2026-11-22 04:38:10"
};

class NcclTable {
 public:
  explicit NcclTable(NcclOptions options) : options_(std::move(options)) {}

  std::string Head() const;
  // One size: its records out of place and in place; null for what the operation doesn't have.
  // `timestamp` is printed where these were asked for. The first row's group is the one that
  // nccl-tests would print; rows of others are comments, which scripts pass over. Over the first
  // row of a library stand its name and the transport that it used.
  std::string Row(const Record* out_of_place, const Record* in_place, const std::string& timestamp);
  // What stands over the rows of another group.
  std::string GroupHead(std::int64_t group) const;
  std::string Foot() const;
  // The same as CSV, a line for each record, and as nccl-tests' JSON file, version 3.
  std::string Csv() const;
  std::string Json(const std::string& ended) const;

  // The same table as it may leave this machine, with the dollars that `costs` gives.
  NcclTable Scrubbed(const Privacy& privacy,
                     std::function<std::vector<Cost>(const Record& record)> costs) const;

  int WrongRows() const { return wrong_; }
  // False where the average bus bandwidth is more than 10 % under NCCL_TESTS_MIN_BW.
  bool MeetsMinimum() const;

 private:
  // What is told of one record. Absent: it wasn't measured.
  struct Half {
    std::optional<double> time_s = {};
    std::optional<double> algbw = {};  // B/s
    std::optional<double> busbw = {};
    std::optional<std::int64_t> wrong = {};
  };
  struct Line {
    std::optional<Record> out_of_place = {};
    std::optional<Record> in_place = {};
  };

  Half HalfOf(const Record* record) const;
  std::string HalfText(const Record* record) const;
  std::string OwnText(const Record& record) const;
  std::string HalfJson(const Record& record) const;
  std::vector<Cost> CostsOf(const Record& record) const;
  std::optional<double> AverageBus() const;
  // Any element of any row: where none was, nobody knows what is right.
  bool WasChecked() const;

  NcclOptions options_;
  std::vector<Line> lines_ = {};
  std::string backend_ = {};     // of the last row
  std::string transport_ = {};   // as last printed of that backend
  std::int64_t main_group_ = 0;  // the first row's
  int wrong_ = 0;
};

}  // namespace assay
