// The metadata services, by which a cloud tells a machine what it is. Four clouds have one, all at
// the same link-local address. What answers there is not trusted: only single leaves of an
// allow-list are asked for (never user data, credentials, keys or numbers of accounts), proxies are
// bypassed, redirects are not followed, replies are bounded, and a value that isn't plausible is
// dropped. The time is bounded too, so that metadata never delays or fails a measurement. The
// source is the sole includer of libcurl.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "results/file/run.h"

namespace assay {

// Whether the text is a name as clouds give them to instances, regions, zones and ways of paying.
// It has at most 64 letters, digits, '.', '_' and '-', begins with a letter or digit, and has no
// two dots side by side; the empty text passes too. Neither markup nor a terminal's control
// sequences pass, nor what a shell or a file system would take for more than a name ("-rf", "..").
bool IsName(std::string_view text);

// The deadlines of a connection, of a request and of all of it, and an address for tests.
struct MetadataOptions {
  // An address in place of the cloud's own, for tests: http:// and a loopback address.
  std::string url = {};
  std::chrono::milliseconds connect = std::chrono::seconds(1);
  std::chrono::milliseconds request = std::chrono::seconds(2);
  std::chrono::milliseconds overall = std::chrono::seconds(5);
};

// The answer of a metadata service.
struct Metadata {
  Identity identity = {};  // instance, region, zone_id and purchase, as far as they were said
  std::optional<Note> note = {};  // why something wasn't said, unless it simply doesn't exist
};

// Asks the service of `provider`: "aws", "gcp", "azure" or "oci". For any other provider nothing is
// sent and nothing is known. A request that is answered with 429 or 503 is sent once more, after
// the time that Retry-After says. Returns within `overall` (and a tenth of a second). Throws Error
// for an options.url that isn't loopback, and for nothing that a service does.
Metadata AskMetadata(const std::string& provider, const MetadataOptions& options = {});

}  // namespace assay
