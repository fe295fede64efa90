// An HTTP server on a loopback port of its own, for tests: real sockets, scripted answers, and the
// metadata services of four clouds as their makers document them.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace assay {

struct HttpRequest {
  std::string method = {};
  std::string path = {};                            // with its query
  std::map<std::string, std::string> headers = {};  // names in lower case
};

struct HttpReply {
  int status = 200;
  std::string body = {};
  std::vector<std::string> headers = {};
  bool silent = false;                  // never answers; the client has to give up
  std::chrono::milliseconds drip = {};  // where above 0: one byte each, and then for ever
};

class LoopbackServer {
 public:
  using Handler = std::function<HttpReply(const HttpRequest&)>;
  explicit LoopbackServer(Handler handler);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  std::string Url() const;  // http://127.0.0.1:PORT
  int Connections() const { return connections_; }
  std::vector<HttpRequest> Requests() const;

 private:
  void Serve();
  void Answer(int client);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_ = {};
  std::vector<HttpRequest> requests_ = {};
  std::thread thread_ = {};
};

// A loopback port at which nothing listens.
int ClosedPort();

// The four services, strict about what their makers ask of a client. Each answers a request as the
// real one would for the machine that `leaves` describes (path without query -> text).
using Leaves = std::map<std::string, std::string>;
LoopbackServer::Handler AwsService(Leaves leaves);
LoopbackServer::Handler GcpService(Leaves leaves);
LoopbackServer::Handler AzureService(Leaves leaves);
LoopbackServer::Handler OciService(Leaves leaves);

// The machines that most tests ask about.
Leaves AwsLeaves();
Leaves GcpLeaves();
Leaves AzureLeaves();
Leaves OciLeaves();

}  // namespace assay
