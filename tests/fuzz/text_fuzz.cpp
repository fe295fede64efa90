// Text from a device, a library or a service on its way to the terminal, a page or a file.
#include <cstdint>
#include <cstdlib>

#include "results/base/text.h"
#include "results/file/privacy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string clean = assay::Clean(text, 200);
  if (clean.size() > 200 || assay::Clean(clean, 200) != clean) std::abort();
  for (const char c : clean) {
    if (static_cast<unsigned char>(c) < 0x20) std::abort();
  }
  const std::string part = assay::FileNamePart(text);
  if (part.empty() || part.find('/') != std::string::npos || part == "..") std::abort();
  if (assay::Html(text).find('<') != std::string::npos) std::abort();
  const std::string scrubbed = assay::ScrubText(text);
  if (assay::ScrubText(scrubbed) != scrubbed) std::abort();  // doing it twice changes nothing more
  return 0;
}
