// Gradients of weights: sums over pixels. One map is on the left, its channels as
// rows of 32 pixels; one on the right, as pairs of pixels of 16 channels.
#pragma once

#include "products.h"

namespace vsr::training {

// Lanes are pairs: of the two halves' elements with the same number.
inline __m512i interleave(__m512i halves) {
  const __m512i order = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}

// Two pixels' channels: lane c is one[c] below other[c].
inline __m512i pair_of(__m256i one, __m256i other) {
  return interleave(_mm512_inserti64x4(_mm512_castsi256_si512(one), other, 1));
}
inline __m512i pair_of(const bf16* one, const bf16* other, __mmask16 mask) {
  return pair_of(_mm256_maskz_loadu_epi16(mask, one), _mm256_maskz_loadu_epi16(mask, other));
}

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

// Steps of 32 pixels in a line of a map; in the last one some may be beyond it.
inline int line_steps(Size size) { return (size.width + 31) / 32; }

// A map on the left: for each step, for each block of 16 channels, a tile. Zeros beyond a line.
inline void put_left(Size size, const bf16* x, int channels, bf16* to) {
  for (int y = 0; y < size.height; ++y)
    for (int at = 0; at < size.width; at += 32)
      for (int c = 0; c < channels; c += 16, to += 512) {
        const __mmask16 mask = first(channels - c);
        const int left = (size.width - at) / 2;  // pairs
        const bf16* from = x + (static_cast<long>(y) * size.width + at) * channels + c;
        __m512i r[16];
        for (int i = 0; i < 16; ++i)
          r[i] = i < left ? pair_of(from + 2L * i * channels, from + (2L * i + 1) * channels, mask)
                          : _mm512_setzero_si512();
        transpose16(r);
        for (int i = 0; i < 16; ++i) _mm512_store_si512(to + 32 * i, r[i]);
      }
}

// A map on the right: for each pair of pixels, for each block of 16 channels, a row. What steps
// read beyond the last line is finite, as it meets zeros.
inline long right_cells(long pairs, int blocks) { return (pairs + 16) * blocks * 32; }
inline void end_right(long pairs, int blocks, bf16* to) {
  std::memset(to + pairs * blocks * 32, 0, sizeof(bf16) * 16 * blocks * 32);
}

inline void put_right(Size size, const bf16* x, int channels, bf16* to) {
  const int pairs = size.pixels() / 2, blocks = blocks_of(channels);
  end_right(pairs, blocks, to);
  for (int i = 0; i < pairs; ++i, x += 2 * channels)
    for (int c = 0; c < channels; c += 16, to += 32)
      _mm512_store_si512(to, pair_of(x + c, x + channels + c, first(channels - c)));
}

// The same with a border, for convolutions: pairs that begin at a padded line's even pixels, and
// those that begin at its odd ones. Borders have been zeros since the memory was taken.
struct PaddedRight {
  bf16 *even = nullptr, *odd = nullptr;
  PaddedRight() = default;
  PaddedRight(Arena& m, Size size, int blocks)
      : even(m.map(right_cells(size.padded() / 2, blocks))),
        odd(m.map(right_cells(size.padded() / 2, blocks))) {}

