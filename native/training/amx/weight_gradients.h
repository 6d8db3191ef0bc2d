// Gradients of weights: sums over pixels of input times gradient of output, on the tile unit.
#pragma once

#include "products.h"

namespace vsr::training {

inline void transpose16(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
      t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
    r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
  }
}

// Two pixels' channels side by side: lane c is first[c] below second[c].
inline __m512i pair_of(const bf16* one, const bf16* other, __mmask16 mask) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, one));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, other));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// Length of a channel's line in a transposed map: padded, and what tiles read beyond it.
inline long transposed_length(Size size) {
  return round_up(static_cast<int>(size.padded()) + 2 * size.line() + 64, 32);
}

// Pixels of a padded gradient.
inline int flat(Size size) { return round_up(size.height * size.line(), 32); }

// A map with channels first and a border of zeros, which `to` has had since it was made.
inline void transpose(Size size, const bf16* x, int channels, bf16* to) {
  const long length = transposed_length(size);
  for (int c = 0; c < channels; c += 16) {
    const __mmask16 mask = first(channels - c);
    const int count = channels - c < 16 ? channels - c : 16;
    for (int y = 0; y < size.height; ++y)
      for (int at = 0; at < size.width; at += 32) {
        const int left = (size.width - at) / 2;  // pairs
        const bf16* from = x + (static_cast<long>(y) * size.width + at) * channels + c;
        __m512i r[16];
        for (int i = 0; i < 16; ++i)
          r[i] = i < left ? pair_of(from + 2L * i * channels, from + (2L * i + 1) * channels, mask)
                          : _mm512_setzero_si512();
        transpose16(r);
        bf16* line = to + c * length + (y + 1L) * size.line() + 1 + at;
        for (int i = 0; i < count; ++i)
          _mm512_mask_storeu_epi32(line + i * length, first(left), r[i]);
      }
  }
}

// A gradient as pairs of pixels, padded on the right; `to` has had zeros there since it was made.
inline void pair_up(Size size, const bf16* g, int channels, bf16* to) {
  const int tiles = (channels + 15) / 16;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; x += 2) {
      const bf16* from = g + (static_cast<long>(y) * size.width + x) * channels;
      bf16* pair = to + (static_cast<long>(y) * size.line() + x) / 2 * tiles * 32;
      for (int t = 0; t < tiles; ++t)
        _mm512_storeu_si512(pair + 32 * t, pair_of(from + 16 * t, from + channels + 16 * t,
                                                   first(channels - 16 * t)));
    }
}

template <int M, int N>
inline void outer_tiles(const bf16* const* a, long pitch, const bf16* b, long line, int steps,
                        float* sums) {
  static_assert(M * N <= 6 && N <= 2);
  before_loading_tiles();
  // Accumulators 0 .. 5, then the two operands.
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3); _tile_zero(4); _tile_zero(5);
  for (int k = 0; k < steps; ++k) {
    const bf16* right = b + 16L * k * line;
    _tile_loadd(6, a[0] + 32 * k, 2 * pitch);
    _tile_loadd(7, right, 2 * line);
    _tile_dpbf16ps(0, 6, 7);
    if constexpr (M > 1) { _tile_loadd(6, a[1] + 32 * k, 2 * pitch); _tile_dpbf16ps(1, 6, 7); }
    if constexpr (M > 2) { _tile_loadd(6, a[2] + 32 * k, 2 * pitch); _tile_dpbf16ps(2, 6, 7); }
    if constexpr (N > 1) {
      _tile_loadd(7, right + 32, 2 * line);
      if constexpr (M > 2) { _tile_dpbf16ps(5, 6, 7); _tile_loadd(6, a[0] + 32 * k, 2 * pitch); }
      if constexpr (M == 1) _tile_dpbf16ps(3, 6, 7);
      if constexpr (M == 2) {
        _tile_dpbf16ps(4, 6, 7);
        _tile_loadd(6, a[0] + 32 * k, 2 * pitch);
        _tile_dpbf16ps(3, 6, 7);
      }
      if constexpr (M > 2) {
        _tile_dpbf16ps(3, 6, 7);
        _tile_loadd(6, a[1] + 32 * k, 2 * pitch);
        _tile_dpbf16ps(4, 6, 7);
      }
    }
  }
  _tile_stored(0, sums, 64);
  if constexpr (M > 1) _tile_stored(1, sums + 256, 64);
  if constexpr (M > 2) _tile_stored(2, sums + 512, 64);
  if constexpr (N > 1) {
    _tile_stored(3, sums + 768, 64);
    if constexpr (M > 1) _tile_stored(4, sums + 1024, 64);
    if constexpr (M > 2) _tile_stored(5, sums + 1280, 64);
  }
}

