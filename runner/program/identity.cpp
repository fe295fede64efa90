#include "runner/program/identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string_view>

#include "results/base/names.h"
#include "results/base/text.h"

namespace assay {
namespace {

bool Unknown(const Finding& finding) { return finding.value == "unknown"; }

// Fills a finding in, unless an earlier source has done so: the first source to know something is
// believed.
void Settle(Finding& finding, std::string value, const char* how, const char* confidence) {
  if (!Unknown(finding) || value.empty()) return;
  finding = {.value = std::move(value), .how = how, .confidence = confidence};
}

// The provider that the firmware (DMI) names. "Microsoft Corporation" is no evidence of Azure,
// since every Hyper-V says so; Azure's asset tag is (cloud-init's ds-identify holds these strings,
// too).
Finding ProviderOfDmi(const std::filesystem::path& root) {
  const std::filesystem::path dmi = root / "sys/class/dmi/id";
  const std::string vendor = FirstLine(dmi / "sys_vendor");
  const std::string product = FirstLine(dmi / "product_name");
  const std::string tag = FirstLine(dmi / "chassis_asset_tag");
  const auto found = [](const char* provider, const char* confidence) {
    return Finding{.value = provider, .how = "dmi", .confidence = confidence};
  };
  if (vendor == "Amazon EC2") return found("aws", "certain");
  // Before Nitro (P3 and older), EC2 ran on Xen, and the identifier of its Xen began with "ec2".
  if (vendor == "Xen" && FirstLine(root / "sys/hypervisor/uuid").rfind("ec2", 0) == 0) {
    return found("aws", "certain");
  }
  if (product == "Google Compute Engine") return found("gcp", "certain");
  if (tag == "7783-7084-3265-9085-8269-3286-77") return found("azure", "certain");
  if (tag == "OracleCloud.com") return found("oci", "certain");
  if (product == "Alibaba Cloud ECS") return found("alibaba", "certain");
  // OpenStack's name is certain, but it doesn't say whose cloud this is.
  if (product.rfind("OpenStack", 0) == 0) return found("openstack", "guess");
  return {};
}

// The provider that alone has an instance of this name in the catalog, or "".
std::string ProviderOf(const std::string& instance, const std::vector<InstanceFacts>& catalog) {
  std::set<std::string> providers;
  for (const InstanceFacts& facts : catalog) {
    if (IsSameName(facts.instance, instance)) providers.insert(facts.provider);
  }
  return providers.size() == 1 ? *providers.begin() : "";
}

// Whether `word` is a whole word of the text: "H100" is one of "NVIDIA H100 80GB HBM3", and "L4"
// none of "NVIDIA L40S".
bool HasWord(const std::string& text, std::string_view word) {
  const auto joins = [&](std::size_t i) {
    return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])) != 0;
  };
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if ((at == 0 || !joins(at - 1)) && !joins(at + word.size())) return true;
  }
  return false;
}

// Whether two sizes are equal within a tenth: firmware and kernel take their share, and makers
// round.
bool Near(double a, double b) { return std::abs(a - b) <= 0.1 * b; }

constexpr double kGib = 1U << 30U;

// The model's name alone, which is the part before the dash of "A100-80GB" and "H100-NVL".
std::string ModelOf(const InstanceFacts& facts) {
  return facts.accelerator.substr(0, facts.accelerator.find('-'));
}

// The difference between this hardware, beside its accelerators, and the instance, in words; ""
// where it fits or nothing is known.
std::string MisfitOfHost(const InstanceFacts& facts, const Node& hardware) {
  // A vCPU is a hardware thread, and a core has one or two of them.
  const int cores = hardware.cpu.cores_present;
  if (facts.vcpus && cores > 0 && *facts.vcpus != cores && *facts.vcpus != 2 * cores) {
    return fmt::format("{} vCPU and this machine {} {}", *facts.vcpus, cores,
                       cores == 1 ? "core" : "cores");
  }
  const double gib = static_cast<double>(hardware.memory_bytes) / kGib;
  if (facts.memory_gib && gib > 0 && !Near(gib, *facts.memory_gib)) {
    return fmt::format("{:g} GiB of memory and this machine {:.1f}", *facts.memory_gib, gib);
  }
  return "";
}

