// Names as people write them: in capitals or small letters, with a letter too few, and a zone where
// its region is meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay {

// The text with ASCII capitals as small letters, as providers' names are.
std::string Lower(std::string_view text);
// Whether two names differ in their case alone, by which no cloud tells its names apart.
bool IsSameName(std::string_view a, std::string_view b);
// The name among `names` that differs from `text` in case alone; else `text` itself.
std::string NamedAs(std::string_view text, const std::vector<std::string>& names);

// The region that `text` means: aws's us-east-1a lies in us-east-1, gcp's us-central1-b in
// us-central1. For other providers, and where the cloud's own rule doesn't fit, `text` is the
// region. Regions of aws, gcp and azure are given in small letters.
std::string RegionNamed(std::string_view provider, std::string_view text);

// "did you mean p5.48xlarge?", with the name nearest to `text`, or else the first three that begin
// with it; "" where none is like it. Case doesn't count.
std::string DidYouMean(std::string_view text, const std::vector<std::string>& names);
// DidYouMean, or "there are a, b, c" where that is "": for names that are few enough to be told.
std::string DidYouMeanAmong(std::string_view text, const std::vector<std::string>& names);

}  // namespace assay
