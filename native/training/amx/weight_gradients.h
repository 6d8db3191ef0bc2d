// Gradients of weights: sums over pixels, on the tile unit. One map is on the left, its channels as
// rows of 32 pixels; one on the right, as pairs of pixels of 16 channels.
#pragma once

#include <type_traits>

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
inline int blocks_of(int channels) { return (channels + 15) / 16; }

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

// Maps that are multiplied: steps of the left one, pairs of the right one.
struct Walk {
  int lines, steps;             // steps of a line
  long left_step;               // elements from one to the next
  long right_step, right_line;  // likewise, from a step or line to the next
};

template <int T>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(T));
}
template <int T>
inline void load_tile(const bf16* from, long bytes) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(bytes) : "memory");
}
template <int T>
inline void store_tile(float* to) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(64L) : "memory");
}
template <int Sum, int Left, int Right>
inline void multiply_add() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Left), "i"(Right));
}

// body(std::integral_constant<int, 0>) to body(.. N - 1).
template <int N, class Body>
inline __attribute__((always_inline)) void each_constant(Body&& body) {
  if constexpr (N > 1) each_constant<N - 1>(body);
  body(std::integral_constant<int, N - 1>{});
}

// M blocks of the left map by N of the right one: sums[N][M][16][16]. right: where each begins;
// pitch: from a pair to the next, elements.
template <int M, int N>
inline void outer(const Walk& walk, const bf16* left, const bf16* const* right, long pitch,
                  float* sums) {
  static_assert(M * N <= 6);
  constexpr int kLeft = 6, kRight = 7;
  before_loading_tiles();
  each_constant<M * N>([](auto t) { zero_tile<t.value>(); });
  for (int y = 0; y < walk.lines; ++y)
    for (int k = 0; k < walk.steps; ++k, left += walk.left_step) {
      const long at = y * walk.right_line + k * walk.right_step;
      each_constant<N>([&](auto n) {
        load_tile<kRight>(right[n.value] + at, 2 * pitch);
        each_constant<M>([&](auto i) {
          // To and fro: the last block is the next one's first.
          constexpr int m = n.value % 2 ? M - 1 - i.value : i.value;
          if (i.value > 0 || n.value == 0) load_tile<kLeft>(left + 512 * m, 64);
          multiply_add<n.value * M + m, kLeft, kRight>();
        });
      });
    }
  each_constant<M * N>([&](auto t) { store_tile<t.value>(sums + 256 * t.value); });
}

// add(column, block, tile of sums [16][16]) for all `columns` of the right map and M blocks.
template <int M, class Add>
inline void outer_products(const Walk& walk, const bf16* left, const bf16* const* right,
                           int columns, long pitch, Add add) {
  constexpr int kMost = 6 / M;
  alignas(64) float sums[6 * 256];
  for (int at = 0; at < columns;) {
    const int n = columns - at < kMost ? columns - at : kMost;
    each_constant<kMost>([&](auto i) {
      constexpr int N = i.value + 1;
      if (n == N) outer<M, N>(walk, left, right + at, pitch, sums);
    });
    for (int j = 0; j < n; ++j)
      for (int m = 0; m < M; ++m) add(at + j, m, sums + 256 * (j * M + m));
    at += n;
  }
}

template <class Add>
inline void outer_products(int blocks, const Walk& walk, const bf16* left,
                           const bf16* const* right, int columns, long pitch, Add add) {
  if (blocks == 1) outer_products<1>(walk, left, right, columns, pitch, add);
  if (blocks == 2) outer_products<2>(walk, left, right, columns, pitch, add);
  if (blocks == 3) outer_products<3>(walk, left, right, columns, pitch, add);
}

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
  static constexpr int kMostLeft = 3;  // blocks
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
  const bf16* columns[9 * ProductRoom::kMostLeft];
  for (int tap = 0; tap < 9; ++tap)
    for (int b = 0; b < blocks; ++b)
      columns[tap * blocks + b] = right.tap(size, blocks, tap) + 32 * b;
  const long pitch = 32L * blocks;
  const Walk walk{size.height, line_steps(size), 512L * blocks_of(outputs), 16 * pitch,
                  size.line() / 2 * pitch};
  outer_products(blocks_of(outputs), walk, room.left, columns, 9 * blocks, pitch,
                 [&](int column, int m, const float* sums) {
                   const int tap = column / blocks, in = column % blocks * 16;
                   add_transposed(sums, inputs - in, outputs - 16 * m,
                                  to + (1L * tap * inputs + in) * outputs + 16 * m, outputs);
                 });
}

// add(block of the right map, block of the left one, tile of sums [16][16]), where the left map's
// lines are in the room and the right one has so many blocks of 16 channels.
template <class Add>
inline void pixel_products(const ProductRoom& room, Size size, int left_blocks, const bf16* right,
                           int blocks, Add add) {
  const bf16* columns[9];
  for (int b = 0; b < blocks; ++b) columns[b] = right + 32 * b;
  const long pitch = 32L * blocks;
  const Walk walk{size.height, line_steps(size), 512L * left_blocks, 16 * pitch,
                  size.width / 2 * pitch};
  outer_products(left_blocks, walk, room.left, columns, blocks, pitch, add);
}

}  // namespace vsr::training
