#include "collectives/fabric.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <utility>

namespace assay {
namespace {

constexpr std::int64_t kMostInFlight = 64;
constexpr std::int64_t kMostBytesInFlight = std::int64_t{16} << 20;
constexpr int kDataTag = 1;
constexpr int kWordTag = 2;

// The parts of an algorithm's name, which is "PATTERN:MESSAGE_BYTES".
struct Named {
  std::string pattern = {};
  std::size_t message_bytes = 0;
};

// Reads the name of an algorithm; nothing where it isn't a pattern's.
std::optional<Named> NamedBy(const std::string& algorithm) {
  for (const std::string& pattern : FabricPatterns()) {
    if (!algorithm.starts_with(pattern + ":")) continue;
    Named named = {.pattern = pattern};
    const char* const end = algorithm.data() + algorithm.size();
    const auto [stop, error] =
        std::from_chars(algorithm.data() + pattern.size() + 1, end, named.message_bytes);
    if (error == std::errc() && stop == end && named.message_bytes > 0) return named;
  }
  return std::nullopt;
}

// One rank's end of a pattern, which is the same for every transport.
class FabricExchange : public Exchange {
 public:
  FabricExchange(Named named, std::int64_t bytes, std::shared_ptr<Transport> transport)
      : named_(std::move(named)),
        in_flight_(static_cast<std::size_t>(bytes) / named_.message_bytes),
        transport_(std::move(transport)),
        is_first_(transport_->Rank() == 0),
        other_(is_first_ ? 1 : 0) {}

  void Align() override {
    ReceiveWord();
    SendWord();
    Finish();
  }

  void Run(const std::byte* input, std::byte* output) override {
    if (named_.pattern == "pingpong") {
      Receive(output);
      if (!is_first_) Finish();
      Send(input);
    } else if (named_.pattern == "bidirectional") {
      Receive(output);
      Send(input);
    } else if (is_first_) {
      ReceiveWord();
      Send(input);
    } else {
      Receive(output);
      Finish();
      SendWord();
    }
    Finish();
  }

  Facts Describe() const override {
    Facts facts = transport_->Describe();
    facts["in_flight"] = static_cast<std::int64_t>(in_flight_);
    return facts;
  }

 private:
  // Send and Receive start a message; Finish waits for all that were started.
  void Send(const std::byte* data) {
    for (std::size_t i = 0; i < in_flight_; ++i) {
      started_.push_back(transport_->Send(other_, data + i * named_.message_bytes,
                                          named_.message_bytes, kDataTag));
    }
  }
  void Receive(std::byte* data) {
    for (std::size_t i = 0; i < in_flight_; ++i) {
      started_.push_back(transport_->Receive(other_, data + i * named_.message_bytes,
                                             named_.message_bytes, kDataTag));
    }
  }
  void SendWord() { started_.push_back(transport_->Send(other_, &sent_, 1, kWordTag)); }
  void ReceiveWord() { started_.push_back(transport_->Receive(other_, &received_, 1, kWordTag)); }
  void Finish() {
    for (const Transport::Ticket ticket : started_) transport_->Wait(ticket);
    started_.clear();
  }

  Named named_;
  std::size_t in_flight_;
  std::shared_ptr<Transport> transport_;
  bool is_first_;
  int other_;
  char sent_ = 1;
  char received_ = 0;
  std::vector<Transport::Ticket> started_ = {};
};

}  // namespace

const std::vector<std::string>& FabricPatterns() {
  static const std::vector<std::string> all = {"pingpong", "stream", "bidirectional"};
  return all;
}

std::int64_t FabricWindow(std::int64_t message_bytes) {
  return std::clamp<std::int64_t>(kMostBytesInFlight / message_bytes, 1, kMostInFlight);
}

Collective FabricCollective(const std::string& pattern, std::int64_t message_bytes) {
  // Iterations run back to back on buffers in turn: one begins where the one before has ended, and
  // not after a barrier that the ranks leave at different times.
  Collective collective = {.operation = Operation::kSendRecv,
                           .dtype = "u8",
                           .bytes = message_bytes,
                           .mode = "throughput",
                           .cache = "rotated",
                           .algorithm = fmt::format("{}:{}", pattern, message_bytes)};
  if (pattern == "pingpong") return collective;
  collective.bytes *= FabricWindow(message_bytes);
  if (pattern == "stream") {
    // The broadcast is in place, so that rank 0 has nothing to copy to itself.
    collective.operation = Operation::kBroadcast;
    collective.in_place = true;
  }
  return collective;
}

Work FabricWork(const std::string& pattern, std::int64_t message_bytes) {
  const std::string formula = "fabric/" + pattern;
  if (pattern == "pingpong") return {.ops = 2, .formula = formula};
  const std::int64_t one_way = message_bytes * FabricWindow(message_bytes);
  return {.bytes = pattern == "stream" ? one_way : 2 * one_way, .formula = formula};
}

bool IsFabric(const Collective& collective) { return NamedBy(collective.algorithm).has_value(); }

std::unique_ptr<Exchange> MakeFabricExchange(const Collective& collective,
                                             std::shared_ptr<Transport> transport) {
  return std::make_unique<FabricExchange>(NamedBy(collective.algorithm).value(), collective.bytes,
                                          std::move(transport));
}

}  // namespace assay
