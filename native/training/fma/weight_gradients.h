// Gradients of weights: sums over pixels of input times gradient of output, with vectors of float32.
#pragma once

#include <algorithm>

#include "products.h"

namespace vsr::training {

// What they need beside the maps: nothing.
struct GradientRoom {
  GradientRoom(Arena&, Size, int) {}
};

// A rectangle of pixels: the first one's inputs and gradients of outputs, and the rest's beside it.
struct Patch {
  const Cell *x, *g;
  long x_pixel, x_line, g_pixel, g_line;
  int lines, pixels;  // of each line
};

// Adds M inputs by N vectors of outputs, whose last has `last` lanes.
template <int M, int N>
inline void outer_block(const Patch& p, float* to, long row, Mask last) {
  Vec s[M][N] = {};
  for (int y = 0; y < p.lines; ++y) {
    const Cell *x = p.x + y * p.x_line, *g = p.g + y * p.g_line;
    for (int i = 0; i < p.pixels; ++i, x += p.x_pixel, g += p.g_pixel) {
      Vec b[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) b[n] = load(g + n * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const Vec a = broadcast(value_of(x[m]));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) s[m][n] += a * b[n];
      }
    }
  }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      float* at = to + m * row + n * kLanes;
      const Mask mask = n + 1 < N ? first(kLanes) : last;
      store(at, load(at, mask) + s[m][n], mask);
    }
}

// Adds the gradient of a kernel `[taps][inputs][outputs]`. 1 tap: a pointwise product; 9: a 3x3
// convolution. Some lines at a time, so that they stay in the first-level cache.
inline void add_weight_gradient(const GradientRoom&, Size size, const Cell* x, int inputs,
                                const Cell* g, int outputs, int taps, float* to) {
  constexpr int kPixels = 64;
  const int vectors = (outputs + kLanes - 1) / kLanes, some = std::max(1, kPixels / size.width);
  for (int begin = 0; begin < size.height; begin += some)
    for (int tap = 0; tap < taps; ++tap) {
      const int dy = taps == 1 ? 0 : tap / 3 - 1, dx = taps == 1 ? 0 : tap % 3 - 1;
      // Where the gradients are whose inputs are inside the map.
      const int y0 = std::max(begin, -dy), x0 = std::max(0, -dx);
      const int y1 = std::min({begin + some, size.height, size.height - dy});
      const int x1 = std::min(size.width, size.width - dx);
      if (y0 >= y1 || x0 >= x1) continue;
      const long first_g = static_cast<long>(y0) * size.width + x0;
      const long first_x = static_cast<long>(y0 + dy) * size.width + x0 + dx;
      for (int v = 0; v < vectors;) {
        const int n = vectors_of(vectors - v);
        const Mask last = first(outputs - (v + n - 1) * kLanes);
        with_constant<3>(n, [&](auto constant) {
          constexpr int N = constant.value;
          evenly<kMostBeside<N>>(inputs, [&](auto block, int in) {
            const Patch patch{x + first_x * inputs + in, g + first_g * outputs + v * kLanes,
                              inputs, static_cast<long>(size.width) * inputs,
                              outputs, static_cast<long>(size.width) * outputs,
                              y1 - y0, x1 - x0};
            float* at = to + (static_cast<long>(tap) * inputs + in) * outputs + v * kLanes;
            outer_block<block.value, N>(patch, at, outputs, last);
          });
        });
        v += n;
      }
    }
}

}  // namespace vsr::training
