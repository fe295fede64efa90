#include "runner/program/outputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "results/base/error.h"
#include "results/base/files.h"
#include "results/base/text.h"
#include "results/figures/expected.h"
#include "results/figures/figures.h"
#include "results/file/json.h"
#include "results/show/report.h"
#include "results/show/writer.h"
#include "runner/program/measure.h"

namespace assay {
namespace {

std::string Page(const Handout& handout) {
  const ReportInput input = {
      .name = handout.File(), .run = handout.TheRun(), .price = handout.Price()};
  return ReportPage({&input, 1}, handout.TheCatalog(), Today());
}

std::string Written(const Handout& handout, OutputFormat format) {
  const PricedRun one = {
      .name = handout.File(), .run = &handout.TheRun(), .price = &handout.Price()};
  return MakeWriter(format, handout.TheCatalog())->Figures({&one, 1});
}

std::string Json(const Handout& handout) { return Written(handout, OutputFormat::kJson); }

std::string Gbench(const Handout& handout) { return handout.Gbench(); }

std::string NcclJson(const Handout& handout) { return handout.Table().Json(handout.Ended()); }

// The lines of its table for a collective, the figures of the run for anything else.
std::string Csv(const Handout& handout) {
  return handout.HasTable() ? handout.Table().Csv() : Written(handout, OutputFormat::kCsv);
}

const Output& OutputOf(OutputKind kind) {
  const Output& output = Outputs()[static_cast<std::size_t>(kind)];
  assert(output.kind == kind);
  return output;
}

}  // namespace

Handout::Handout(Run run, const Privacy& privacy, const Catalog& catalog)
    : privacy_(privacy), catalog_(&catalog), run_(std::move(run)) {
  ApplyPrivacy(run_, privacy_);
  price_ = ChoosePrice({&run_}, {}, catalog);
}

void Handout::SetFile(const std::string& path) {
  file_ = ScrubText(std::filesystem::path(path).filename().string(), privacy_);
}

void Handout::SetTable(NcclTable table, std::string ended) {
  table_ = std::move(table);
  ended_ = std::move(ended);
}

std::string Handout::Gbench() const {
  if (gbench_.empty()) return "";
  return WithStrings(gbench_, [&](const std::string& text) { return ScrubText(text, privacy_); });
}

NcclTable Handout::Table() const {
  const InstanceFacts* const type = TypeOf(run_, catalog_->instances);
  return table_->Scrubbed(
      privacy_, [this, type](const Record& record) { return CostsAt(run_, record, price_, type); });
}

std::span<const Output> Outputs() {
  static const std::array<Output, 5> outputs = {{
      {.kind = OutputKind::kPage, .option = "--report", .is_file = true, .text = Page},
      {.kind = OutputKind::kGbench, .option = "--gbench-out", .is_file = true, .text = Gbench},
      {.kind = OutputKind::kNcclJson,
       .option = "-J",
       .is_file = true,
       .may_replace = false,
       .text = NcclJson},
      {.kind = OutputKind::kJson, .option = "--format json", .text = Json},
      {.kind = OutputKind::kCsv, .option = "--format csv", .text = Csv},
  }};
  return outputs;
}

OutputKind PrintedAs(OutputFormat format) {
  switch (format) {
    case OutputFormat::kJson:
      return OutputKind::kJson;
    case OutputFormat::kCsv:
      return OutputKind::kCsv;
    case OutputFormat::kTable:
    case OutputFormat::kNccl:
      break;
  }
  throw Error("this format is no output of a run's file");
}

std::string OutputText(OutputKind kind, const Handout& handout) {
  return OutputOf(kind).text(handout);
}

void CheckFiles(std::span<const AskedFile> files, const std::string& out) {
  std::map<std::string, std::string_view> options;  // by the place that their file takes
  const auto take = [&](std::string_view option, const std::string& path) {
    const std::optional<std::string> place = path.empty() ? std::nullopt : PlaceOf(path);
    if (!place) return;
    const auto [taken, is_free] = options.emplace(*place, option);
    if (is_free) return;
    throw Error(fmt::format("{} and {} both name '{}'; give each a name of its own", option,
                            taken->second, Clean(path, 1024)));
  };
  take("--out", out);
  take("the journal of --out", out.empty() ? "" : out + ".part");
  for (const AskedFile& file : files) {
    if (file.path.empty()) continue;
    const Output& output = OutputOf(file.kind);
    take(output.option, file.path);
    CheckWritable(output.may_replace ? file.path : FreeName(file.path), std::string(output.option));
  }
}

void WriteFiles(std::span<const AskedFile> files, const Handout& handout,
                const std::function<void(const std::string& name)>& wrote) {
  for (const AskedFile& file : files) {
    if (file.path.empty()) continue;
    const Output& output = OutputOf(file.kind);
    const std::string option(output.option);
    if (output.may_replace) {
      WriteText(file.path, output.text(handout), option);
      wrote(file.path);
    } else {
      wrote(WriteTextToFreeName(file.path, output.text(handout), option));
    }
  }
}

}  // namespace assay