// The difference between these accelerators and the instance's, in words, or "". A container may be
// handed only some of a node's accelerators.
std::string MisfitOf(const InstanceFacts& facts, const std::vector<Accelerator>& accelerators,
                     bool may_be_some) {
  for (const Accelerator& has : accelerators) {
    const std::string model = ModelOf(facts);
    if (accelerators.size() > 1 || model.empty() || !HasWord(has.name, model) ||
        facts.accelerator_count < has.present ||
        (facts.accelerator_count > has.present && !may_be_some)) {
      return fmt::format("{} x {} and this machine {} x {}", facts.accelerator_count,
                         facts.accelerator, has.present, Clean(has.name));
    }
    const double gib = static_cast<double>(has.memory_bytes.value_or(0)) / kGib;
    if (facts.accelerator_memory_gib && has.memory_bytes &&
        !Near(gib, *facts.accelerator_memory_gib)) {
      return fmt::format("accelerators of {:g} GiB and this machine of {:.1f}",
                         *facts.accelerator_memory_gib, gib);
    }
  }
  return "";
}

bool Fits(const InstanceFacts& facts, const Node& hardware) {
  return !hardware.accelerators.empty() && MisfitOf(facts, hardware.accelerators, false).empty() &&
         MisfitOfHost(facts, hardware).empty();
}

// Whether this program would find accelerators of that model if they were there: those of NVIDIA,
// by the vendor's number on the PCI bus.
bool WouldBeFound(const std::string& model, const std::vector<DeviceFacts>& devices) {
  return std::any_of(devices.begin(), devices.end(), [&](const DeviceFacts& device) {
    return HasWord(device.name, model) &&
           std::any_of(device.match.begin(), device.match.end(),
                       [](const std::string& match) { return match.starts_with("10de:"); });
  });
}

// Notes an instance that somebody named on hardware that can't be it, since its price would be
// another's.
void CheckNamed(const IdentityOptions& options, const Node& hardware, Identified& found) {
  const Finding& instance = found.identity.instance;
  if (instance.how != "flag" && instance.how != "k8s") return;
  const InstanceFacts* facts =
      FindInstance(options.instances, found.identity.provider.value, instance.value);
  if (facts == nullptr) return;
  std::string misfit = MisfitOf(*facts, hardware.accelerators, hardware.in_container);
  if (hardware.accelerators.empty() && !hardware.in_container && facts->accelerator_count > 0 &&
      WouldBeFound(ModelOf(*facts), options.devices)) {
    misfit = fmt::format("{} x {} and this machine shows none", facts->accelerator_count,
                         facts->accelerator);
  }
  if (misfit.empty()) misfit = MisfitOfHost(*facts, hardware);
  if (misfit.empty()) return;
  found.notes.push_back({.what = fmt::format("this can't be {} {}, which has {}", facts->provider,
                                             facts->instance, misfit),
                         .remedy = instance.how == "flag"
                                       ? "give the --instance that this is, or none"
                                       : "mend ASSAY_K8S_INSTANCE_TYPE, or give --instance"});
}

