// Sums over pixels of inputs times gradients of outputs, with vectors of float32.
#pragma once

#include "products.h"

namespace vsr::training {

// A rectangle of pixels: the first one's inputs and gradients of outputs, and the rest's beside it.
struct Patch {
  const Cell *x, *g;
  long x_pixel, x_line, g_pixel, g_line;
  int lines, pixels;  // of each line
};

// sums[M][N * kLanes]: M inputs by N vectors of outputs. reads: which inputs; kInARow: the first's
// neighbours.
template <int M, int N, bool kInARow>
inline void outer_block(const Patch& p, const int* reads, float* sums) {
  Vec s[M][N] = {};
  long in[M];
  for (int m = 0; m < M; ++m) in[m] = kInARow ? m : reads[m];
  for (int y = 0; y < p.lines; ++y) {
    const Cell *x = p.x + y * p.x_line + (kInARow ? reads[0] : 0), *g = p.g + y * p.g_line;
    for (int i = 0; i < p.pixels; ++i, x += p.x_pixel, g += p.g_pixel) {
      Vec b[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) b[n] = load(g + n * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const Vec a = broadcast(value_of(x[in[m]]));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) s[m][n] += a * b[n];
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) store(sums + (m * N + n) * kLanes, s[m][n]);
}

}  // namespace vsr::training