// add(tap, input, row of 16 sums over outputs from 16 * tile on, tile).
//
// `transposed` and `pairs` as above. 1 tap: a pointwise product; 9: a 3x3 convolution.
template <class Add>
inline void weight_gradient(Size size, const bf16* transposed, int inputs, const bf16* pairs,
                            int outputs, int taps, Add add) {
  const long length = transposed_length(size);
  const int blocks = (inputs + 15) / 16, tiles = (outputs + 15) / 16, steps = flat(size) / 32;
  const int rows = blocks * taps;  // of tiles, tap by tap
  alignas(64) float sums[6 * 256];
  for (int r = 0; r < rows; r += 3)
    for (int t = 0; t < tiles; t += 2) {
      const int m = rows - r < 3 ? rows - r : 3, n = tiles - t < 2 ? 1 : 2;
      const bf16* a[3];
      for (int i = 0; i < m; ++i) {
        const int tap = (r + i) / blocks, block = (r + i) % blocks;
        const long shift = taps == 1 ? size.line() + 1 : (tap / 3) * size.line() + tap % 3;
        a[i] = transposed + 16L * block * length + shift;
      }
      const bf16* b = pairs + 32L * t;
      const long line = 32L * tiles;
      if (n == 1) {
        if (m == 1) outer_tiles<1, 1>(a, length, b, line, steps, sums);
        if (m == 2) outer_tiles<2, 1>(a, length, b, line, steps, sums);
        if (m == 3) outer_tiles<3, 1>(a, length, b, line, steps, sums);
      } else {
        if (m == 1) outer_tiles<1, 2>(a, length, b, line, steps, sums);
        if (m == 2) outer_tiles<2, 2>(a, length, b, line, steps, sums);
        if (m == 3) outer_tiles<3, 2>(a, length, b, line, steps, sums);
      }
      for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) {
          const int tap = (r + i) / blocks, block = (r + i) % blocks;
          const int count = inputs - 16 * block < 16 ? inputs - 16 * block : 16;
          for (int c = 0; c < count; ++c)
            add(tap, 16 * block + c, sums + 768 * j + 256 * i + 16 * c, t + j);
        }
    }
}

// What they need beside the maps; its memory is zeros at the beginning.
struct GradientRoom {
  bf16 *transposed, *pairs[9];
  // channels: of the widest map.
  GradientRoom(Arena& m, Size size, int channels) {
    transposed = m.map(transposed_length(size) * round_up(channels, 16) + 64);
    for (int tiles = 0; tiles < 9; ++tiles) pairs[tiles] = m.map(flat(size) * 16L * (tiles + 1));
  }
};

// Adds the gradient of a kernel `[taps][inputs][outputs]`.
inline void add_weight_gradient(const GradientRoom& room, Size size, const bf16* x, int inputs,
                                const bf16* g, int outputs, int taps, float* to,
                                const Joins*) {
  bf16* pairs = room.pairs[(outputs + 15) / 16 - 1];
  transpose(size, x, inputs, room.transposed);
  pair_up(size, g, outputs, pairs);
  weight_gradient(size, room.transposed, inputs, pairs, outputs, taps,
                  [&](int tap, int in, const float* sums, int tile) {
                    const __mmask16 mask = first(outputs - 16 * tile);
                    float* row = to + (static_cast<long>(tap) * inputs + in) * outputs + 16 * tile;
                    store(row, load(row, mask) + load(sums), mask);
                  });
}

}  // namespace vsr::training
