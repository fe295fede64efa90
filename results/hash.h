// Hashes. Sole includer of OpenSSL.
#pragma once

#include <string>
#include <string_view>

namespace assay {

std::string Sha256Hex(std::string_view data);
// The same in base64, as web pages write it.
std::string Sha256Base64(std::string_view data);
std::string HmacSha256Hex(std::string_view key, std::string_view data);
// Whether two proofs are the same, in a time that doesn't tell where they differ.
bool SameProof(std::string_view a, std::string_view b);
// `bytes` random bytes from the operating system, as hex.
std::string RandomHex(int bytes);

}  // namespace assay
