// The table that nccl-tests 2.19.6 prints of a collective, byte for byte where it is the same fact,
// with our columns to the right; and the JSON that it writes. It is a function of records alone.
// Scripts that read nccl-tests' output read ours (tests/nccl_table_test.cpp holds it to their
// expressions).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/figures/figures.h"
#include "results/file/privacy.h"
#include "results/file/run.h"

namespace assay {

// The place of a rank, for its line in the head.
struct NcclRank {
  std::int64_t pid = 0;
  std::string host = {};  // for the terminal; in files only where ids are kept
  int node = 0;
  int group = 0;
  int device = 0;              // a GPU's number, or a processor's
  std::string device_id = {};  // a PCI id, or "cpu"; printed in brackets
  std::string device_name = {};
};

// The head of the table, and the form of its rows.
struct NcclOptions {
  std::string program = {};  // "all_reduce_perf"
  std::string version = {};  // the versions of assay and of the libraries, in one line
  // From here to `blocking` the values that nccl-tests' flags have, as its head prints them: -t,
  // -g, -b, -e, -i or -f, -w, -n, -m, -c, -G, -u and -z.
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
  // The time of a row over its ranks: 0 rank 0's, 1 the mean, 2 the least, 3 the most; nothing:
  // that of UsualTime.
  std::optional<int> average = {};
  bool cpu_time = false;                // -C
  bool timestamps = false;              // -S
  bool per_iteration = false;           // -I
  std::int64_t skipped = 0;             // -K: the iterations that per-iteration columns leave out
  bool keep_ids = false;                // whether files have the ranks' hosts
  bool own_columns = true;              // whether our columns stand to the right of nccl-tests'
  std::vector<std::string> notes = {};  // lines of the head, each behind a `#`
  std::vector<NcclRank> ranks = {};
  // Gives the costs of a record; may be null.
  std::function<std::vector<Cost>(const Record& record)> costs = {};
  std::optional<double> link_gbs = {};     // the rate of a rank's share of the network, in GB/s
  std::optional<double> min_bus_gbs = {};  // NCCL_TESTS_MIN_BW, in GB/s
  std::string started = {};                // "2026-11-22 04:38:10"
};

// The table while it grows by rows, which it keeps for the foot and for its other formats.
class NcclTable {
 public:
  explicit NcclTable(NcclOptions options) : options_(std::move(options)) {}

  // The lines above the rows, up to the names and units of the columns.
  std::string Head() const;
  // Adds the row of one size, from its records out of place and in place; null for one that the
  // operation doesn't have, but not for both. `timestamp` is printed where timestamps were asked
  // for. The first row's group is the one that nccl-tests would print; rows of other groups are
  // comments, which scripts skip. The name of a library and the transport that it used stand over
  // its first row.
  std::string Row(const Record* out_of_place, const Record* in_place, const std::string& timestamp);
  // The line over the rows of another group.
  std::string GroupHead(std::int64_t group) const;
  // The lines below the rows: how many records have wrong elements, and the average bus bandwidth.
  std::string Foot() const;
  // The table as CSV, a line for each record, and as nccl-tests' JSON file, version 3.
  std::string Csv() const;
  std::string Json(const std::string& ended) const;

  // A copy of the table as it may leave this machine, with the dollars that `costs` gives.
  NcclTable Scrubbed(const Privacy& privacy,
                     std::function<std::vector<Cost>(const Record& record)> costs) const;

  // Whether the average bus bandwidth is no more than 10 % under min_bus_gbs; true where that is
  // unset.
  bool MeetsMinimum() const;

 private:
  // The cells of one record; absent ones were not measured.
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
  // Whether any element of any row was checked; if not, nobody knows what is right.
  bool WasChecked() const;

  NcclOptions options_;
  std::vector<Line> lines_ = {};
  std::string backend_ = {};     // the last row's backend
  std::string transport_ = {};   // the transport that was last printed for that backend
  std::int64_t main_group_ = 0;  // the first row's group
  int wrong_ = 0;
};

}  // namespace assay
