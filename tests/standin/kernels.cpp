// Our kernels' part of the stand-in: each runs its body once for each index.
#include <algorithm>
#include <atomic>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "kernels/cuda_bodies.h"
#include "standin/state.h"

namespace standin {
namespace {

using namespace assay::cuda;

template <class... T>
std::tuple<T...> Unpack(void** arguments) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple<T...>(*static_cast<T*>(arguments[I])...);
  }
  (std::index_sequence_for<T...>());
}

// Calls the body once for each index of each pass; it takes as long as its bytes.
template <class Body>
Command ForEachPass(unsigned passes, std::size_t count, double bytes, const Body& body,
                    const char* name) {
  const std::size_t left_out =
      faults.spoil_kernel == name && *name != 0 ? std::min<std::size_t>(6, count - 1) : count;
  const bool one_pass = faults.one_pass;
  return [=](StreamState& own) {
    for (unsigned pass = 0; pass < (one_pass ? 1 : passes); ++pass) {
      for (std::size_t i = 0; i < count; ++i) {
        if (i != left_out) body(i, pass);
      }
    }
    own.Takes(kLaunch_s + passes * bytes / kBytesPerSecond);
    return true;
  };
}

template <class Body>
Command ForEach(std::size_t count, double bytes, const Body& body, const char* name = "") {
  return ForEachPass(
      1, count, bytes, [=](std::size_t i, unsigned) { body(i); }, name);
}

Command Gate(void** arguments) {
  const auto [open, expired, timeout_ns] =
      Unpack<const volatile int*, volatile int*, std::uint64_t>(arguments);
  return [=](StreamState& own) {
    if (*open != 0) return true;
    if (!own.synchronizing) return false;
    *expired = 1;  // who waits for this stream will not open the gate meanwhile
    own.time_s += static_cast<double>(timeout_ns) * 1e-9;
    return true;
  };
}

Command CountOne(void** arguments) {
  const auto [count] = Unpack<std::uint64_t*>(arguments);
  RequireDevice(count, sizeof(std::uint64_t), "what is counted");
  return ForEach(
      1, 0, [=](std::size_t) { CountAt(count); }, "count");
}

template <class T>
Command Fill(void** arguments) {
  const auto [out, count, table, seed] =
      Unpack<T*, std::size_t, const T*, std::uint64_t>(arguments);
  RequireDevice(out, count * sizeof(T), "what is filled");
  RequireDevice(table, 65536 * sizeof(T), "a table of values");
  return ForEach((count + 3) / 4, static_cast<double>(count * sizeof(T)),
                 [=](std::size_t i) { FillAt(out, count, table, seed, i); });
}

template <class T, auto kBody>
Command FillPairs(void** arguments) {
  const auto [out, count, seed] = Unpack<T*, std::size_t, std::uint64_t>(arguments);
  RequireDevice(out, count * sizeof(T), "what is filled");
  return ForEach(count, static_cast<double>(count * sizeof(T)),
                 [=](std::size_t i) { kBody(out, seed, i); });
}

// Each block adds what its threads read.
Command Read(void** arguments, unsigned blocks, unsigned threads) {
  const auto [from, count, passes, sums] =
      Unpack<const Words*, std::size_t, unsigned, std::uint64_t*>(arguments);
  RequireDevice(from, count * sizeof(Words), "what is read");
  RequireDevice(sums, blocks * sizeof(std::uint64_t), "where sums are added");
  return ForEachPass(
      passes, count, static_cast<double>(count * sizeof(Words)),
      [=](std::size_t i, unsigned) { sums[i / threads % blocks] += SumOf(from[i]); }, "read");
}

Command Write(void** arguments) {
  const auto [to, count, passes, value] =
      Unpack<Words*, std::size_t, unsigned, std::uint64_t>(arguments);
  RequireDevice(to, count * sizeof(Words), "what is written");
  return ForEachPass(
      passes, count, static_cast<double>(count * sizeof(Words)),
      [=](std::size_t i, unsigned pass) { WriteAt(to, ValueIn(value, pass), i); }, "write");
}

Command Copy(void** arguments) {
  const auto [to, from, count, passes] =
      Unpack<Words*, const Words*, std::size_t, unsigned>(arguments);
  RequireDevice(to, count * sizeof(Words), "what is written");
  RequireDevice(from, count * sizeof(Words), "what is read");
  return ForEachPass(
      passes, count, static_cast<double>(2 * count * sizeof(Words)),
      [=](std::size_t i, unsigned) { CopyAt(to, from[i], i); }, "copy");
}

Command Triad(void** arguments) {
  const auto [to, b, c, count, passes, scale] =
      Unpack<Numbers*, const Numbers*, const Numbers*, std::size_t, unsigned, double>(arguments);
  for (const Numbers* array : {static_cast<const Numbers*>(to), b, c}) {
    RequireDevice(array, count * sizeof(Numbers), "an array of a triad");
  }
  return ForEachPass(
      passes, count, static_cast<double>(3 * count * sizeof(Numbers)),
      [=](std::size_t i, unsigned pass) { TriadAt(to, b[i], c[i], ScaleIn(scale, pass), i); },
      "triad");
}

}  // namespace

Command KernelCommand(const std::string& name, void** arguments, unsigned blocks,
                      unsigned threads) {
  const auto is = [&](std::string_view kernel) { return name.find(kernel) != std::string::npos; };
  if (is("::GateKernel(")) return Gate(arguments);
  if (is("::CountKernel(")) return CountOne(arguments);
  if (is("::FillKernel<unsigned char>(")) return Fill<std::uint8_t>(arguments);
  if (is("::FillKernel<unsigned short>(")) return Fill<std::uint16_t>(arguments);
  if (is("::FillKernel<unsigned int>(")) return Fill<std::uint32_t>(arguments);
  if (is("::FillKernel<unsigned long>(")) return Fill<std::uint64_t>(arguments);
  if (is("::FillWordsKernel(")) return FillPairs<Words, FillWordsAt>(arguments);
  if (is("::FillNumbersKernel(")) return FillPairs<Numbers, FillNumbersAt>(arguments);
  if (is("::ReadKernel(")) return Read(arguments, blocks, threads);
  if (is("::WriteKernel(")) return Write(arguments);
  if (is("::CopyKernel(")) return Copy(arguments);
  if (is("::TriadKernel(")) return Triad(arguments);
  return nullptr;
}

}  // namespace standin
