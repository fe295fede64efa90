// Hashes, random bytes, and bytes as hex. The source is the sole includer of OpenSSL. Functions
// that need it throw Error where it fails.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// The bytes as two small hex digits each.
std::string ToHex(std::span<const unsigned char> bytes);
// Reads bytes from hex; nothing where the text isn't two hex digits for each byte.
std::optional<std::vector<unsigned char>> FromHex(std::string_view text);

// The SHA-256 as 64 small hex digits.
std::string Sha256Hex(std::string_view data);
// The SHA-256 in base64, as web pages write it (Subresource Integrity, without "sha256-").
std::string Sha256Base64(std::string_view data);
// The HMAC-SHA-256 (RFC 2104) as 64 small hex digits.
std::string HmacSha256Hex(std::string_view key, std::string_view data);
// Whether two proofs are equal. For proofs of one length it takes a constant time, which doesn't
// tell where they differ.
bool SameProof(std::string_view a, std::string_view b);
// Draws `bytes` random bytes from the operating system, and returns them as hex.
std::string RandomHex(int bytes);

}  // namespace assay
