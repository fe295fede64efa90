// The metadata services, by which a cloud tells a machine what it is. Four clouds have one, each at
// one fixed link-local address. What answers there is not trusted: only single leaves of an
// allow-list are asked for (never user data, credentials, keys or numbers of accounts), proxies are
// bypassed, redirects are not followed, replies are bounded, and a value that isn't plausible is
// dropped. The time is bounded too, so that metadata never delays or fails a measurement.
// Sole includer of libcurl.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "results/run.h"

namespace assay {

// At most 64 of the characters with which clouds name instances, regions, zones and ways of paying:
// letters, digits, '.', '_' and '-', of which a letter or digit comes first, and no two dots side
// by side; or nothing at all. Neither markup nor a terminal's control sequences pass, nor what a
// shell or a file system would take for more than a name ("-rf", "..").
bool IsName(std::string_view text);

struct MetadataOptions {
  // In place of the cloud's own address, for tests: http:// and a loopback address.
  std::string url = {};
  std::chrono::milliseconds connect = std::chrono::seconds(1);
  std::chrono::milliseconds request = std::chrono::seconds(2);
  std::chrono::milliseconds overall = std::chrono::seconds(5);
};

struct Metadata {
  Identity identity = {};         // instance, region, zone_id, purchase, as far as they were said
  std::optional<Note> note = {};  // why something wasn't, where that isn't simply absent
};

// Asks the service of `provider`: "aws", "gcp", "azure" or "oci"; of another one nothing is known
// and nothing is sent. What is answered with 429 or 503 is asked once more, after
// what Retry-After says. Returns within `overall` (and a tenth of a second). Throws Error for an
// options.url that isn't loopback, and for nothing that a service does.
Metadata AskMetadata(const std::string& provider, const MetadataOptions& options = {});

}  // namespace assay
