// What a collective's data really went over, as the fact `transport` of its record says it: one
// grammar for all libraries, each of which puts the names of its own into it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

inline constexpr const char* kTransportFact = "transport";
// True of a rank, or of the whole, some of whose data went by TCP sockets: each library tells it by
// its own means. Absent where none did, or nobody knows.
inline constexpr const char* kSocketsFact = "sockets";
// Of what we do ourselves within a node.
inline constexpr const char* kSharedMemory = "shared memory";

// Of a library that does not tell, and why: never a guess.
std::string UnknownTransport(std::string_view why);
// "ob1/vader within a node, ob1/tcp between nodes"; the one alone where the other is "" or the
// same.
std::string OnTwoLevels(const std::string& within, const std::string& between);
// The second part of that, or all of a text that has no such parts.
std::string BetweenNodes(const std::string& transport);

// One text for what each rank says of itself: "tcp", or where they differ "ranks 0-2,4: shm; rank
// 3: tcp". `names` is what each of them is called. "" where none says anything.
std::string TransportOfRanks(const std::vector<std::string>& by_rank,
                             const std::vector<int>& names);

// Which ranks went over something else than `name`, and over what, such as "rank 3 went over tcp";
// nothing where every rank used it. `transport` is as above. A name is whole words, in upper or
// lower case: "ofi" is in "NET/OFI (efa)" and "ib" isn't in "Libfabric". What is unknown is never
// what was asked for.
std::optional<std::string> NotOver(const std::string& transport, const std::string& name);

}  // namespace assay
