// The transport that NCCL's data really went over, read from NCCL's own log.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace assay {

// Reads the kinds of connection between ranks from a log that NCCL writes under NCCL_DEBUG=INFO
// with the subsystems INIT and NET. Each kind stands once, in the order of their names, with the
// provider of a network where NCCL says it: "NET/Libfabric/GDRDMA (efa), P2P/CUMEM". A network that
// no connection uses is left out. A log that names a network and no connection gives the text of an
// unknown transport (collectives/used_transport.h), and one that names neither gives "". The log
// comes from outside, so anything but plain words is left out.
std::string TransportFrom(std::string_view log);

// Whether a connection in the log goes by TCP sockets: NCCL's own, or a plugin's over libfabric's
// provider tcp, net or sockets.
bool HasSockets(std::string_view log);

// Whether the log tells that ranks of several nodes form one domain of NVLink (multi-node NVLink,
// MNNVL): NCCL then calls each of the connections by peer memory P2P/MNNVL. Returns nothing where
// the log tells neither of a connection nor of NVLink's switches.
std::optional<bool> HasMultiNodeNvlink(std::string_view log);

// Returns one text for the connections of all ranks of a node. `by_rank` holds what TransportFrom
// returned for each rank's log. The ranks are told together, since a rank whose GPU has no network
// adapter beside it reaches other nodes through another rank's adapter, which only the other rank's
// log names.
std::string TransportOfNode(const std::vector<std::string>& by_rank);

}  // namespace assay
