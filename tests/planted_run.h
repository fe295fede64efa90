// A Run in which every canary lies in each place where its like could come to lie.
#pragma once

#include <string>
#include <vector>

#include "results/file/run.h"
#include "tests/canaries.h"
#include "tests/sample_run.h"

namespace assay {

inline Run PlantedRun() {
  Run run = SampleRun();
  run.records = {SampleGemm(), SampleStorage(), SampleSkip()};
  Node& node = run.nodes[0];
  int i = 0;
  for (const Canary& canary : Canaries()) {
    const std::string name = "canary_" + std::to_string(i++);
    const std::size_t equals = canary.text.find('=');
    switch (canary.where) {
      case Canary::kEnvironment:
        node.env[canary.text.substr(0, equals)] = canary.text.substr(equals + 1);
        break;
      case Canary::kArgument:
        run.command[canary.text.substr(0, equals)].push_back(canary.text.substr(equals + 1));
        break;
      case Canary::kDmi:
      case Canary::kMetadata:
        node.virtualization += canary.text + "; ";
        node.identity.instance.value += ' ' + canary.text;
        node.identity.zone_id.how += ' ' + canary.text;
        node.notes.push_back({.what = canary.text, .remedy = canary.text});
        break;
      case Canary::kDevice:
        node.cpu.model += ' ' + canary.text;
        node.accelerators.push_back({.name = canary.text, .vbios = canary.text});
        node.nics.push_back({.kind = canary.text});
        node.storage.push_back({.device = canary.text,
                                .volume_type = canary.text,
                                .fs = canary.text,
                                .mount = {canary.text},
                                .raid = canary.text,
                                .how = canary.text});
        break;
      case Canary::kLog:
      case Canary::kReason:
        node.software[name] = canary.text;
        break;
    }
    Record record = SampleGemm();
    record.params["algo"] = canary.text;
    record.backend = canary.text;
    record.reason = record.remedy = canary.text;
    record.facts[name] = canary.text;
    record.here->params["algo"] = canary.text;
    record.verify->what = canary.text;
    record.verify->reference = canary.text;
    record.rounds[0].telemetry[0].events = {canary.text};
    record.rounds[0].sustained->start[0].events = {canary.text};
    // A text of the environment is only safe whole.
    if (canary.where != Canary::kEnvironment && canary.where != Canary::kArgument) {
      run.records.push_back(record);
      run.campaign = *run.campaign + ' ' + canary.text;
    }
  }
  return run;
}

// The secrets that stand in the text.
inline std::vector<std::string> Found(const std::string& text) {
  std::vector<std::string> found;
  for (const Canary& canary : Canaries()) {
    if (text.find(canary.secret) != std::string::npos) found.push_back(canary.secret);
  }
  return found;
}

}  // namespace assay
