// What products read: packed weights, and maps that are multiplied with each other.
#pragma once

#include <algorithm>
#include <type_traits>

#include "../joins.h"
#include "../memory.h"

namespace vsr::training {

constexpr int kWidthMultiple = 16;  // a line of a map is whole tiles
constexpr int kRows = 16;           // pixels that a product's result is handed over for

// A row of a tile is a cache line; one that begins anywhere else takes six times as long to load. So
// products read lines of 32 slots: a pixel has one or two of them to itself, its channels first.
constexpr int kSlots = 32;
inline int slots(int channels) { return round_up(channels, kSlots); }

// Of a 3x3 convolution, the channels that leave a line room for the next pixel's: its line has both.
inline bool in_pairs(int channels) { return 2 * channels <= kSlots; }

// Weights of a product over `stretches` of some pixels in a row each, as pairs of rows.
struct Packed {
  const bf16* data = nullptr;
  int stretches, pixels, channels, outputs;
  Packed(int stretches, int pixels, int channels, int outputs, const Way*)
      : stretches(stretches), pixels(pixels), channels(channels), outputs(outputs) {}
  bool paired() const { return pixels > 1 && in_pairs(channels); }
  int steps() const {  // per stretch
    return paired() ? (pixels + 1) / 2 : pixels * slots(channels) / kSlots;
  }
  int advance() const { return paired() ? 2 * kSlots : kSlots; }  // from one step to the next
  // Of a step's pairs of slots, how many hold anything: the first ones.
  int pairs(int step) const {
    if (paired()) return (2 * step + 1 < pixels ? 2 * channels : channels + 1) / 2;
    const int before = step * kSlots % slots(channels);
    return (std::min(kSlots, channels - before) + 1) / 2;
  }
  int tiles() const { return (outputs + 15) / 16; }
  long size() const { return static_cast<long>(stretches) * steps() * tiles() * 512; }
  // Which of a stretch's inputs is in a slot of a step; -1: none.
  int input(int step, int slot) const {
    const int each = paired() ? channels : slots(channels);
    const int place = paired() ? 2 * step * channels + slot : step * kSlots + slot;
    const bool used = (!paired() || slot < 2 * channels) && place % each < channels;
    return used && place / each < pixels ? place / each * channels + place % each : -1;
  }
};

// value(stretch, input, output) is float32.
template <class Value>
inline void pack(const Packed& p, bf16* to, Value value) {
  for (int s = 0; s < p.stretches; ++s)
    for (int k = 0; k < p.steps(); ++k)
      for (int t = 0; t < p.tiles(); ++t)
        for (int pair = 0; pair < 16; ++pair) {
          float row[32];
          for (int lane = 0; lane < 32; ++lane) {
            const int in = p.input(k, 2 * pair + (lane & 1)), out = 16 * t + (lane >> 1);
            row[lane] = in >= 0 && out < p.outputs ? value(s, in, out) : 0.0f;
          }
          store(to, _mm512_loadu_ps(row));
          store(to + 16, _mm512_loadu_ps(row + 16));
          to += 32;
        }
}

constexpr int kMostOutputs = 160;

inline int blocks_of(int channels) { return (channels + 15) / 16; }

constexpr int kMostLeft = 3;  // blocks of a map on the left

// Maps that are multiplied: steps of the left one, pairs of the right one.
struct Walk {
  int lines, steps;             // steps of a line
  long left_step;               // elements from one to the next
  long right_step, right_line;  // likewise, from a step or line to the next
};

// body(std::integral_constant<int, 0>) to body(.. N - 1).
template <int N, class Body>
inline __attribute__((always_inline)) void each_constant(Body&& body) {
  if constexpr (N > 1) each_constant<N - 1>(body);
  body(std::integral_constant<int, N - 1>{});
}

}  // namespace vsr::training
