// A Schedule is what one rank does in one collective, as data: messages to start and to wait for,
// arrays to reduce and to copy, in order. An algorithm writes it once, when a case is prepared; to
// follow it afterwards decides nothing and allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace assay {

class Schedule {
 public:
  // Bytes of the input, of the output, or of memory that the schedule reserves for itself.
  struct Place {
    enum class Buffer : std::uint8_t { kInput, kOutput, kScratch };
    Buffer buffer = Buffer::kInput;
    std::size_t at = 0;

    Place operator+(std::size_t bytes) const { return {.buffer = buffer, .at = at + bytes}; }
  };
  static Place Input(std::size_t at) { return {.buffer = Place::Buffer::kInput, .at = at}; }
  static Place Output(std::size_t at) { return {.buffer = Place::Buffer::kOutput, .at = at}; }

  // A message that has been started; kNone for one of no bytes, which nobody needs to send.
  using Message = std::int32_t;
  static constexpr Message kNone = -1;

  Message Send(int to, Place place, std::size_t bytes) {
    sent_bytes_ += bytes;
    return Start({.kind = Kind::kSend, .peer = to, .a = place, .bytes = bytes});
  }
  Message Receive(int from, Place place, std::size_t bytes) {
    return Start({.kind = Kind::kReceive, .peer = from, .a = place, .bytes = bytes});
  }
  // Nothing where that has been waited for already.
  void Wait(Message message) {
    if (message == kNone || waited_[static_cast<std::size_t>(message)]) return;
    waited_[static_cast<std::size_t>(message)] = true;
    steps_.push_back({.kind = Kind::kWait, .message = message});
  }
  void WaitForAll() {
    for (std::size_t i = 0; i < waited_.size(); ++i) Wait(static_cast<Message>(i));
  }
  // `to` becomes a reduced with b, and may be one of them; `last`: see ReduceOptions.
  void Reduce(Place a, Place b, Place to, std::size_t bytes, bool last) {
    if (bytes == 0) return;
    const Kind kind = last ? Kind::kReduceLast : Kind::kReduce;
    steps_.push_back({.kind = kind, .a = a, .b = b, .to = to, .bytes = bytes});
  }
  void Copy(Place from, Place to, std::size_t bytes) {
    if (bytes > 0) steps_.push_back({.kind = Kind::kCopy, .a = from, .to = to, .bytes = bytes});
  }
  Place Scratch(std::size_t bytes) {
    constexpr std::size_t kLine = 64;
    const Place place = {.buffer = Place::Buffer::kScratch, .at = scratch_bytes_};
    scratch_bytes_ += (bytes + kLine - 1) / kLine * kLine;
    return place;
  }

  enum class Kind : std::uint8_t { kSend, kReceive, kWait, kReduce, kReduceLast, kCopy };
  struct Step {
    Kind kind = Kind::kWait;
    int peer = 0;
    Message message = kNone;
    Place a = {};
    Place b = {};
    Place to = {};
    std::size_t bytes = 0;
  };
  const std::vector<Step>& Steps() const { return steps_; }
  std::size_t Messages() const { return waited_.size(); }
  std::size_t ScratchBytes() const { return scratch_bytes_; }
  // What this rank gives to the network.
  std::size_t SentBytes() const { return sent_bytes_; }

 private:
  Message Start(Step step) {
    if (step.bytes == 0) return kNone;
    step.message = static_cast<Message>(waited_.size());
    waited_.push_back(false);
    steps_.push_back(step);
    return step.message;
  }

  std::vector<Step> steps_ = {};
  std::vector<bool> waited_ = {};  // [message]
  std::size_t scratch_bytes_ = 0;
  std::size_t sent_bytes_ = 0;
};

}  // namespace assay