// Settles the instance by the hardware where just one instance of the catalog fits it, among those
// of the provider where that is known.
void SettleByInventory(const IdentityOptions& options, const Node& hardware, Identified& found) {
  Identity& identity = found.identity;
  if (!Unknown(identity.instance)) return;
  std::set<std::pair<std::string, std::string>> candidates;
  for (const InstanceFacts& facts : options.instances) {
    const bool same = Unknown(identity.provider) || facts.provider == identity.provider.value;
    if (same && Fits(facts, hardware)) candidates.insert({facts.provider, facts.instance});
  }
  if (candidates.size() == 1) {
    const auto& [provider, instance] = *candidates.begin();
    Settle(identity.instance, instance, "inventory",
           Unknown(identity.provider) ? "guess" : "likely");
    Settle(identity.provider, provider, "inventory", "guess");
  } else if (!candidates.empty()) {
    std::vector<std::string> names;
    for (const auto& [provider, instance] : candidates) names.push_back(provider + " " + instance);
    if (names.size() > 4) {
      const std::string rest = fmt::format("{} more", names.size() - 3);
      names.resize(3);
      names.push_back(rest);
    }
    found.notes.push_back(
        {.what = fmt::format("the hardware fits several instances: {}", fmt::join(names, ", ")),
         .remedy = "give --provider and --instance"});
  }
}

// Replaces names as people, and some metadata, write them by those of the catalog and of the cloud.
void NameAsTheCloudDoes(const IdentityOptions& options, Identity& identity) {
  std::vector<std::string> names;
  for (const InstanceFacts& facts : options.instances) {
    if (facts.provider == identity.provider.value) names.push_back(facts.instance);
  }
  identity.instance.value = NamedAs(identity.instance.value, names);
  identity.region.value = RegionNamed(identity.provider.value, identity.region.value);
}

std::string Variable(const IdentityOptions& options, const char* name) {
  const auto found = options.environment.find(name);
  return found != options.environment.end() && IsName(found->second) ? found->second : "";
}

}  // namespace

Identified Identify(const IdentityOptions& options, const Node& hardware) {
  Identified found;
  Identity& identity = found.identity;
  Settle(identity.provider, Lower(Clean(options.provider)), "flag", "certain");
  Settle(identity.instance, Clean(options.instance), "flag", "certain");
  Settle(identity.region, Clean(options.region), "flag", "certain");
  Settle(identity.purchase, Clean(options.purchase), "flag", "certain");

  const Finding dmi = ProviderOfDmi(options.root);
  if (Unknown(identity.provider)) identity.provider = dmi;
  // A reseller of a cloud's machines has its own names for them, so a provider given by flag that
  // isn't the one of DMI ends the search.
  const bool same = !Unknown(dmi) && identity.provider.value == dmi.value;

  const bool open =
      Unknown(identity.instance) || Unknown(identity.region) || Unknown(identity.purchase);
  if (same && open && !options.no_metadata) {
    const Metadata metadata = AskMetadata(dmi.value, options.metadata);
    for (const auto field :
         {&Identity::instance, &Identity::region, &Identity::zone_id, &Identity::purchase}) {
      if (Unknown(identity.*field)) identity.*field = metadata.identity.*field;
    }
    if (metadata.note) found.notes.push_back(*metadata.note);
  }
  if (same && dmi.value == "aws") {
    // On Nitro the product's name is the instance's: "p5.48xlarge".
    const std::string product =
        FirstLine(std::filesystem::path(options.root) / "sys/class/dmi/id/product_name");
    if (IsName(product) && product.find('.') != std::string::npos) {
      Settle(identity.instance, product, "dmi", "likely");
    }
  }

  Settle(identity.instance, Variable(options, "ASSAY_K8S_INSTANCE_TYPE"), "k8s", "likely");
  Settle(identity.region, Variable(options, "ASSAY_K8S_REGION"), "k8s", "likely");
  Settle(identity.zone_id, Variable(options, "ASSAY_K8S_ZONE"), "k8s", "likely");

  if (!Unknown(identity.instance)) {
    Settle(identity.provider, ProviderOf(identity.instance.value, options.instances), "catalog",
           "likely");
  }
  SettleByInventory(options, hardware, found);
  NameAsTheCloudDoes(options, identity);
  CheckNamed(options, hardware, found);
  return found;
}

}  // namespace assay