  void put(Size size, const bf16* x, int channels) const {
    const int blocks = blocks_of(channels);
    const __m256i zero = _mm256_setzero_si256();
    for (int y = 0; y < size.height; ++y)
      for (int c = 0; c < channels; c += 16) {
        const __mmask16 mask = first(channels - c);
        const bf16* from = x + static_cast<long>(y) * size.width * channels + c;
        const long at = (y + 1L) * size.line() / 2 * blocks * 32 + 2 * c;
        bf16 *e = even + at, *o = odd + at;
        __m256i before = zero;
        for (int i = 0; i < size.width; i += 2, from += 2 * channels) {
          const __m256i a = _mm256_maskz_loadu_epi16(mask, from);
          const __m256i b = _mm256_maskz_loadu_epi16(mask, from + channels);
          _mm512_store_si512(e, pair_of(before, a));
          _mm512_store_si512(o, pair_of(a, b));
          before = b;
          e += 32L * blocks;
          o += 32L * blocks;
        }
        _mm512_store_si512(e, pair_of(before, zero));
      }
  }
  // Where the pixels begin that a tap meets.
  const bf16* tap(Size size, int blocks, int tap) const {
    const int dy = tap / 3, dx = tap % 3;
    return (dx == 1 ? odd : even) + (1L * dy * size.line() / 2 + dx / 2) * blocks * 32;
  }
};

// Adds 16 rows of sums to `rows` rows of `to`, which are `pitch` apart, `count` numbers each.
inline void add_tile(const float* sums, int rows, int count, float* to, long pitch) {
  const __mmask16 mask = first(count);
  for (int i = 0; i < rows && i < 16; ++i, to += pitch, sums += 16)
    store(to, load(to, mask) + load(sums), mask);
}
// The same with rows and columns exchanged.
inline void add_transposed(const float* sums, int rows, int count, float* to, long pitch) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(sums + 16 * i);
  transpose16(r);
  const __mmask16 mask = first(count);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    if (i < rows) store(to + i * pitch, load(to + i * pitch, mask) + (Vec)r[i], mask);
}

// Room for the maps as they are multiplied.
struct ProductRoom {
  bf16 *left, *wide, *wide_gradient, *extra_gradient;
  PaddedRight padded[kMostLeft];  // for so many blocks, less one
  // widest: the most channels that a map has.
  ProductRoom(Arena& m, Size size, int widest)
      : left(m.map(1L * size.height * line_steps(size) * kMostLeft * 512)),
        wide(m.map(right_cells(size.pixels() / 2, blocks_of(widest)))),
        wide_gradient(m.map(right_cells(size.pixels() / 2, blocks_of(widest)))),
        extra_gradient(m.map(right_cells(size.pixels() / 2, blocks_of(C)))) {
    for (int i = 0; i < kMostLeft; ++i) padded[i] = PaddedRight(m, size, i + 1);
  }
};

// Adds the gradient of a 3x3 kernel `[9][inputs][outputs]`.
inline void add_weight_gradient(const ProductRoom& room, Size size, const bf16* x, int inputs,
                                const bf16* g, int outputs, float* to, const Joins*) {
  const int blocks = blocks_of(inputs);
  const PaddedRight& right = room.padded[blocks - 1];
  put_left(size, g, outputs, room.left);
  right.put(size, x, inputs);
  const bf16* columns[9 * kMostLeft];
  for (int tap = 0; tap < 9; ++tap)
    for (int b = 0; b < blocks; ++b)
      columns[tap * blocks + b] = right.tap(size, blocks, tap) + 32 * b;
  const long pitch = 32L * blocks;
  const Walk walk{size.height, line_steps(size), 512L * blocks_of(outputs), 16 * pitch,
                  size.line() / 2 * pitch};
  outer_products(outputs, inputs, walk, room.left, columns, 9 * blocks, pitch,
                 [&](int column, int m, const float* sums) {
                   const int tap = column / blocks, in = column % blocks * 16;
                   add_transposed(sums, inputs - in, outputs - 16 * m,
                                  to + (1L * tap * inputs + in) * outputs + 16 * m, outputs);
                 });
}

// add(block of the right map, block of the left one, tile of sums [16][16]), where the left map's
// lines are in the room. channels: of the left map and of the right one.
template <class Add>
inline void pixel_products(const ProductRoom& room, Size size, int channels, const bf16* right,
                           int right_channels, Add add) {
  const int blocks = blocks_of(right_channels);
  const bf16* columns[9];
  for (int b = 0; b < blocks; ++b) columns[b] = right + 32 * b;
  const long pitch = 32L * blocks;
  const Walk walk{size.height, line_steps(size), 512L * blocks_of(channels), 16 * pitch,
                  size.width / 2 * pitch};
  outer_products(channels, right_channels, walk, room.left, columns, blocks, pitch, add);
}

}  // namespace vsr::training
