// Nothing leaked: what a result file may say of the machine and of who runs it. Everything that is
// written passes ApplyPrivacy. Names are allowed one by one; text is searched for what tells a
// person, an account or a single machine, and that part becomes "(redacted)".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/run.h"

namespace assay {

// The only way out of this machine: environment, command, offers, and every text that a device, a
// library, a service or a user had a hand in. Doing it twice changes nothing more. The result file,
// its journal and every other output of a run (runner/outputs.h) come after it. The table and the
// notes on the terminal come before it: whoever typed a price or runs on a host sees both there.
struct Privacy {
  bool keep_ids = false;                // host names may stay
  bool keep_price = false;              // typed and negotiated prices may
  std::vector<std::string> hosts = {};  // names of the run's other hosts, as this one's own
};
void ApplyPrivacy(Run& run, const Privacy& privacy);
void ApplyPrivacy(Record& record, const Privacy& privacy);

// The variables of results/env_allowed.txt, by exact name, out of "NAME=value" strings that end
// with a null pointer (environ). A value is redacted whole where it is over 256 characters or holds
// an address, "://", "@", a home folder or 20 characters of hex or base64.
std::map<std::string, std::string> AllowedEnvironment(const char* const* environment);

// Text for the file: control characters gone, at most 1024 bytes, and "(redacted)" in the place of
// home folders, addresses (IP, MAC), e-mail addresses, URLs that carry a user or a query, UUIDs,
// instance and volume ids, accounts, projects, subscriptions, serials, keys, tokens and, unless
// they are to be kept, the names of this host and of `privacy.hosts`.
std::string ScrubText(std::string_view text, const Privacy& privacy = {});

// "sha256:" and the 64 hexadecimal digits after it, of whatever names a container's image; nothing
// where they aren't there. The name may be that of a private registry, or anything at all.
std::optional<std::string> ImageDigestIn(std::string_view text);

// The parsed options without paths, URLs, prices and discounts: options that are known to hold none
// stay, by name, and each value is looked at as one of the environment is.
void ScrubCommand(std::map<std::string, std::vector<std::string>>& command);

// Tells nodes apart without saying which they are: SHA-256 of the sorted UUIDs of the GPUs. Without
// GPUs, an HMAC of the machine id under a key that is made once and kept in the user's own
// configuration folder ($XDG_CONFIG_HOME/assay or ~/.config/assay), so that nobody who knows the
// machine id can recognise it. Empty where there is no machine id or no place for a key.
// Why it is empty, where a key lies there that isn't believed, is said in `notes`.
std::string NodeId(std::vector<std::string> gpu_uuids, std::vector<Note>& notes);
// The second half of it: `machine_id` under the key in `folder`/node-key, which is made with its
// folder where there is none. Empty too where what lies there is no file of the user's own that is
// closed to all others (mode 0600): that is left as it is, and `notes` say why there is no id.
std::string MachineNodeId(const std::string& machine_id, const std::string& folder,
                          std::vector<Note>& notes);

}  // namespace assay
