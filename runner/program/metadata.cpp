#include "runner/program/metadata.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/base/text.h"
#include "runner/core/handle.h"

namespace assay {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMaxReplyBytes = std::size_t{64} << 10U;

// A Reader turns a reply into our word for it: "" where the service has nothing to say, nothing
// where the reply isn't plausible and must not be used.
using Reader = std::optional<std::string> (*)(std::string_view text);

// The text without the line end that some services add, and without the quotes of a leaf that is
// given as JSON.
std::string_view Bare(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  return text;
}

std::optional<std::string> Plain(std::string_view text) {
  text = Bare(text);
  if (!IsName(text)) return {};
  return std::string(text);
}

// The last part of a path: "projects/123456/zones/us-central1-a" gives "us-central1-a". The number
// is the project's, and private.
std::optional<std::string> AfterLastSlash(std::string_view text) {
  return Plain(text.substr(text.rfind('/') + 1));
}

// The region of a zone: "projects/123456/zones/us-south1-ai1b" gives "us-south1". A zone's last
// part may have any length.
std::optional<std::string> RegionOfGcpZone(std::string_view text) {
  const auto zone = AfterLastSlash(text);
  if (!zone) return {};
  const auto dash = zone->rfind('-');
  if (dash == std::string::npos) return {};
  return zone->substr(0, dash);
}

// The text behind a colon: "qIZq:PHX-AD-1" gives "PHX-AD-1". The prefix is the tenancy's, and
// private.
std::optional<std::string> AfterColon(std::string_view text) {
  text = Bare(text);
  return Plain(text.substr(text.rfind(':') + 1));
}

// Our word for AWS's way of paying. Unlisted words are kept, since a cloud may add a way of paying
// that is better named than guessed.
std::optional<std::string> AwsLifeCycle(std::string_view text) {
  const auto word = Plain(text);
  if (word == "on-demand") return "on_demand";
  if (word == "scheduled" || word == "capacity-block") return "capacity_block";
  return word;
}

std::optional<std::string> GcpPreemptible(std::string_view text) {
  const auto word = Plain(text);
  if (word == "TRUE") return "spot";
  if (word == "FALSE") return "on_demand";
  return {};
}

// Our word for Azure's priority. "Low" is the older name of spot in scale sets; a regular machine
// says "Regular" or nothing.
std::optional<std::string> AzurePriority(std::string_view text) {
  const auto word = Plain(text);
  if (word == "Spot" || word == "Low") return "spot";
  if (word == "Regular" || word == "") return "on_demand";
  return {};
}

struct Question {
  Finding Identity::*finding;
  const char* what;
  const char* path;
  Reader read;
};

// The metadata service of a cloud. Its paths are the allow-list.
struct Service {
  std::string_view provider;
  const char* header;  // sent with every request
  const char* proof;   // a header that every true reply carries, in lower case; or null
  bool wants_token;    // whether a token must be fetched first, by PUT (IMDSv2)
  std::vector<Question> questions;
};

// The services, as their clouds document them. AWS:
// docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html. GCP:
// cloud.google.com/compute/docs/metadata/predefined-metadata-keys. Azure:
// learn.microsoft.com/azure/virtual-machines/instance-metadata-service. OCI:
// docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm. On Azure and OCI the whole
// document would hold user data and public keys, so its leaves are asked for one by one.
const std::vector<Service>& Services() {
  static const std::vector<Service> services = {
      {.provider = "aws",
       .header = nullptr,
       .proof = nullptr,
       .wants_token = true,
       .questions = {{&Identity::instance, "instance", "/latest/meta-data/instance-type", Plain},
                     {&Identity::region, "region", "/latest/meta-data/placement/region", Plain},
                     {&Identity::zone_id, "zone",
                      "/latest/meta-data/placement/availability-zone-id", Plain},
                     {&Identity::purchase, "purchase", "/latest/meta-data/instance-life-cycle",
                      AwsLifeCycle}}},
      {.provider = "gcp",
       .header = "Metadata-Flavor: Google",
       .proof = "metadata-flavor: google",
       .wants_token = false,
       .questions = {{&Identity::instance, "instance", "/computeMetadata/v1/instance/machine-type",
                      AfterLastSlash},
                     {&Identity::region, "region", "/computeMetadata/v1/instance/zone",
                      RegionOfGcpZone},
                     {&Identity::zone_id, "zone", "/computeMetadata/v1/instance/zone",
                      AfterLastSlash},
                     {&Identity::purchase, "purchase",
                      "/computeMetadata/v1/instance/scheduling/preemptible", GcpPreemptible}}},
      {.provider = "azure",
       .header = "Metadata: true",
       .proof = nullptr,
       .wants_token = false,
       .questions = {{&Identity::instance, "instance",
                      "/metadata/instance/compute/vmSize?api-version=2021-02-01&format=text",
                      Plain},
                     {&Identity::region, "region",
                      "/metadata/instance/compute/location?api-version=2021-02-01&format=text",
                      Plain},
                     {&Identity::zone_id, "zone",
                      "/metadata/instance/compute/zone?api-version=2021-02-01&format=text", Plain},
                     {&Identity::purchase, "purchase",
                      "/metadata/instance/compute/priority?api-version=2021-02-01&format=text",
                      AzurePriority}}},
      {.provider = "oci",
       .header = "Authorization: Bearer Oracle",
       .proof = nullptr,
       .wants_token = false,
       .questions = {{&Identity::instance, "instance", "/opc/v2/instance/shape", Plain},
                     {&Identity::region, "region", "/opc/v2/instance/canonicalRegionName", Plain},
                     {&Identity::zone_id, "zone", "/opc/v2/instance/availabilityDomain",
                      AfterColon}}},
  };
  return services;
}

using Headers = Handle<curl_slist, curl_slist_free_all>;
using Transfer = Handle<CURL, curl_easy_cleanup>;
using Url = Handle<CURLU, curl_url_cleanup>;

Note Complaint(std::string_view provider, std::string_view what) {
  return {.what = fmt::format("the metadata service of {} {}", provider, what),
          .remedy = "give --instance, --region and --purchase where they are unknown"};
}

struct Reply {
  CURLcode code = CURLE_OK;
  long status = 0;
  bool connected = false;
  bool proven = false;    // whether the proof was among the headers
  std::size_t bytes = 0;  // the size of headers and body together
  std::string body = {};
  std::chrono::seconds retry_after = {};  // as the service asks for it; 0: it doesn't
};

bool TakeBytes(Reply& reply, std::size_t bytes) {
  reply.bytes += bytes;
  return reply.bytes <= kMaxReplyBytes;
}

// Takes a piece of the body. A short count returned tells libcurl to stop the transfer.
std::size_t OnBody(const char* data, std::size_t, std::size_t bytes, void* into) {
  auto& reply = *static_cast<Reply*>(into);
  if (!TakeBytes(reply, bytes)) return 0;
  reply.body.append(data, bytes);
  return bytes;
}

struct HeaderSink {
  Reply* reply;
  std::string_view proof;
};

std::size_t OnHeader(const char* data, std::size_t, std::size_t bytes, void* into) {
  const auto& sink = *static_cast<HeaderSink*>(into);
  if (!TakeBytes(*sink.reply, bytes)) return 0;
  std::string line(data, bytes);
  line.erase(line.find_last_not_of("\r\n \t") + 1);
  std::transform(line.begin(), line.end(), line.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (!sink.proof.empty() && line == sink.proof) sink.reply->proven = true;
  return bytes;
}

// One conversation with one service.
class Session {
 public:
  Session(const Service& service, std::string address, const MetadataOptions& options)
      : service_(service),
        address_(std::move(address)),
        options_(options),
        deadline_(steady_clock::now() + options.overall) {}

  // Asks for each leaf of the allow-list, until the time is up or the service fails.
  Metadata Ask() {
    Metadata metadata;
    std::vector<std::string> headers;
    if (service_.header != nullptr) headers.emplace_back(service_.header);
    if (service_.wants_token) {
      const auto token = Token(metadata);
      if (!token) return metadata;
      headers.push_back("X-aws-ec2-metadata-token: " + *token);
    }
    Reply reply;
    std::string_view asked;
    for (const Question& question : service_.questions) {
      if (question.path != asked) reply = Send("GET", question.path, headers);
      asked = question.path;
      if (reply.code != CURLE_OK) {
        Say(metadata, Failure(reply));
        break;  // another request would only run into the same deadline
      }
      if (reply.status == 404) continue;  // this machine has no such thing
      if (reply.status != 200) {
        Say(metadata,
            fmt::format("answered {} to the question for the {}", reply.status, question.what));
        continue;
      }
      if (service_.proof != nullptr && !reply.proven) {
        Say(metadata,
            fmt::format("gave an answer without '{}', so it is another's", service_.header));
        break;
      }
      const auto value = question.read(reply.body);
      if (!value) {
        Say(metadata, fmt::format("gave no plausible {}", question.what));
      } else if (!value->empty()) {
        // A reservation or a savings plan may pay for what says "on demand", which the machine
        // can't know.
        metadata.identity.*
            question.finding = {.value = *value,
                                .how = "imds",
                                .confidence = *value == "on_demand" ? "likely" : "certain"};
      }
    }
    return metadata;
  }

 private:
  // Fetches a token, which is kept in memory only and lives for a minute.
  std::optional<std::string> Token(Metadata& metadata) {
    const Reply reply =
        Send("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds: 60"});
    if (reply.code == CURLE_OPERATION_TIMEDOUT && reply.connected && reply.bytes == 0) {
      // The reply to PUT alone carries the hop limit as its IP time to live, so from a bridged
      // container one can connect but never hears the answer.
      metadata.note = {
          .what = "metadata token timed out, as it does behind a hop limit of 1",
          .remedy =
              "start the container with --network host, or give the instance a hop limit "
              "of 2 (3 on kOps)"};
      return {};
    }
    if (reply.code != CURLE_OK) {
      Say(metadata, Failure(reply));
      return {};
    }
    const auto printable = [](char c) { return c > ' ' && c <= '~'; };
    if (reply.status != 200) {
      Say(metadata, fmt::format("refused a token with status {}", reply.status));
      return {};
    }
    if (reply.body.empty() || reply.body.size() > 1024 ||
        !std::all_of(reply.body.begin(), reply.body.end(), printable)) {
      Say(metadata, "gave no plausible token");
      return {};
    }
    return reply.body;
  }

  // Sends a request. A service that is asked too often, or isn't ready, gets a second chance at the
  // time that it says, if that is before the deadline.
  Reply Send(const char* method, const std::string& path, const std::vector<std::string>& lines) {
    constexpr long kTooManyRequests = 429;
    constexpr long kUnavailable = 503;
    constexpr milliseconds kPause(250);
    const Reply reply = SendOnce(method, path, lines);
    if (reply.status != kTooManyRequests && reply.status != kUnavailable) return reply;
    const milliseconds pause = std::max<milliseconds>(kPause, reply.retry_after);
    if (steady_clock::now() + pause >= deadline_) return reply;
    std::this_thread::sleep_for(pause);
    return SendOnce(method, path, lines);
  }

  // Sends one request with every protection set: no proxy, no redirects, a bounded reply and a
  // deadline.
  Reply SendOnce(const char* method, const std::string& path,
                 const std::vector<std::string>& lines) {
    Reply reply;
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline_ - steady_clock::now()).count();
    if (left <= 0) {
      reply.code = CURLE_OPERATION_TIMEDOUT;
      return reply;
    }
    Headers headers;
    for (const std::string& line : lines) {
      headers.reset(curl_slist_append(headers.release(), line.c_str()));
    }
    HeaderSink sink{
        &reply, service_.proof == nullptr ? std::string_view() : std::string_view(service_.proof)};
    const Transfer transfer(curl_easy_init());
    if (!transfer) {
      reply.code = CURLE_FAILED_INIT;
      return reply;
    }
    CURL* const curl = transfer.get();
    const std::string url = address_ + path;
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    // An empty proxy also overrules http_proxy and its like, which would be told the token.
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect.count()));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                     static_cast<long>(std::min<std::int64_t>(options_.request.count(), left)));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &sink);
    reply.code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_off_t retry_after = 0;
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
    reply.retry_after = std::chrono::seconds(retry_after);
    curl_off_t connect_time = 0;
    curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connect_time);
    reply.connected = connect_time > 0;
    return reply;
  }

  // Keeps the first thing that went wrong; the rest follows from it.
  void Say(Metadata& metadata, const std::string& what) const {
    if (!metadata.note) metadata.note = Complaint(service_.provider, what);
  }

  // The reason why a request got no usable reply, in words.
  static std::string Failure(const Reply& reply) {
    switch (reply.code) {
      case CURLE_OPERATION_TIMEDOUT:
        return "did not answer in time";
      case CURLE_COULDNT_CONNECT:
        return "can't be reached";
      case CURLE_WRITE_ERROR:
        return "answered with more than 64 KiB";
      default:
        return fmt::format("failed: {}", curl_easy_strerror(reply.code));
    }
  }

  const Service& service_;
  std::string address_;
  MetadataOptions options_;
  steady_clock::time_point deadline_;
};

