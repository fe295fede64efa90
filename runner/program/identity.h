// The instance and cloud that this machine is of, on which its price depends. The most certain
// source is asked first, and the network only where DMI names a cloud that answers there. Any of
// the findings may stay "unknown".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "results/catalog/price.h"
#include "results/file/run.h"
#include "runner/program/machine.h"
#include "runner/program/metadata.h"

namespace assay {

// The options of Identify: what is known beforehand, and the places to look in.
struct IdentityOptions {
  // The values of the flags with these names. One that isn't empty wins over everything found.
  std::string provider = {};
  std::string instance = {};
  std::string region = {};
  std::string purchase = {};
  bool no_metadata = false;
  MetadataOptions metadata = {};
  std::string root = "/";  // the folder below which sys/class/dmi/id is looked for
  // The environment, in which ASSAY_K8S_INSTANCE_TYPE, ASSAY_K8S_REGION and ASSAY_K8S_ZONE may hold
  // the node's labels node.kubernetes.io/instance-type, topology.kubernetes.io/region and
  // topology.kubernetes.io/zone, which a pod's specification hands in.
  std::map<std::string, std::string> environment = ProcessEnvironment();
  std::vector<InstanceFacts> instances = {};  // the catalog of instances
  std::vector<DeviceFacts> devices = {};      // the catalog of devices
};

// The findings.
struct Identified {
  Identity identity = {};
  std::vector<Note> notes = {};  // why something stayed unknown, each with its remedy
};

// Finds out what this machine is. `hardware` is what InspectMachine found: with accelerators it may
// fit one instance only, and where it can't be the instance that was named by hand, there is a
// note. Takes no longer than metadata.overall. Sends nothing where DMI names no cloud with a
// metadata service, where the flags leave nothing to ask, or under no_metadata. Throws Error for a
// metadata.url that isn't loopback.
Identified Identify(const IdentityOptions& options, const Node& hardware);

}  // namespace assay
