// Ranks without any MPI: processes that find each other over TCP, by the variables that PyTorch's
// launchers, Kubernetes' training operators and `assay run --ranks` set. Rank 0 listens at every
// address of MASTER_ADDR that its machine has, and each other rank has one connection to it. Only
// small texts travel here, between measurements; libraries bring connections of their own.
//
// Rank 0 proves that it holds the key, and then each rank that it does too, by an HMAC-SHA256 over
// numbers that both sides have just drawn; the key itself never travels. Before rank 0's proof a
// rank tells nothing but the random number that it has drawn. The proofs keep out strangers who can
// reach the port. Each frame afterwards is sealed by an HMAC under a key of its connection, so that
// nobody in between can change, repeat or add one. What the ranks say, which is commands, times and
// descriptions of machines, isn't hidden.
//
// Without a key, ranks are processes of one user on one machine: MASTER_ADDR is a loopback address,
// and in its place they meet at a Unix socket, where the kernel tells each side whose process the
// other one is. Nothing of another user's is let in or obeyed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "results/run.h"
#include "runner/ranks.h"

namespace assay {

struct TcpOptions {
  int rank = 0;
  int size = 1;
  std::string address = "127.0.0.1";  // where rank 0 listens: a name or number
  int port = 29500;
  std::string key = {};                // 64 hex digits; empty: ranks of this user's, here alone
  std::optional<int> local_rank = {};  // empty: counted among the ranks with the same `host`
  std::string host = {};               // tells nodes apart; empty: of the boot id and host name
  int listener = -1;                   // rank 0's, opened by somebody else, who gives a key too
  Seconds patience = Seconds(60);      // for all ranks to come
};

// MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE, LOCAL_RANK, ASSAY_BOOTSTRAP_KEY and
// ASSAY_BOOTSTRAP_LISTENER; for RANK and WORLD_SIZE what srun tells each task of its step. Throws
// Error for one that is missing or makes no sense, and for a key that is typed rather than drawn:
// one with fewer than 16 different bytes, or steps from byte to byte.
TcpOptions TcpOptionsFrom(const std::function<const char*(const char*)>& variable);

// A sentence that says that RANK and WORLD_SIZE are set for several ranks but nobody joins them, as
// JoinTcp would; "" where they aren't set so.
std::string UnjoinedText(const std::function<const char*(const char*)>& variable);

// Returns once all ranks are there. Throws Error, within about the time of its patience, where they
// don't come, come twice, come of another build or job, or don't hold the key. A connection
// that says something else is sent away, and told of if a rank is missing in the end. Rank 0 raises
// this process's soft limit on descriptors to what that many ranks need, as far as the hard one
// lets it. The calls of what is returned throw Error when a rank is gone; they sleep while they
// wait.
std::unique_ptr<Ranks> JoinTcp(const TcpOptions& options);

}  // namespace assay
