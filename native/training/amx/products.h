// Products on the tile unit: 16 pixels by 16 channels over 32 inputs at a time, from bfloat16 with
// float32 sums.
#pragma once

#include "../../tile_unit.h"
#include "../joins.h"
#include "../memory.h"

namespace vsr::training {

constexpr int kWidthMultiple = 16;  // a line of a map is whole tiles
constexpr int kRows = 16;           // pixels that a product's result is handed over for

inline bool unit_is_allowed() { return tile_unit_is_allowed(); }

// A thread's tile unit: tiles are 16 rows of 64 bytes.
class Unit {
  TileUnit unit_{TileShapes(16, 64)};
};

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

// Whatever tiles are loaded from has been stored before: GCC does not know that they read memory.
inline void before_loading_tiles() { asm volatile("" : : : "memory"); }

// rows: where the first pixel's lines are, for each stretch; pitch: from one pixel to the next.
template <int N>
inline void multiply_tiles(const bf16* const* rows, int pitch, const Packed& w, int tile,
                           float* sums, int line) {
  before_loading_tiles();
  _tile_zero(0);
  if constexpr (N > 1) _tile_zero(1);
  if constexpr (N > 2) _tile_zero(2);
  if constexpr (N > 3) _tile_zero(3);
  const int steps = w.steps(), tiles = w.tiles(), advance = w.advance();
  for (int s = 0; s < w.stretches; ++s)
    for (int k = 0; k < steps; ++k) {
      const bf16* b = w.data + (static_cast<long>(s * steps + k) * tiles + tile) * 512;
      _tile_loadd(4, rows[s] + advance * k, 2 * pitch);
      _tile_loadd(5, b, 64);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (N > 1) {
        _tile_loadd(6, b + 512, 64);
        _tile_dpbf16ps(1, 4, 6);
      }
      if constexpr (N > 2) {
        _tile_loadd(7, b + 1024, 64);
        _tile_dpbf16ps(2, 4, 7);
      }
      if constexpr (N > 3) {
        _tile_loadd(5, b + 1536, 64);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
  _tile_stored(0, sums, 4 * line);
  if constexpr (N > 1) _tile_stored(1, sums + 16, 4 * line);
  if constexpr (N > 2) _tile_stored(2, sums + 32, 4 * line);
  if constexpr (N > 3) _tile_stored(3, sums + 48, 4 * line);
}

// Sixteen pixels: sums[16][kMostOutputs] of the outputs in the first `tiles` tiles.
inline void multiply(const bf16* const* rows, int pitch, const Packed& w, int tiles, float* sums) {
  constexpr int kLine = kMostOutputs;
  int t = 0;
  for (; t + 4 <= tiles; t += 4) multiply_tiles<4>(rows, pitch, w, t, sums + 16 * t, kLine);
  switch (tiles - t) {
    case 1: multiply_tiles<1>(rows, pitch, w, t, sums + 16 * t, kLine); break;
    case 2: multiply_tiles<2>(rows, pitch, w, t, sums + 16 * t, kLine); break;
    case 3: multiply_tiles<3>(rows, pitch, w, t, sums + 16 * t, kLine); break;
    default: break;
  }
}
inline void multiply(const bf16* lines, const Packed& w, float* sums) {
  multiply(&lines, slots(w.channels), w, w.tiles(), sums);
}

// A line of slots from `count` elements, at most 32; zeros after them.
inline void put_line(const bf16* from, int count, bf16* to) {
  const __mmask32 some = count >= 32 ? ~0u : (1u << count) - 1;
  _mm512_store_si512(to, _mm512_maskz_loadu_epi16(some, from));
}

// Sixteen pixels' lines.
inline void put_lines(const bf16* x, int channels, bf16* to) {
  for (int r = 0; r < kRows; ++r, x += channels)
    for (int c = 0; c < channels; c += kSlots, to += kSlots) put_line(x + c, channels - c, to);
}

// Of a padded map, elements.
inline long padded_cells(Size size, int channels) { return size.padded() * slots(channels); }

// The map's lines with a border of one zero pixel; `to` has had zeros there since it was made.
inline void pad(Size size, const bf16* x, int channels, bf16* to) {
  const int each = slots(channels);
  for (int y = 0; y < size.height; ++y) {
    const bf16* from = x + static_cast<long>(y) * size.width * channels;
    bf16* line = to + (y + 1L) * size.line() * each;
    if (in_pairs(channels)) {
      // The pixel before the first has the first beside it.
      std::memcpy(line + channels, from, sizeof(bf16) * channels);
      for (int i = 1; i < size.width; ++i, from += channels)
        put_line(from, 2 * channels, line + 1L * i * each);
      put_line(from, channels, line + 1L * size.width * each);
    } else {
      for (int i = 1; i <= size.width; ++i, from += channels)
        for (int c = 0; c < channels; c += kSlots)
          put_line(from + c, channels - c, line + 1L * i * each + c);
    }
  }
}

// 3x3 over a padded map; the weights' stretches are the kernel's lines, three pixels each.
// done(pixel, count, sums): `count` pixels from `pixel` on, `kMostOutputs` floats each.
template <class Done>
inline void convolve(Size size, const bf16* padded, const Packed& w, Done done) {
  alignas(64) float sums[kRows * kMostOutputs];
  const int pitch = slots(w.channels);
  const long line = static_cast<long>(size.line()) * pitch;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; x += kRows) {
      const bf16* rows[3];
      for (int dy = 0; dy < 3; ++dy) rows[dy] = padded + (y + dy) * line + x * pitch;
      multiply(rows, pitch, w, w.tiles(), sums);
      done(y * size.width + x, kRows, sums);
    }
}

}  // namespace vsr::training
