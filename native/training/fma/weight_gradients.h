// Gradients of weights: sums over pixels of input times gradient of output, with vectors of float32.
#pragma once

#include <algorithm>

#include "products.h"

namespace vsr::training {

// What they need beside the maps: one of gradients in another order.
struct GradientRoom {
  Cell* columns;
  GradientRoom(Arena& m, Size size, int)
      : columns(m.map(1L * size.pixels() * kMergeGroups * kLanes)) {}
};

// A rectangle of pixels: the first one's inputs and gradients of outputs, and the rest's beside it.
struct Patch {
  const Cell *x, *g;
  long x_pixel, x_line, g_pixel, g_line;
  int lines, pixels;  // of each line
};

// Adds the gradients of some inputs' weights to some outputs, the latter in a row or not.
struct Target {
  float* to;
  long row;  // from one input's to the next one's
  const int* writes;
  int count;
  bool in_a_row;

  template <int N>
  void add(int input, int column, const Vec (&sums)[N]) const {
    float* at = to + input * row;
    if (in_a_row) {
      at += writes[column];
      for (int n = 0; n < N; ++n) {
        const Mask mask = first(count - column - n * kLanes);
        store(at + n * kLanes, load(at + n * kLanes, mask) + sums[n], mask);
      }
      return;
    }
    for (int i = 0; i < N * kLanes && column + i < count; ++i)
      at[writes[column + i]] += sums[i / kLanes][i % kLanes];
  }
};

// M inputs by N vectors of outputs, from `column` on. reads: which inputs.
template <int M, int N>
inline void outer_block(const Patch& p, const int* reads, int column, const Target& target) {
  Vec s[M][N] = {};
  long in[M];
  for (int m = 0; m < M; ++m) in[m] = reads[m];
  for (int y = 0; y < p.lines; ++y) {
    const Cell *x = p.x + y * p.x_line, *g = p.g + y * p.g_line + column;
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
  for (int m = 0; m < M; ++m) target.add<N>(reads[m], column, s[m]);
}

// Some inputs by some outputs, over a rectangle of pixels.
inline void outer(const Patch& patch, const int* reads, int inputs, const Target& target) {
  const int vectors = (target.count + kLanes - 1) / kLanes;
  for (int v = 0; v < vectors;) {
    const int n = vectors_of(vectors - v);
    with_constant<3>(n, [&](auto constant) {
      constexpr int N = constant.value;
      evenly<kMostBeside<N>>(inputs, [&](auto some, int in) {
        outer_block<some.value, N>(patch, reads + in, v * kLanes, target);
      });
    });
    v += n;
  }
}

// Adds the gradient of a kernel `[taps][inputs][outputs]`. 1 tap: a pointwise product; 9: a 3x3
// convolution. Some lines at a time, so that they stay in the first-level cache.
inline void add_weight_gradient(const GradientRoom& room, Size size, const Cell* x, int inputs,
                                const Cell* g, int outputs, int taps, float* to,
                                const Joins* joins) {
  constexpr int kPixels = 64;
  const Packed product(1, 1, inputs, outputs, joins ? &joins->forward : nullptr);
  const int some = std::max(1, kPixels / size.width);
  product.each_join([&](const int* reads, int read, const int* writes, int written, int) {
    const bool in_a_row = writes[written - 1] - writes[0] + 1 == written;
    if (joins) read /= joins->pixels();  // the first pixel's
    const Cell* gradients = g + writes[0];
    int pitch = outputs;
    if (!in_a_row) {
      pitch = (written + kLanes - 1) / kLanes * kLanes;
      for (int p = 0; p < size.pixels(); ++p)
        for (int o = 0; o < written; ++o)
          room.columns[static_cast<long>(p) * pitch + o] = g[static_cast<long>(p) * outputs + writes[o]];
      gradients = room.columns;
    }
    for (int begin = 0; begin < size.height; begin += some)
      for (int tap = 0; tap < taps; ++tap) {
        const int dy = taps == 1 ? 0 : tap / 3 - 1, dx = taps == 1 ? 0 : tap % 3 - 1;
        // Where the gradients are whose inputs are inside the map.
        const int y0 = std::max(begin, -dy), x0 = std::max(0, -dx);
        const int y1 = std::min({begin + some, size.height, size.height - dy});
        const int x1 = std::min(size.width, size.width - dx);
        if (y0 >= y1 || x0 >= x1) continue;
        const Patch patch{x + (static_cast<long>(y0 + dy) * size.width + x0 + dx) * inputs,
                          gradients + (static_cast<long>(y0) * size.width + x0) * pitch,
                          inputs, static_cast<long>(size.width) * inputs,
                          pitch, static_cast<long>(size.width) * pitch,
                          y1 - y0, x1 - x0};
        float* kernel = to + static_cast<long>(tap) * inputs * outputs;
        outer(patch, reads, read, Target{kernel, outputs, writes, written, in_a_row});
      }
  });
}

}  // namespace vsr::training
