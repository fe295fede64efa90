// Ownership of one file descriptor.
#pragma once

#include <unistd.h>

#include <utility>

namespace assay {

// An open file descriptor, which is closed with this object, or none. Assigning to it exchanges the
// two, so that the one it had is closed with the other object.
class Descriptor {
 public:
  Descriptor() = default;
  // Takes a descriptor over; -1 (what open returns where it fails) is none.
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  bool IsOpen() const { return number_ >= 0; }
  int Number() const { return number_; }  // -1: none
  void Close() {
    if (number_ >= 0) close(number_);
    number_ = -1;
  }

 private:
  int number_ = -1;
};

}  // namespace assay
