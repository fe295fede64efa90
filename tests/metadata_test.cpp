#include "runner/program/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "results/base/error.h"
#include "tests/loopback_server.h"

namespace assay {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Ample for an answer on loopback, and short for one that never comes.
MetadataOptions Quick(const LoopbackServer& server) {
  return {.url = server.Url(),
          .connect = milliseconds(2000),
          .request = milliseconds(2000),
          .overall = milliseconds(5000)};
}

MetadataOptions Impatient(const LoopbackServer& server) {
  return {.url = server.Url(),
          .connect = milliseconds(500),
          .request = milliseconds(60),
          .overall = milliseconds(500)};
}

std::string What(const Metadata& metadata) { return metadata.note ? metadata.note->what : ""; }

TEST(Metadata, AwsIsAskedWithATokenOfAMinute) {
  LoopbackServer server(AwsService(AwsLeaves()));
  const Metadata metadata = AskMetadata("aws", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "p5.48xlarge");
  EXPECT_EQ(metadata.identity.instance.how, "imds");
  EXPECT_EQ(metadata.identity.instance.confidence, "certain");
  EXPECT_EQ(metadata.identity.region.value, "us-east-1");
  EXPECT_EQ(metadata.identity.zone_id.value, "use1-az4");
  EXPECT_EQ(metadata.identity.purchase.value, "spot");
  EXPECT_EQ(metadata.identity.provider.value, "unknown");
  EXPECT_EQ(What(metadata), "");
  const auto requests = server.Requests();
  ASSERT_FALSE(requests.empty());
  EXPECT_EQ(requests[0].method, "PUT");
  EXPECT_EQ(requests[0].headers.at("x-aws-ec2-metadata-token-ttl-seconds"), "60");
}

TEST(Metadata, GcpGivesNamesWithoutTheProjectsNumber) {
  LoopbackServer server(GcpService(GcpLeaves()));
  const Metadata metadata = AskMetadata("gcp", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "a3-highgpu-8g");
  EXPECT_EQ(metadata.identity.region.value, "us-south1");
  EXPECT_EQ(metadata.identity.zone_id.value, "us-south1-ai1b");
  EXPECT_EQ(metadata.identity.purchase.value, "on_demand");
  EXPECT_EQ(metadata.identity.purchase.confidence, "likely");
  EXPECT_EQ(What(metadata), "");
}

TEST(Metadata, AzureIsAskedLeafByLeaf) {
  LoopbackServer server(AzureService(AzureLeaves()));
  const Metadata metadata = AskMetadata("azure", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "Standard_ND96isr_H100_v5");
  EXPECT_EQ(metadata.identity.region.value, "eastus2");
  EXPECT_EQ(metadata.identity.zone_id.value, "2");
  EXPECT_EQ(metadata.identity.purchase.value, "spot");
  EXPECT_EQ(What(metadata), "");
}

TEST(Metadata, OciGivesTheAvailabilityDomainWithoutTheTenancy) {
  LoopbackServer server(OciService(OciLeaves()));
  const Metadata metadata = AskMetadata("oci", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "BM.GPU.H100.8");
  EXPECT_EQ(metadata.identity.region.value, "us-phoenix-1");
  EXPECT_EQ(metadata.identity.zone_id.value, "PHX-AD-1");
  EXPECT_EQ(metadata.identity.purchase.value, "unknown");
  EXPECT_EQ(What(metadata), "");
}

TEST(Metadata, OnlyTheseLeavesAreEverAskedFor) {
  std::set<std::string> asked;
  const auto ask = [&](const std::string& provider, LoopbackServer::Handler handler) {
    LoopbackServer server(std::move(handler));
    AskMetadata(provider, Quick(server));
    for (const HttpRequest& request : server.Requests()) asked.insert(request.path);
  };
  ask("aws", AwsService(AwsLeaves()));
  ask("gcp", GcpService(GcpLeaves()));
  ask("azure", AzureService(AzureLeaves()));
  ask("oci", OciService(OciLeaves()));
  EXPECT_THAT(
      asked,
      ::testing::UnorderedElementsAre(
          "/latest/api/token", "/latest/meta-data/instance-type",
          "/latest/meta-data/placement/region", "/latest/meta-data/placement/availability-zone-id",
          "/latest/meta-data/instance-life-cycle", "/computeMetadata/v1/instance/machine-type",
          "/computeMetadata/v1/instance/zone",
          "/computeMetadata/v1/instance/scheduling/preemptible",
          "/metadata/instance/compute/vmSize?api-version=2021-02-01&format=text",
          "/metadata/instance/compute/location?api-version=2021-02-01&format=text",
          "/metadata/instance/compute/zone?api-version=2021-02-01&format=text",
          "/metadata/instance/compute/priority?api-version=2021-02-01&format=text",
          "/opc/v2/instance/shape", "/opc/v2/instance/canonicalRegionName",
          "/opc/v2/instance/availabilityDomain"));
}

TEST(Metadata, WaysOfPayingBecomeOurWords) {
  const auto purchase = [](const std::string& provider, const std::string& said) {
    Leaves leaves = provider == "aws"   ? AwsLeaves()
                    : provider == "gcp" ? GcpLeaves()
                                        : AzureLeaves();
    leaves[provider == "aws"   ? "/latest/meta-data/instance-life-cycle"
           : provider == "gcp" ? "/computeMetadata/v1/instance/scheduling/preemptible"
                               : "/metadata/instance/compute/priority"] = said;
    LoopbackServer server(provider == "aws"   ? AwsService(leaves)
                          : provider == "gcp" ? GcpService(leaves)
                                              : AzureService(leaves));
    const Finding found = AskMetadata(provider, Quick(server)).identity.purchase;
    return found.value + " " + found.confidence;
  };
  EXPECT_EQ(purchase("aws", "on-demand"), "on_demand likely");
  EXPECT_EQ(purchase("aws", "spot"), "spot certain");
  EXPECT_EQ(purchase("aws", "scheduled"), "capacity_block certain");
  EXPECT_EQ(purchase("aws", "capacity-block"), "capacity_block certain");
  EXPECT_EQ(purchase("aws", "something-new"), "something-new certain");
  EXPECT_EQ(purchase("aws", "<b>new</b>"), "unknown none");
  EXPECT_EQ(purchase("gcp", "TRUE"), "spot certain");
  EXPECT_EQ(purchase("gcp", "maybe"), "unknown none");
  EXPECT_EQ(purchase("azure", "Low"), "spot certain");
  EXPECT_EQ(purchase("azure", "Regular"), "on_demand likely");
  EXPECT_EQ(purchase("azure", ""), "on_demand likely");
}

TEST(Metadata, ALeafThatIsAbsentStaysUnknownWithoutANote) {
  Leaves leaves = AwsLeaves();
  leaves.erase("/latest/meta-data/placement/availability-zone-id");
  LoopbackServer server(AwsService(leaves));
  const Metadata metadata = AskMetadata("aws", Quick(server));
  EXPECT_EQ(metadata.identity.zone_id.value, "unknown");
  EXPECT_EQ(metadata.identity.purchase.value, "spot");
  EXPECT_EQ(What(metadata), "");
}

TEST(Metadata, WithoutATokenNothingElseIsSent) {
  LoopbackServer server([](const HttpRequest&) { return HttpReply{.status = 403}; });
  const Metadata metadata = AskMetadata("aws", Quick(server));
  EXPECT_EQ(What(metadata), "the metadata service of aws refused a token with status 403");
  EXPECT_EQ(server.Requests().size(), 1U);
}

TEST(Metadata, ATokenThatIsNoLongerGoodIsSaid) {
  LoopbackServer server([](const HttpRequest& request) {
    return request.method == "PUT" ? HttpReply{.status = 200, .body = "stale"}
                                   : HttpReply{.status = 401};
  });
  const Metadata metadata = AskMetadata("aws", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_EQ(What(metadata),
            "the metadata service of aws answered 401 to the question for the instance");
}

TEST(Metadata, ATokenCannotSmuggleAHeader) {
  LoopbackServer server(
      [](const HttpRequest&) { return HttpReply{.status = 200, .body = "token\r\nX-Evil: 1"}; });
  EXPECT_EQ(What(AskMetadata("aws", Quick(server))),
            "the metadata service of aws gave no plausible token");
  EXPECT_EQ(server.Requests().size(), 1U);
}

TEST(Metadata, ATokenThatNeverComesIsTheHopLimitsSymptom) {
  LoopbackServer server([](const HttpRequest&) { return HttpReply{.silent = true}; });
  const Metadata metadata = AskMetadata("aws", Impatient(server));
  ASSERT_TRUE(metadata.note);
  EXPECT_EQ(metadata.note->what, "metadata token timed out, as it does behind a hop limit of 1");
  EXPECT_THAT(metadata.note->remedy, HasSubstr("--network host"));
  EXPECT_EQ(server.Connections(), 1);  // one wait, not five
}

TEST(Metadata, AnAnswerWithoutGooglesHeaderIsAnothers) {
  LoopbackServer server(
      [](const HttpRequest&) { return HttpReply{.status = 200, .body = "a3-highgpu-8g"}; });
  const Metadata metadata = AskMetadata("gcp", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_THAT(What(metadata), HasSubstr("without 'Metadata-Flavor: Google'"));
}

TEST(Metadata, ARedirectIsNotFollowed) {
  LoopbackServer other(OciService(OciLeaves()));
  LoopbackServer server([&](const HttpRequest& request) {
    return HttpReply{.status = 302, .headers = {"Location: " + other.Url() + request.path}};
  });
  const Metadata metadata = AskMetadata("oci", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_THAT(What(metadata), HasSubstr("answered 302"));
  EXPECT_EQ(other.Connections(), 0);
}

TEST(Metadata, AProxyInTheEnvironmentIsBypassed) {
  LoopbackServer proxy([](const HttpRequest&) { return HttpReply{.status = 502}; });
  LoopbackServer server(AwsService(AwsLeaves()));
  const char* const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
  for (const char* name : names) setenv(name, proxy.Url().c_str(), 1);
  const Metadata metadata = AskMetadata("aws", Quick(server));
  for (const char* name : names) unsetenv(name);
  EXPECT_EQ(metadata.identity.instance.value, "p5.48xlarge");
  EXPECT_EQ(proxy.Connections(), 0);
}

TEST(Metadata, WhatAShellOrAFileSystemTakesForMoreThanANameIsNoValue) {
  for (const char* text : {"..", ".", "-rf", "--out=x", "a..b", "_", ".hidden", "-"}) {
    Leaves leaves = AwsLeaves();
    leaves["/latest/meta-data/instance-type"] = text;
    leaves["/latest/meta-data/placement/region"] = text;
    LoopbackServer server(AwsService(leaves));
    const Metadata metadata = AskMetadata("aws", Quick(server));
    EXPECT_EQ(metadata.identity.instance.value, "unknown") << text;
    EXPECT_EQ(metadata.identity.region.value, "unknown") << text;
    EXPECT_EQ(What(metadata), "the metadata service of aws gave no plausible instance") << text;
    EXPECT_FALSE(IsName(text)) << text;
  }
  Leaves leaves = GcpLeaves();
  leaves["/computeMetadata/v1/instance/zone"] = "projects/123/zones/-x";
  LoopbackServer server(GcpService(leaves));
  EXPECT_EQ(AskMetadata("gcp", Quick(server)).identity.region.value, "unknown");
  for (const char* name : {"p5.48xlarge", "Standard_ND96isr_H100_v5", "2", "VM.GPU.A10.1", ""}) {
    EXPECT_TRUE(IsName(name)) << name;
  }
}

TEST(Metadata, MarkupAndControlCharactersAreNoValues) {
  const std::string hostile[] = {"<script>alert(1)</script>", "p5\x1b[31m.48xlarge",
                                 "p5.48xlarge\n\nX",          "p5 48xlarge",
                                 std::string("p5\0.48", 6),   "\xe2\x80\xaep5",
                                 std::string(65, 'a'),        R"({"instance": "p5.48xlarge"})"};
  for (const std::string& text : hostile) {
    Leaves leaves = OciLeaves();
    leaves["/opc/v2/instance/shape"] = text;
    LoopbackServer server(OciService(leaves));
    const Metadata metadata = AskMetadata("oci", Quick(server));
    EXPECT_EQ(metadata.identity.instance.value, "unknown") << text;
    EXPECT_EQ(What(metadata), "the metadata service of oci gave no plausible instance") << text;
    EXPECT_EQ(metadata.identity.region.value, "us-phoenix-1") << text;
  }
}

TEST(Metadata, AReplyOfTenMegabytesIsCutOff) {
  Leaves leaves = OciLeaves();
  leaves["/opc/v2/instance/shape"] = std::string(10 << 20, 'a');
  LoopbackServer server(OciService(leaves));
  EXPECT_EQ(What(AskMetadata("oci", Quick(server))),
            "the metadata service of oci answered with more than 64 KiB");
}

TEST(Metadata, HeadersWithoutEndAreCutOff) {
  LoopbackServer server([](const HttpRequest&) {
    return HttpReply{.status = 200,
                     .body = "BM.GPU.H100.8",
                     .headers = std::vector<std::string>(100, "X: " + std::string(1000, 'x'))};
  });
  EXPECT_EQ(What(AskMetadata("oci", Quick(server))),
            "the metadata service of oci answered with more than 64 KiB");
}

TEST(Metadata, ASlowDripEndsWithTheRequestsTime) {
  // The server would go on for ever, so that this test ends at all is its first assertion.
  LoopbackServer server([](const HttpRequest&) {
    return HttpReply{.status = 200, .body = "a", .drip = milliseconds(10)};
  });
  const Metadata metadata = AskMetadata("oci", Impatient(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_EQ(What(metadata), "the metadata service of oci did not answer in time");
}

TEST(Metadata, AllRequestsTogetherHaveATimeToo) {
  LoopbackServer server([answer = OciService(OciLeaves())](const HttpRequest& request) {
    return request.path == "/opc/v2/instance/shape" ? answer(request) : HttpReply{.silent = true};
  });
  MetadataOptions options = Quick(server);
  options.request = std::chrono::hours(1);
  options.overall = milliseconds(300);
  const Metadata metadata = AskMetadata("oci", options);
  EXPECT_EQ(metadata.identity.instance.value, "BM.GPU.H100.8");  // what came in time is kept
  EXPECT_EQ(metadata.identity.region.value, "unknown");
  EXPECT_EQ(What(metadata), "the metadata service of oci did not answer in time");
}

// Answers each path with `status` so many times, and then as the service does.
LoopbackServer::Handler AtFirst(int status, int times, std::vector<std::string> headers,
                                LoopbackServer::Handler service) {
  return [=, seen = std::make_shared<std::map<std::string, int>>()](const HttpRequest& request) {
    return (*seen)[request.path]++ < times ? HttpReply{.status = status, .headers = headers}
                                           : service(request);
  };
}

TEST(Metadata, AServiceThatIsBusyIsAskedOnceMore) {
  LoopbackServer server(AtFirst(429, 1, {}, AwsService(AwsLeaves())));
  const Metadata metadata = AskMetadata("aws", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "p5.48xlarge");
  EXPECT_EQ(metadata.identity.purchase.value, "spot");
  EXPECT_EQ(What(metadata), "");
  EXPECT_EQ(server.Requests().size(), 10U);
}

TEST(Metadata, AServiceThatStaysBusyIsAskedNoThirdTime) {
  LoopbackServer server(AtFirst(429, 2, {}, OciService(OciLeaves())));
  const Metadata metadata = AskMetadata("oci", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_EQ(What(metadata),
            "the metadata service of oci answered 429 to the question for the instance");
  EXPECT_EQ(server.Requests().size(), 6U);
  LoopbackServer broken(AtFirst(500, 1, {}, OciService(OciLeaves())));
  AskMetadata("oci", Quick(broken));
  EXPECT_EQ(broken.Requests().size(), 3U) << "500 is no promise that it will be better";
}

TEST(Metadata, ABusyServiceSaysWhenToAskAgain) {
  const auto begin = std::chrono::steady_clock::now();
  LoopbackServer server(
      [answer = OciService(OciLeaves()), first = true](const HttpRequest& request) mutable {
        if (!std::exchange(first, false)) return answer(request);
        return HttpReply{.status = 503, .headers = {"Retry-After: 1"}};
      });
  EXPECT_EQ(AskMetadata("oci", Quick(server)).identity.instance.value, "BM.GPU.H100.8");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  for (const char* later : {"6", "3600", "Fri, 31 Dec 2100 23:59:59 GMT"}) {
    LoopbackServer busy(
        AtFirst(429, 1, {std::string("Retry-After: ") + later}, OciService(OciLeaves())));
    EXPECT_THAT(What(AskMetadata("oci", Quick(busy))), HasSubstr("answered 429")) << later;
    EXPECT_EQ(busy.Requests().size(), 3U) << later << " is after the time that there is";
  }
}

TEST(Metadata, ALeafThatAnswersTwoQuestionsIsAskedForOnce) {
  for (const std::string provider : {"aws", "gcp", "azure", "oci"}) {
    LoopbackServer server(provider == "aws"     ? AwsService(AwsLeaves())
                          : provider == "gcp"   ? GcpService(GcpLeaves())
                          : provider == "azure" ? AzureService(AzureLeaves())
                                                : OciService(OciLeaves()));
    AskMetadata(provider, Quick(server));
    std::multiset<std::string> paths;
    for (const HttpRequest& request : server.Requests()) paths.insert(request.path);
    EXPECT_GE(paths.size(), 3U);
    for (const std::string& path : paths) EXPECT_EQ(paths.count(path), 1U) << path;
  }
}

TEST(Metadata, ALeafMayBeGivenAsJson) {
  Leaves leaves = OciLeaves();
  leaves["/opc/v2/instance/shape"] = "\"BM.GPU.H100.8\"";
  leaves["/opc/v2/instance/availabilityDomain"] = "\"qIZq:PHX-AD-1\"\n";
  LoopbackServer server(OciService(leaves));
  const Metadata metadata = AskMetadata("oci", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "BM.GPU.H100.8");
  EXPECT_EQ(metadata.identity.zone_id.value, "PHX-AD-1");
}

TEST(Metadata, GarbageInsteadOfHttpIsSaid) {
  // A status line that isn't one.
  LoopbackServer server([](const HttpRequest&) { return HttpReply{.status = -7, .body = "?"}; });
  const Metadata metadata = AskMetadata("oci", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_THAT(What(metadata), HasSubstr("the metadata service of oci failed: "));
}

TEST(Metadata, AServiceThatIsNotThereIsSaid) {
  const MetadataOptions options = {.url = "http://127.0.0.1:" + std::to_string(ClosedPort())};
  EXPECT_EQ(What(AskMetadata("aws", options)), "the metadata service of aws can't be reached");
}

TEST(Metadata, AProviderWithoutAServiceIsNotAsked) {
  LoopbackServer server(AwsService(AwsLeaves()));
  const Metadata metadata = AskMetadata("lambda", Quick(server));
  EXPECT_EQ(metadata.identity.instance.value, "unknown");
  EXPECT_EQ(What(metadata), "");
  EXPECT_EQ(server.Connections(), 0);
}

TEST(Metadata, OnlyLoopbackMayStandInForACloud) {
  for (const char* url :
       {"http://169.254.169.254", "http://example.com", "https://127.0.0.1", "file:///etc/passwd",
        "http://127.0.0.1@example.com", "http://user@127.0.0.1", "http://127.0.0.1/path",
        "http://127.0.0.1?query", "http://127.0.0.1.example.com", "http://localhost",
        "nonsense url"}) {
    EXPECT_THROW(AskMetadata("aws", {.url = url}), Error) << url;
  }
}

}  // namespace
}  // namespace assay
