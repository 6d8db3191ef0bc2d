// Products on AMX's tile unit: 16 pixels by 16 channels over 32 inputs at a time.
#pragma once

#include "../../tile_unit.h"
#include "operands.h"

namespace vsr::training {

inline bool unit_is_allowed() { return tile_unit_is_allowed(); }

// A thread's tile unit: tiles are 16 rows of 64 bytes.
class Unit {
  TileUnit unit_{TileShapes(16, 64)};
};

constexpr int kMostTiles = 4;

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

// The same with tiles that are numbered by constants.
#if defined(VSR_SOFTWARE_TILES)
template <int T>
inline void zero_tile() {
  _tile_zero(T);
}
template <int T>
inline void load_tile(const bf16* from, long bytes) {
  _tile_loadd(T, from, bytes);
}
template <int T>
inline void store_tile(float* to) {
  _tile_stored(T, to, 64);
}
template <int Sum, int Left, int Right>
inline void multiply_add() {
  _tile_dpbf16ps(Sum, Left, Right);
}
#else
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
#endif

// M blocks of the left map by N of the right one: sums[N][M][16][16].
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

template <int M, class Add>
inline void outer_products(const Walk& walk, const bf16* left,
                           const bf16* const* right, int columns, long pitch, Add add) {
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
inline void outer_products(int channels, int, const Walk& walk, const bf16* left,
                           const bf16* const* right, int columns, long pitch, Add add) {
  const int blocks = blocks_of(channels);
  if (blocks == 1) outer_products<1>(walk, left, right, columns, pitch, add);
  if (blocks == 2) outer_products<2>(walk, left, right, columns, pitch, add);
  if (blocks == 3) outer_products<3>(walk, left, right, columns, pitch, add);
}

}  // namespace vsr::training
