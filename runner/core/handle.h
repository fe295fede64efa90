// RAII for the pointers that C libraries hand out: Handle<CURL, curl_easy_cleanup> is a unique_ptr
// that calls the library's own function.
#pragma once

#include <memory>

namespace assay {

template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* pointer) const noexcept {
    Destroy(pointer);
  }
};

template <class T, auto Destroy>
using Handle = std::unique_ptr<T, Destroyer<Destroy>>;

}  // namespace assay
