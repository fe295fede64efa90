#include "runner/cluster/meeting_place.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "results/base/error.h"
#include "results/base/text.h"

namespace assay {
namespace {

using std::chrono::duration_cast, std::chrono::milliseconds;

constexpr milliseconds kNamePause(1000);  // where MASTER_ADDR's name isn't known yet

struct Place {
  sockaddr_storage address = {};
  socklen_t length = 0;
};

bool SamePlace(const Place& a, const Place& b) {
  return a.length == b.length && std::memcmp(&a.address, &b.address, a.length) == 0;
}

bool IsLoopback(const Place& place) {
  if (place.address.ss_family == AF_INET) {
    sockaddr_in v4 = {};
    std::memcpy(&v4, &place.address, sizeof(v4));
    return (ntohl(v4.sin_addr.s_addr) >> 24U) == 127;
  }
  sockaddr_in6 v6 = {};
  std::memcpy(&v6, &place.address, sizeof(v6));
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

// The user number that stands for every user whom this system or container doesn't know.
uid_t UnknownUser() {
  uid_t user = 65534;
  std::ifstream("/proc/sys/kernel/overflowuid") >> user;
  return user;
}

// The place where this user's ranks meet that have no key: an abstract Unix socket, whose name the
// kernel keeps for each network name space as it does ports. Any user may take the name, so each
// side asks who the other one is (UserOf).
Place PlaceOfUser(int port) {
  if (geteuid() == UnknownUser()) {
    throw Error(fmt::format("user {} may be anybody here, so ranks need a key: {}", geteuid(),
                            kHowToMakeAKey));
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("assay-ranks/{}/{}", geteuid(), port);
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  Place place = {.length =
                     static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
  std::memcpy(&place.address, &address, sizeof(address));
  return place;
}

// The error for a MASTER_ADDR whose name isn't known here, or not yet, since some clusters publish
// a rank's name only once it runs.
class UnknownName : public Error {
 public:
  using Error::Error;
};

bool MayBecomeKnown(int status) {
  return status == EAI_AGAIN || status == EAI_NONAME || status == EAI_NODATA;
}

// Every address of MASTER_ADDR that may be used, each once. Throws Error where there is none.
std::vector<Place> PlacesOf(const TcpOptions& options) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status =
      getaddrinfo(options.address.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (status != 0) {
    const std::string what = fmt::format(
        "MASTER_ADDR {} is no address that is known here ({}); name rank 0's "
        "host or its IP address",
        Clean(options.address, 256), gai_strerror(status));
    // Without a key the name must be this machine's, whose names don't appear later.
    if (MayBecomeKnown(status) && !options.key.empty()) throw UnknownName(what);
    throw Error(what);
  }
  std::vector<Place> places;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    Place place = {.length = each->ai_addrlen};
    std::memcpy(&place.address, each->ai_addr, each->ai_addrlen);
    const auto is_it = [&](const Place& other) { return SamePlace(place, other); };
    if (std::none_of(places.begin(), places.end(), is_it)) places.push_back(place);
  }
  freeaddrinfo(found);
  if (!options.key.empty()) return places;
  if (std::any_of(places.begin(), places.end(), IsLoopback)) return {PlaceOfUser(options.port)};
  throw Error(
      fmt::format("MASTER_ADDR {} can be reached from other machines, so ranks need a key: {}",
                  Clean(options.address, 256), kHowToMakeAKey));
}

// Makes a socket for a place. It is invalid, with EAFNOSUPPORT in errno, where this machine has no
// addresses of that kind, such as IPv6.
Descriptor NewSocket(const Place& place) {
  Descriptor made(socket(place.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (made.Number() < 0 && errno != EAFNOSUPPORT) {
    throw Error(fmt::format("no socket can be made here: {}", std::strerror(errno)));
  }
  return made;
}

// Listens at a place. Returns 0 or an errno.
int ListenAt(const Place& place, std::vector<Descriptor>& listeners) {
  Descriptor made = NewSocket(place);
  if (made.Number() < 0) return errno;
  const int on = 1;
  setsockopt(made.Number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(made.Number(), reinterpret_cast<const sockaddr*>(&place.address), place.length) != 0 ||
      listen(made.Number(), SOMAXCONN) != 0) {
    return errno;
  }
  listeners.push_back(std::move(made));
  return 0;
}

// Whether the errno means that this machine doesn't have the address.
bool IsElsewhere(int error) {
  return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EINVAL || error == ENODEV;
}

// Connects to a place. Returns 0 or an errno.
int Reach(const Descriptor& socket, const Place& place, SteadyClock::time_point deadline) {
  if (connect(socket.Number(), reinterpret_cast<const sockaddr*>(&place.address), place.length) ==
      0) {
    return 0;
  }
  if (errno != EINPROGRESS) return errno;
  if (!IsReadyBy(deadline, socket.Number(), POLLOUT)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket.Number(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

// Whether the connection ends at itself. Where nobody listens at a port of this machine, the kernel
// may give a connection to it that very port as its source, and rank 0 could not listen there any
// more.
bool EndsAtItself(const Descriptor& socket) {
  Place own = {.length = sizeof(own.address)};
  Place other = {.length = sizeof(other.address)};
  return getsockname(socket.Number(), reinterpret_cast<sockaddr*>(&own.address), &own.length) ==
             0 &&
         getpeername(socket.Number(), reinterpret_cast<sockaddr*>(&other.address), &other.length) ==
             0 &&
         SamePlace(own, other);
}

// Closes a connection so that its port is free at once.
void Reset(Descriptor& socket) {
  const linger at_once = {.l_onoff = 1, .l_linger = 0};
  setsockopt(socket.Number(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  socket.Close();
}

}  // namespace

int Remaining(SteadyClock::time_point deadline) {
  const auto left = duration_cast<milliseconds>(deadline - SteadyClock::now()).count();
  return static_cast<int>(std::clamp<long>(left, 0, 1000));
}

SteadyClock::time_point After(Seconds time) {
  return SteadyClock::now() + duration_cast<SteadyClock::duration>(time);
}

bool IsReadyBy(SteadyClock::time_point deadline, int descriptor, short events) {
  do {
    pollfd ready = {.fd = descriptor, .events = events, .revents = 0};
    if (poll(&ready, 1, Remaining(deadline)) > 0) return true;
  } while (SteadyClock::now() < deadline);
  return false;
}

uid_t UserOf(int socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return UnknownUser();
  return peer.uid;
}

void Tune(int socket) {
  const auto set = [socket](int level, int name, int value) {
    setsockopt(socket, level, name, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
}

std::vector<Descriptor> Listen(const TcpOptions& options) {
  std::vector<Descriptor> listeners;
  if (options.listener >= 0) {
    if (options.key.empty()) {
      throw Error(
          fmt::format("ASSAY_BOOTSTRAP_LISTENER needs a key beside it: {}", kHowToMakeAKey));
    }
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (getsockopt(options.listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 ||
        listens == 0) {
      throw Error(
          fmt::format("ASSAY_BOOTSTRAP_LISTENER {} is no socket that listens: unset it, and rank 0 "
                      "listens at MASTER_ADDR itself",
                      options.listener));
    }
    fcntl(options.listener, F_SETFD, FD_CLOEXEC);
    fcntl(options.listener, F_SETFL, O_NONBLOCK);
    listeners.emplace_back(options.listener);
    return listeners;
  }
  int error = 0;
  for (const Place& place : PlacesOf(options)) {
    const int outcome = ListenAt(place, listeners);
    if (outcome == 0) continue;
    error = outcome;
    if (IsElsewhere(error)) continue;
    listeners.clear();
    break;
  }
  if (!listeners.empty()) return listeners;
  std::string remedy = "choose another MASTER_PORT";
  if (error != EADDRINUSE) {
    remedy = options.key.empty()
                 ? fmt::format("give the ranks a key: {}", kHowToMakeAKey)
                 : "MASTER_ADDR must be an address of the machine that rank 0 runs on";
  }
  throw Error(fmt::format("rank 0 can't listen on MASTER_ADDR {} port {} ({}); {}",
                          Clean(options.address, 256), options.port, std::strerror(error), remedy));
}

Descriptor Connect(const TcpOptions& options, Seconds patience) {
  const SteadyClock::time_point deadline = After(patience);
  int error = 0;
  std::optional<UnknownName> unknown;
  do {
    std::vector<Place> places;
    unknown.reset();
    try {
      places = PlacesOf(options);
    } catch (const UnknownName& name) {
      unknown = name;
    }
    for (const Place& place : places) {
      Descriptor made = NewSocket(place);
      error = made.Number() < 0 ? errno : Reach(made, place, deadline);
      if (error != 0) continue;
      if (place.address.ss_family != AF_UNIX) {
        if (!EndsAtItself(made)) return made;
        Reset(made);
        error = ECONNREFUSED;
        continue;
      }
      const uid_t user = UserOf(made.Number());
      if (user == geteuid()) return made;
      throw Error(fmt::format(
          "user {} listens where rank 0 of user {} would (MASTER_PORT {}): choose another "
          "MASTER_PORT, or give the ranks a key ({})",
          user, geteuid(), options.port, kHowToMakeAKey));
    }
    // A name server is asked less often than a port.
    std::this_thread::sleep_for(std::min<SteadyClock::duration>(unknown ? kNamePause : kPause,
                                                                deadline - SteadyClock::now()));
  } while (SteadyClock::now() < deadline);
  if (unknown) throw *unknown;
  const std::string within = Duration(patience.count());
  if (options.key.empty()) {
    throw Error(fmt::format(
        "rank {} has no ASSAY_BOOTSTRAP_KEY, so it looked for rank 0 of MASTER_PORT {} among "
        "user {}'s processes on this machine, and found none within {}: start rank 0 here, as "
        "the same user and without a key, or give all ranks one",
        options.rank, options.port, geteuid(), within));
  }
  throw Error(fmt::format(
      "rank {} can't reach rank 0 at {} port {} within {} ({}); is rank 0 started, with "
      "the same ASSAY_BOOTSTRAP_KEY, and does a firewall let the port through?",
      options.rank, Clean(options.address, 256), options.port, within, std::strerror(error)));
}

}  // namespace assay
