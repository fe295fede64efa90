// Which way NCCL's data really went, by what NCCL itself said of it.
#pragma once

#include <string>
#include <string_view>

namespace assay {

// `log` is what NCCL writes under NCCL_DEBUG=INFO with the subsystems INIT and NET. Gives the
// network in use and the kinds of connection between ranks, each once in the order of their names:
// "Libfabric (efa); NET/Libfabric, P2P/CUMEM". Empty where the log tells of neither. The log is
// from outside: what isn't a plain word is left out.
std::string TransportFrom(std::string_view log);

}  // namespace assay
