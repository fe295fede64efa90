// A Schedule is what one rank does in one collective, as data: messages to start and to wait for,
// arrays to reduce and to copy, in order. An algorithm writes it once, when a case is prepared.
// Following it afterwards takes no decisions and allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace assay {

// The steps of one rank. Send, Receive, Wait, Reduce and Copy each add one.
class Schedule {
 public:
  // A place in the input, in the output, or in scratch memory that the schedule reserves for
  // itself; `at` is in bytes.
  struct Place {
    enum class Buffer : std::uint8_t { kInput, kOutput, kScratch };
    Buffer buffer = Buffer::kInput;
    std::size_t at = 0;

    Place operator+(std::size_t bytes) const { return {.buffer = buffer, .at = at + bytes}; }
  };
  static Place Input(std::size_t at) { return {.buffer = Place::Buffer::kInput, .at = at}; }
  static Place Output(std::size_t at) { return {.buffer = Place::Buffer::kOutput, .at = at}; }

  // The number of a message that has been started; kNone for a message of no bytes, which is never
  // sent.
  using Message = std::int32_t;
  static constexpr Message kNone = -1;

  // Send and Receive each add a step that starts a message. Its place must stay untouched until the
  // step that waits for it.
  Message Send(int to, Place place, std::size_t bytes) {
    sent_bytes_ += bytes;
    return Start({.kind = Kind::kSend, .peer = to, .a = place, .bytes = bytes});
  }
  Message Receive(int from, Place place, std::size_t bytes) {
    return Start({.kind = Kind::kReceive, .peer = from, .a = place, .bytes = bytes});
  }
  // Adds a step that waits for a message, unless an earlier step does so already.
  void Wait(Message message) {
    if (message == kNone || waited_[static_cast<std::size_t>(message)]) return;
    waited_[static_cast<std::size_t>(message)] = true;
    steps_.push_back({.kind = Kind::kWait, .message = message});
  }
  // Adds the steps that wait for all messages that no step waits for yet.
  void WaitForAll() {
    for (std::size_t i = 0; i < waited_.size(); ++i) Wait(static_cast<Message>(i));
  }
  // Adds a step that writes the reduction of a and b to `to`, which may be one of them. `last`: see
  // ReduceOptions.
  void Reduce(Place a, Place b, Place to, std::size_t bytes, bool last) {
    if (bytes == 0) return;
    const Kind kind = last ? Kind::kReduceLast : Kind::kReduce;
    steps_.push_back({.kind = kind, .a = a, .b = b, .to = to, .bytes = bytes});
  }
  // Adds a step that copies; the two places must not overlap.
  void Copy(Place from, Place to, std::size_t bytes) {
    if (bytes > 0) steps_.push_back({.kind = Kind::kCopy, .a = from, .to = to, .bytes = bytes});
  }
  // Reserves scratch memory, aligned to a cache line.
  Place Scratch(std::size_t bytes) {
    constexpr std::size_t kLine = 64;
    const Place place = {.buffer = Place::Buffer::kScratch, .at = scratch_bytes_};
    scratch_bytes_ += (bytes + kLine - 1) / kLine * kLine;
    return place;
  }

  // The kinds of steps, and a step with the fields that its kind uses.
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
  // The bytes of all messages that this rank sends.
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
