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
// Without a key, ranks must be processes of one user on one machine. MASTER_ADDR is then a loopback
// address, in whose place they meet at a Unix socket, where the kernel tells each side whose
// process the other one is. No process of another user is let in or obeyed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "results/file/run.h"
#include "runner/core/ranks.h"

namespace assay {

// Where and as whom a process joins.
struct TcpOptions {
  int rank = 0;
  int size = 1;
  std::string address = "127.0.0.1";  // where rank 0 listens: a name or number
  int port = 29500;
  std::string key = {};                // 64 hex digits; empty: ranks of this user on this machine
  std::optional<int> local_rank = {};  // empty: counted among the ranks with the same `host`
  std::string host = {};               // tells nodes apart; empty: made of boot id and host name
  int listener = -1;                   // rank 0's socket, if opened by someone who gives a key, too
  Seconds patience = Seconds(60);      // how long to wait for all ranks
};

// Reads the options from MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE, LOCAL_RANK,
// ASSAY_BOOTSTRAP_KEY and ASSAY_BOOTSTRAP_LISTENER; where RANK and WORLD_SIZE aren't set, from what
// srun tells each task of its step. Throws Error for a variable that is missing or makes no sense,
// and for a key that is typed rather than drawn: one with fewer than 16 different bytes, or steps
// from byte to byte.
TcpOptions TcpOptionsFrom(const std::function<const char*(const char*)>& variable);

// A sentence for the user whose RANK and WORLD_SIZE are set for several ranks that nobody joins, as
// JoinTcp would; "" where they aren't set so.
std::string UnjoinedText(const std::function<const char*(const char*)>& variable);

// Joins the ranks, and returns once all are there. Throws Error, within about the time of its
// patience, where ranks don't come, come twice, belong to another build or job, or don't hold the
// key. A connection that says anything else is turned away, which the error mentions if a rank is
// missing in the end. Rank 0 raises this process's soft limit on descriptors to what that many
// ranks need, as far as the hard limit allows. The calls of the returned object throw Error when a
// rank is gone, and sleep while they wait.
std::unique_ptr<Ranks> JoinTcp(const TcpOptions& options);

}  // namespace assay
