// Which way NCCL's data really went, by what NCCL itself said of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay {

// `log` is what NCCL writes under NCCL_DEBUG=INFO with the subsystems INIT and NET. Gives the kinds
// of connection between ranks, each once in the order of their names, and whose those of a network
// are where NCCL says it: "NET/Libfabric/GDRDMA (efa), P2P/CUMEM". A network that no connection
// uses is none of them. Empty where the log tells of nothing. The log is from outside: what isn't a
// plain word is left out.
std::string TransportFrom(std::string_view log);

// Whether a connection that the log tells of goes by TCP sockets: NCCL's own, or a plugin's over
// libfabric's provider for them.
bool HasSockets(std::string_view log);

// The same of all ranks of a node together: a rank whose GPU has no adapter beside it reaches other
// nodes through another rank's, and its own log has nothing of that.
std::string TransportOfNode(const std::vector<std::string>& by_rank);

}  // namespace assay
