// Products of bfloat16 with float32 sums.
//
// Both ways to multiply define
//
//   kMostTiles: how many tiles of outputs are best multiplied together;
//   Unit: a thread has one while it multiplies; unit_is_allowed(): whether the system lets it;
//   multiply_tiles<N>(rows, pitch, w, tile, sums, line), N <= kMostTiles: N times 16 outputs, from those of tile
//     `tile` on, of 16 pixels: sums[16][line]. rows: where the first pixel's lines are, for each
//     stretch; pitch: from one pixel to the next;
//   outer_products(channels, right_channels, walk, left, right, columns, pitch, add): sums over
//     pixels of products of two maps' channels. It calls add(column, block, sums [16][16]) for all
//     `columns`, blocks of 16 channels of the right map, where right[column] begins, and for all
//     such blocks of the left map. pitch: from a pair of pixels to the next.
//
// Columns beyond a product's outputs, or beyond the channels of the right map, hold anything.
#pragma once

#include "operands.h"
#if defined(VSR_TILES)
#include "amx.h"
#else
#include "dot.h"
#endif

namespace vsr::training {

// Sixteen pixels: sums[16][kMostOutputs] of the outputs in the first `tiles` tiles.
inline void multiply(const bf16* const* rows, int pitch, const Packed& w, int tiles, float* sums) {
  for (int t = 0; t < tiles; t += kMostTiles) {
    float* to = sums + 16 * t;
    switch (std::min(tiles - t, kMostTiles)) {
      case 1: multiply_tiles<1>(rows, pitch, w, t, to, kMostOutputs); break;
      case 2: multiply_tiles<2>(rows, pitch, w, t, to, kMostOutputs); break;
      case 3: multiply_tiles<3>(rows, pitch, w, t, to, kMostOutputs); break;
      default: multiply_tiles<kMostTiles>(rows, pitch, w, t, to, kMostOutputs); break;
    }
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