// The address, if it is http:// and loopback; throws Error if it isn't. libcurl's own parser reads
// it, so that what is judged is what will be used.
std::string LoopbackAddress(const std::string& text) {
  const Url url(curl_url());
  const auto part = [&](CURLUPart which) {
    char* value = nullptr;
    if (curl_url_get(url.get(), which, &value, 0) != CURLUE_OK) return std::string();
    std::string copy(value);
    curl_free(value);
    return copy;
  };
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) == CURLUE_OK &&
      part(CURLUPART_SCHEME) == "http" && part(CURLUPART_USER).empty() &&
      part(CURLUPART_QUERY).empty() && part(CURLUPART_FRAGMENT).empty() &&
      part(CURLUPART_PATH) == "/") {
    const std::string host = part(CURLUPART_HOST);
    if (host == "127.0.0.1" || host == "[::1]") {
      const std::string port = part(CURLUPART_PORT);
      return "http://" + host + (port.empty() ? "" : ":" + port);
    }
  }
  throw Error(
      fmt::format("the metadata URL '{}' isn't a loopback address; "
                  "give one such as http://127.0.0.1:1338",
                  Clean(text)));
}

}  // namespace

bool IsName(std::string_view text) {
  const auto begins = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const auto goes_on = [&](char c) { return begins(c) || c == '.' || c == '_' || c == '-'; };
  return text.empty() ||
         (text.size() <= 64 && begins(text.front()) && std::ranges::all_of(text, goes_on) &&
          text.find("..") == std::string_view::npos);
}

Metadata AskMetadata(const std::string& provider, const MetadataOptions& options) {
  // Addresses are numbers, since looking a name up could be slow or be answered by a stranger.
  const std::string address =
      options.url.empty() ? "http://169.254.169.254" : LoopbackAddress(options.url);
  const auto& services = Services();
  const auto service = std::find_if(services.begin(), services.end(),
                                    [&](const Service& s) { return s.provider == provider; });
  if (service == services.end()) return {};
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) {
    return {.identity = {},
            .note = Complaint(provider, "can't be asked, as libcurl does not start")};
  }
  // The requests run in a thread that is left behind if libcurl should break its promise on time.
  std::packaged_task<Metadata()> task(
      [&service = *service, address, options] { return Session(service, address, options).Ask(); });
  std::future<Metadata> answer = task.get_future();
  try {
    std::thread(std::move(task)).detach();
  } catch (const std::system_error&) {  // a container may limit the number of processes
    return {.identity = {}, .note = Complaint(provider, "can't be asked, as no thread starts")};
  }
  if (answer.wait_for(options.overall + milliseconds(100)) == std::future_status::ready) {
    return answer.get();
  }
  return {.identity = {}, .note = Complaint(provider, "did not answer in time")};
}

}  // namespace assay
