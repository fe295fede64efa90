// Where ranks that join over TCP meet: rank 0's sockets at every address of MASTER_ADDR that its
// machine has, or at this user's Unix socket where they have no key, and the others' connections to
// them. Nothing is said here yet (runner/cluster/tcp_ranks.h).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string_view>
#include <vector>

#include "results/base/descriptor.h"
#include "results/file/run.h"
#include "runner/cluster/tcp_ranks.h"

namespace assay {

using SteadyClock = std::chrono::steady_clock;

// The remedy where ranks need a key and have none.
inline constexpr std::string_view kHowToMakeAKey =
    "make one with openssl rand -hex 32, and set ASSAY_BOOTSTRAP_KEY to it on every rank";
inline constexpr std::chrono::milliseconds kPause(20);  // the pause between tries

// The milliseconds to the deadline, but no more than a second, since poll() takes an int.
int Remaining(SteadyClock::time_point deadline);
// The moment that lies so far in the future.
SteadyClock::time_point After(Seconds time);
// Sleeps until the descriptor is ready. Returns false where it isn't by the deadline.
bool IsReadyBy(SteadyClock::time_point deadline, int descriptor, short events);

// The user whose process connected at the other end of a Unix socket, or listened there; the
// overflow user, who is nobody's, where the kernel doesn't say.
uid_t UserOf(int socket);
// Sets a socket's options, so that small messages leave at once and a cut link is noticed within a
// minute. Unix sockets, which have neither problem, refuse these options.
void Tune(int socket);
// Opens sockets at every address of MASTER_ADDR that this machine has. Throws Error where it has
// none, or where another process listens at one of them, since ranks would come to that one too.
std::vector<Descriptor> Listen(const TcpOptions& options);
// Connects to rank 0, which may start later than this rank, and whose name may become known later.
// Throws Error where that fails within `patience`, and at once where another user listens there.
Descriptor Connect(const TcpOptions& options, Seconds patience);

}  // namespace assay
