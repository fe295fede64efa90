#include "tests/loopback_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <stdexcept>
#include <utility>

namespace assay {
namespace {

int Listen(int& port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no loopback socket");
  }
  port = ntohs(address.sin_port);
  return listener;
}

// True once `fd` has something to read (the end of the stream included).
bool Readable(int fd, int timeout_ms) {
  pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&entry, 1, timeout_ms) > 0;
}

bool SendAll(int client, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(client, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

HttpRequest Parse(const std::string& text) {
  HttpRequest request;
  const auto first = text.find(' ');
  const auto second = text.find(' ', first + 1);
  request.method = text.substr(0, first);
  request.path = text.substr(first + 1, second - first - 1);
  auto at = text.find("\r\n") + 2;
  for (auto end = text.find("\r\n", at); end != std::string::npos && end > at;
       at = end + 2, end = text.find("\r\n", at)) {
    const auto colon = text.find(": ", at);
    if (colon == std::string::npos || colon > end) continue;
    std::string name = text.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers[name] = text.substr(colon + 2, end - colon - 2);
  }
  return request;
}

std::string Header(const HttpRequest& request, const std::string& name) {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? "" : found->second;
}

HttpReply Leaf(const Leaves& leaves, const HttpRequest& request) {
  const auto found = leaves.find(request.path.substr(0, request.path.find('?')));
  if (found == leaves.end()) return {.status = 404, .body = "<html>404 Not Found</html>"};
  return {.status = 200, .body = found->second};
}

}  // namespace

LoopbackServer::LoopbackServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = Listen(port_);
  thread_ = std::thread([this] { Serve(); });
}

LoopbackServer::~LoopbackServer() {
  stop_ = true;
  thread_.join();
  close(listener_);
}

std::string LoopbackServer::Url() const { return fmt::format("http://127.0.0.1:{}", port_); }

std::vector<HttpRequest> LoopbackServer::Requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void LoopbackServer::Serve() {
  while (!stop_) {
    if (!Readable(listener_, 5)) continue;
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    ++connections_;
    Answer(client);
    close(client);
  }
}

void LoopbackServer::Answer(int client) {
  std::string text;
  while (text.find("\r\n\r\n") == std::string::npos) {
    char buffer[4096];
    const ssize_t got = recv(client, buffer, sizeof buffer, 0);
    if (got <= 0) return;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  const HttpRequest request = Parse(text);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const HttpReply reply = handler_(request);
  while (reply.silent && !stop_ && !Readable(client, 5)) continue;
  if (reply.silent) return;
  std::string head = fmt::format("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", reply.status);
  for (const std::string& header : reply.headers) head += header + "\r\n";
  if (reply.drip.count() == 0) {
    head += fmt::format("Content-Length: {}\r\n\r\n", reply.body.size());
    if (SendAll(client, head)) SendAll(client, reply.body);
    return;
  }
  if (!SendAll(client, head + "\r\n")) return;
  for (std::size_t i = 0; !stop_ && !reply.body.empty(); ++i) {
    if (!SendAll(client, std::string_view(reply.body).substr(i % reply.body.size(), 1))) return;
    std::this_thread::sleep_for(reply.drip);
  }
}

int ClosedPort() {
  int port = 0;
  close(Listen(port));
  return port;
}

// docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html
LoopbackServer::Handler AwsService(Leaves leaves) {
  return [leaves = std::move(leaves)](const HttpRequest& request) -> HttpReply {
    const std::string token = "AQAEALMdSUl_loopback==";
    if (!Header(request, "x-forwarded-for").empty()) return {.status = 403};
    if (request.path == "/latest/api/token") {
      if (request.method != "PUT") return {.status = 405};
      const std::string ttl = Header(request, "x-aws-ec2-metadata-token-ttl-seconds");
      const bool digits =
          !ttl.empty() && ttl.size() <= 5 &&
          std::all_of(ttl.begin(), ttl.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!digits || std::stoi(ttl) < 1 || std::stoi(ttl) > 21600) return {.status = 400};
      return {.status = 200, .body = token};
    }
    if (Header(request, "x-aws-ec2-metadata-token") != token) return {.status = 401};
    return Leaf(leaves, request);
  };
}

// cloud.google.com/compute/docs/metadata/querying-metadata
LoopbackServer::Handler GcpService(Leaves leaves) {
  return [leaves = std::move(leaves)](const HttpRequest& request) -> HttpReply {
    if (Header(request, "metadata-flavor") != "Google" ||
        !Header(request, "x-forwarded-for").empty()) {
      return {.status = 403};
    }
    HttpReply reply = Leaf(leaves, request);
    reply.headers = {"Metadata-Flavor: Google", "Content-Type: application/text"};
    return reply;
  };
}

// learn.microsoft.com/azure/virtual-machines/instance-metadata-service
LoopbackServer::Handler AzureService(Leaves leaves) {
  return [leaves = std::move(leaves)](const HttpRequest& request) -> HttpReply {
    if (Header(request, "metadata") != "true" || !Header(request, "x-forwarded-for").empty() ||
        request.path.find("?api-version=2021-02-01") == std::string::npos) {
      return {.status = 400, .body = R"({"error":"Bad request. Required header is missing"})"};
    }
    if (request.path.find("&format=text") == std::string::npos) {
      HttpReply reply = Leaf(leaves, request);
      reply.body = "\"" + reply.body + "\"";
      return reply;
    }
    return Leaf(leaves, request);
  };
}

// docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm
LoopbackServer::Handler OciService(Leaves leaves) {
  return [leaves = std::move(leaves)](const HttpRequest& request) -> HttpReply {
    if (Header(request, "authorization") != "Bearer Oracle" ||
        !Header(request, "x-forwarded-for").empty()) {
      return {.status = 401};
    }
    return Leaf(leaves, request);
  };
}

Leaves AwsLeaves() {
  return {{"/latest/meta-data/instance-type", "p5.48xlarge"},
          {"/latest/meta-data/placement/region", "us-east-1"},
          {"/latest/meta-data/placement/availability-zone-id", "use1-az4"},
          {"/latest/meta-data/instance-life-cycle", "spot"},
          {"/latest/meta-data/instance-id", "i-0canary0canary0ca"}};
}

Leaves GcpLeaves() {
  return {
      {"/computeMetadata/v1/instance/machine-type", "projects/123456/machineTypes/a3-highgpu-8g"},
      {"/computeMetadata/v1/instance/zone", "projects/123456/zones/us-south1-ai1b"},
      {"/computeMetadata/v1/instance/scheduling/preemptible", "FALSE"}};
}

Leaves AzureLeaves() {
  return {{"/metadata/instance/compute/vmSize", "Standard_ND96isr_H100_v5"},
          {"/metadata/instance/compute/location", "eastus2"},
          {"/metadata/instance/compute/zone", "2"},
          {"/metadata/instance/compute/priority", "Spot"}};
}

Leaves OciLeaves() {
  return {{"/opc/v2/instance/shape", "BM.GPU.H100.8"},
          {"/opc/v2/instance/canonicalRegionName", "us-phoenix-1"},
          {"/opc/v2/instance/availabilityDomain", "qIZq:PHX-AD-1"}};
}

}  // namespace assay
