// Products by AVX-512's VDPBF16PS, which adds sixteen pairs of products to sixteen float32 sums. A
// processor has it without AMX from AMD's Zen 4 and Intel's Cooper Lake on.
//
// Sums are in registers, of which there are thirty-two: some rows by a few vectors, so that they,
// the vectors and a row's pair fit, and there are enough of them to hide an addition's latency. Of
// 24 channels the last eight are half a vector, which Zen 4 is done with in half the time.
#pragma once

#include "operands.h"

namespace vsr::training {

inline bool unit_is_allowed() { return true; }

struct Unit {
  Unit() {}
};

constexpr int kHalf = 8;  // lanes

// Whether the last block of so many channels is half of one.
inline bool ends_in_half(int channels) { return channels % 16 > 0 && channels % 16 <= kHalf; }

// Sums of Rows rows by N vectors, of which the last is half of one if Half.
template <int Rows, int N, bool Half>
struct Products {
  static constexpr int kWhole = N - Half;
  __m512 whole[Rows][kWhole + (kWhole == 0)];
  __m256 half[Rows];

  inline __attribute__((always_inline)) Products() {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int n = 0; n < kWhole; ++n) whole[r][n] = _mm512_setzero_ps();
      if constexpr (Half) half[r] = _mm256_setzero_ps();
    }
  }

  // Adds `pairs` pairs of each row, `pitch` elements apart, times the vectors right[n], whose lines
  // are `line` apart.
  inline __attribute__((always_inline)) void add(const bf16* rows, long pitch,
                                                 const bf16* const (&right)[N], long line,
                                                 int pairs) {
    for (int pair = 0; pair < pairs; ++pair) {
      __m512bh x[kWhole + (kWhole == 0)];
      __m256bh y{};
#pragma GCC unroll 4
      for (int n = 0; n < kWhole; ++n) x[n] = (__m512bh)_mm512_loadu_si512(right[n] + pair * line);
      if constexpr (Half)
        y = (__m256bh)_mm256_loadu_si256(reinterpret_cast<const __m256i*>(right[N - 1] + pair * line));
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        int both;
        std::memcpy(&both, rows + r * pitch + 2 * pair, sizeof both);
        const __m512i spread = _mm512_set1_epi32(both);
#pragma GCC unroll 4
        for (int n = 0; n < kWhole; ++n)
          whole[r][n] = _mm512_dpbf16_ps(whole[r][n], (__m512bh)spread, x[n]);
        if constexpr (Half)
          half[r] = _mm256_dpbf16_ps(half[r], (__m256bh)_mm512_castsi512_si256(spread), y);
      }
    }
  }

  // Rows are `line` apart, vectors `next`.
  inline __attribute__((always_inline)) void store(float* to, long line, long next) const {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int n = 0; n < kWhole; ++n) _mm512_storeu_ps(to + r * line + n * next, whole[r][n]);
      if constexpr (Half) _mm256_storeu_ps(to + r * line + kWhole * next, half[r]);
    }
  }
};

constexpr int kMostTiles = 3;

template <int N, bool Half>
inline void multiply_tiles(const bf16* const* rows, int pitch, const Packed& w, int tile,
                           float* sums, int line) {
  constexpr int kAtATime = N == 1 ? 16 : 8;
  const int steps = w.steps(), tiles = w.tiles(), advance = w.advance();
  for (int row = 0; row < kRows; row += kAtATime) {
    Products<kAtATime, N, Half> s;
    for (int stretch = 0; stretch < w.stretches; ++stretch)
      for (int k = 0; k < steps; ++k) {
        const bf16* b = w.data + (static_cast<long>(stretch * steps + k) * tiles + tile) * 512;
        const bf16* right[N];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) right[n] = b + 512 * n;
        s.add(rows[stretch] + advance * k + row * pitch, pitch, right, 32, w.pairs(k));
      }
    s.store(sums + row * line, line, 16);
  }
}
template <int N>
inline void multiply_tiles(const bf16* const* rows, int pitch, const Packed& w, int tile,
                           float* sums, int line) {
  if (tile + N == w.tiles() && ends_in_half(w.outputs))
    multiply_tiles<N, true>(rows, pitch, w, tile, sums, line);
  else
    multiply_tiles<N, false>(rows, pitch, w, tile, sums, line);
}

// Rows channels of the left map by N blocks of the right one.
template <int Rows, int N, bool Half>
inline void outer_rows(const Walk& walk, const bf16* left, const bf16* const* right, long pitch,
                       float* sums, long next) {
  Products<Rows, N, Half> s;
  for (int y = 0; y < walk.lines; ++y)
    for (int k = 0; k < walk.steps; ++k, left += walk.left_step) {
      const long at = y * walk.right_line + k * walk.right_step;
      const bf16* here[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) here[n] = right[n] + at;
      s.add(left, kSlots, here, pitch, 16);
    }
  s.store(sums, 16, next);
}

constexpr int kRowsTogether = 12;
static_assert(C % kRowsTogether == 0);  // and so is every number of channels of a map on the left

template <int N, bool Half>
inline void outer(const Walk& walk, const bf16* left, int channels, const bf16* const* right,
                  long pitch, float* sums) {
  for (int row = 0; row < channels; row += kRowsTogether)
    outer_rows<kRowsTogether, N, Half>(walk, left + kSlots * row, right, pitch, sums + 16 * row,
                                       256 * kMostLeft);
}

template <class Add>
inline void outer_products(int channels, int right_channels, const Walk& walk, const bf16* left,
                           const bf16* const* right, int columns, long pitch, Add add) {
  const int blocks = blocks_of(right_channels);
  const bool half = ends_in_half(right_channels);
  alignas(64) float sums[2 * kMostLeft * 256] = {};
  for (int at = 0; at < columns;) {
    const bool last = at % blocks == blocks - 1;  // of a pixel's channels
    int n = 1;
    if (half && last) {
      outer<1, true>(walk, left, channels, right + at, pitch, sums);
    } else if (at + 1 == columns) {
      outer<1, false>(walk, left, channels, right + at, pitch, sums);
    } else {
      n = 2;
      if (half && (at + 1) % blocks == blocks - 1)
        outer<2, true>(walk, left, channels, right + at, pitch, sums);
      else
        outer<2, false>(walk, left, channels, right + at, pitch, sums);
    }
    for (int j = 0; j < n; ++j)
      for (int m = 0; m < blocks_of(channels); ++m)
        add(at + j, m, sums + 256 * (j * kMostLeft + m));
    at += n;
  }
}

}  // namespace vsr::training
