// Privacy: what a result file may say of the machine and of the person who runs it. Everything that
// is written passes ApplyPrivacy. Environment variables are allowed one by one; text is searched
// for what tells a person, an account or a single machine, and that part becomes "(redacted)".
// Every function here may be called from any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/file/run.h"

namespace assay {

// The things that the user asked to keep.
struct Privacy {
  bool keep_ids = false;                // host names may stay
  bool keep_price = false;              // typed and negotiated prices may stay
  std::vector<std::string> hosts = {};  // the names of the run's other hosts
};
// ApplyPrivacy scrubs environment, command, offers, and every text that a device, a library, a
// service or a user had a hand in. Doing it twice changes nothing more. It is the only way out of
// this machine: the result file, its journal and every other output of a run
// (runner/program/outputs.h) are made after it. The table and the notes on the terminal come before
// it, since whoever typed a price or runs on a host may see both.
void ApplyPrivacy(Run& run, const Privacy& privacy);
void ApplyPrivacy(Record& record, const Privacy& privacy);

// Picks the variables of results/file/env_allowed.txt, by exact name, out of "NAME=value" strings
// that end with a null pointer (environ). A value is redacted as a whole where it is over 256
// bytes, holds "://", "@" or 20 characters of base64 in a row, or is a text that ScrubText would
// change. In an absolute path a slash is none of these characters.
std::map<std::string, std::string> AllowedEnvironment(const char* const* environment);

// Scrubs a text for the file. It is made harmless by Clean (results/base/text.h), cut to 1024
// bytes, and "(redacted)" takes the place of home folders, addresses (IP, MAC), e-mail addresses,
// URLs that carry a user or a query, UUIDs, instance and volume ids, accounts, projects,
// subscriptions, serials, keys, tokens and, without keep_ids, the names of this host and of
// `privacy.hosts` that have four letters or more and aren't plain words ("localhost", "node").
std::string ScrubText(std::string_view text, const Privacy& privacy = {});

// The digest in a text that names a container's image: the first "sha256:" with exactly 64 small
// hex digits after it; nothing where there is none. The rest is dropped, since it may name a
// private registry or be anything.
std::optional<std::string> ImageDigestIn(std::string_view text);

// Removes paths, URLs, prices and discounts from the parsed options. Only options that are known to
// hold none stay, by name; a value of theirs is redacted where it looks like a path or where one of
// the environment would be.
void ScrubCommand(std::map<std::string, std::vector<std::string>>& command);

// The node id, which tells nodes apart without saying which they are. It is the SHA-256 of the
// sorted UUIDs of the GPUs. Without GPUs it is an HMAC of the machine id under a key that is made
// once and kept in the user's own configuration folder ($XDG_CONFIG_HOME/assay or ~/.config/assay),
// so that nobody who knows the machine id can recognise it. Empty where there is no machine id, no
// place where a key can be kept, or a key that isn't believed; `notes` tell of the last alone.
std::string NodeId(std::vector<std::string> gpu_uuids, std::vector<Note>& notes);
// The node id of a machine without GPUs: `machine_id` under the key in `folder`/node-key, which is
// made with its folder where there is none. Empty where what lies there isn't a file of the user's
// own that is closed to all others (mode 0600); that file is left as it is, and `notes` say why
// there is no id.
std::string MachineNodeId(const std::string& machine_id, const std::string& folder,
                          std::vector<Note>& notes);

}  // namespace assay
