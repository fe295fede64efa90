// A module as the loader sees one; BUILD_ID says of which build it claims to be.
#include "runner/core/module.h"
#include "version.h"

namespace {
std::string Version() { return "fake"; }
constexpr assay::Module kModule = {.build_id = BUILD_ID,
                                   .name = "fake",
                                   .backends = nullptr,
                                   .libraries = nullptr,
                                   .ranks = nullptr,
                                   .version = Version};
}  // namespace

extern "C" const assay::Module* assay_module() { return &kModule; }
