// The transport that a collective's data really went over, as the fact `transport` of its record
// says it. All libraries share one grammar, into which each puts its own names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// The name of the fact that holds the transport.
inline constexpr const char* kTransportFact = "transport";
// The name of the fact that is true where some of a rank's data, or of the whole, went by TCP
// sockets. Each library tells that by its own means. Absent where none did, or nobody knows.
inline constexpr const char* kSocketsFact = "sockets";
// The transport of this program's own collectives within a node.
inline constexpr const char* kSharedMemory = "shared memory";

// The transport of a library that doesn't tell it, with the reason; it is never a guess.
std::string UnknownTransport(std::string_view why);
// The transport of two levels: "ob1/vader within a node, ob1/tcp between nodes"; one of the two
// alone where the other is "" or the same.
std::string OnTwoLevels(const std::string& within, const std::string& between);
// The part of such a text that is between nodes, or the whole text where it has no such parts.
std::string BetweenNodes(const std::string& transport);

// One text for what each rank says of itself: "tcp", or where they differ "ranks 0-2,4: shm; rank
// 3: tcp". `names` are the ranks' numbers. "" where none says anything.
std::string TransportOfRanks(const std::vector<std::string>& by_rank,
                             const std::vector<int>& names);

// Tells which ranks went over something else than `name`, and over what, such as "rank 3 went over
// tcp"; nothing where every rank used it. `transport` is a text as above. A name is whole words, in
// upper or lower case, so that "ofi" is in "NET/OFI (efa)" and "ib" isn't in "Libfabric". An
// unknown transport is never what was asked for.
std::optional<std::string> NotOver(const std::string& transport, const std::string& name);

}  // namespace assay
