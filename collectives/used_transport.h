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
// The name of the fact that is true where some of the data went by TCP sockets: the rank's own data
// in Exchange::Describe, and any rank's in the record. It is absent where no data did, and where it
// isn't known.
inline constexpr const char* kSocketsFact = "sockets";
// The name of the fact that tells whether NVLink carried data between nodes (multi-node NVLink,
// MNNVL). It is absent where that isn't known.
inline constexpr const char* kMultiNodeNvlinkFact = "mnnvl";
// The transport of this program's own collectives within a node.
inline constexpr const char* kSharedMemory = "shared memory";

// The text for a transport that a library doesn't tell: "unknown (…)" with the reason, since a
// transport is never guessed.
std::string UnknownTransport(std::string_view why);
// The text for one transport within a node and one between nodes: "ob1/vader within a node, ob1/tcp
// between nodes"; one of the two alone where the other is "" or the same.
std::string OnTwoLevels(const std::string& within, const std::string& between);
// The transport between nodes from a text of OnTwoLevels; any other text as it is.
std::string BetweenNodes(const std::string& transport);

// One text for what each rank says of itself: "tcp", or where they differ "ranks 0-2,4: shm; rank
// 3: tcp". The number of the rank that says by_rank[i] is names[i], and numbers rise. "" where none
// says anything.
std::string TransportOfRanks(const std::vector<std::string>& by_rank,
                             const std::vector<int>& names);

// Tells which ranks went over another transport than `name`, and over which, such as "rank 3 went
// over tcp"; nothing where every rank used it. `transport` is a text of TransportOfRanks. It is
// over `name` where it contains that as whole words, in upper or lower case: "ofi" is in "NET/OFI
// (efa)", and "ib" isn't in "Libfabric". An unknown transport is never what was asked for.
std::optional<std::string> NotOver(const std::string& transport, const std::string& name);

}  // namespace assay
