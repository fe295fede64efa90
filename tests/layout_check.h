// What a collective must do, held against any Exchange: inputs by Pattern, places by Layout, and
// nothing written that isn't output.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collectives/collective.h"
#include "collectives/pattern.h"
#include "collectives/timed_collective.h"
#include "tests/collective_text.h"

namespace assay {

inline std::string NameOf(const Collective& collective, int ranks) {
  return std::to_string(ranks) + " ranks, " + ToText(collective);
}

// Runs the collective `times` times on one rank, all of them whatever comes out, since the other
// ranks do too; and says what came out wrong at first, "" if nothing.
inline std::string WhatIsWrong(const Collective& collective, int rank, int ranks,
                               Exchange& exchange, int times) {
  const Layout layout(collective, ranks);
  const auto element = static_cast<std::size_t>(ElementBytes(collective.dtype));
  const auto bytes = [&](std::int64_t elements) {
    return static_cast<std::size_t>(elements) * element;
  };
  std::size_t input_room = 0;
  std::size_t output_room = 0;
  for (int each = 0; each < ranks; ++each) {
    input_room = std::max(input_room, (bytes(layout.Input(each)) + 63) / 64 * 64);
    output_room = std::max(output_room, (bytes(layout.Output(each)) + 63) / 64 * 64);
  }
  const bool in_place = collective.in_place;
  const std::size_t room = in_place ? std::max(input_room, output_room) : input_room + output_room;
  const std::size_t input_at = in_place ? bytes(layout.InputPlace(rank)) : 0;
  const std::size_t output_at = in_place ? bytes(layout.OutputPlace(rank)) : input_room;
  const std::span<std::byte> window = exchange.Window(room + 64);
  std::vector<std::byte> own(window.empty() ? room + 64 : 0);
  std::byte* const memory = window.empty() ? own.data() : window.data();
  std::string wrong;
  for (int time = 1; time <= times; ++time) {
    const Pattern pattern(collective, ranks, /*seed=*/3, static_cast<std::uint64_t>(time));
    std::vector<std::byte> expected(room + 64, std::byte{0xa5});
    pattern.Fill(rank, 0, std::span(expected).subspan(input_at, bytes(layout.Input(rank))));
    std::memcpy(memory, expected.data(), room + 64);
    for (const Layout::Piece& piece : layout.Pieces(rank)) {
      const auto to = std::span(expected).subspan(output_at + bytes(piece.to), bytes(piece.count));
      if (piece.rank == Layout::kEveryRank) {
        pattern.FillReduced(piece.from, to);
      } else {
        pattern.Fill(piece.rank, piece.from, to);
      }
    }
    exchange.Align();
    exchange.Run(memory + input_at, memory + output_at);
    // Outside the output, memory must be as it was: to the byte, with no tolerance.
    for (std::size_t i = 0; i < room + 64; ++i) {
      const bool is_output = i >= output_at && i < output_at + bytes(layout.Output(rank));
      if (!is_output && memory[i] != expected[i]) {
        wrong = "rank " + std::to_string(rank) + " wrote to byte " + std::to_string(i) +
                " outside its output";
      }
    }
    const Mismatch mismatch =
        Compare(collective.dtype, {memory + output_at, bytes(layout.Output(rank))},
                std::span(expected).subspan(output_at, bytes(layout.Output(rank))),
                ToleranceOf(collective, ranks));
    if (mismatch.wrong > 0 && wrong.empty()) {
      wrong = "rank " + std::to_string(rank) + ", time " + std::to_string(time) + ", element " +
              std::to_string(mismatch.first) + ": " + mismatch.what;
    }
  }
  return wrong;
}

}  // namespace assay
