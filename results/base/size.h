// Sizes in bytes as people type them.
#pragma once

#include <cstdint>
#include <string_view>

namespace assay {

// Reads a size as nccl-tests and fio write it, in bytes: "8", "4k", "64M", "1.5K", "1GB", "1GiB",
// "2t". Every prefix is binary, as in both. Throws Error, which names `what`, for anything else,
// including parts of a byte and more than 1 PiB.
std::int64_t ParseSize(std::string_view text, std::string_view what);

// Whether the param's value counts bytes, as a param named `bytes` or with that unit (`file_bytes`)
// does. Cases which differ in it alone are a sweep of sizes.
bool IsSize(std::string_view param);

}  // namespace assay
