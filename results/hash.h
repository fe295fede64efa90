// Hashes. Sole includer of OpenSSL.
#pragma once

#include <string>
#include <string_view>

namespace assay {

std::string Sha256Hex(std::string_view data);
std::string HmacSha256Hex(std::string_view key, std::string_view data);
// `bytes` random bytes from the operating system, as hex.
std::string RandomHex(int bytes);

}  // namespace assay
