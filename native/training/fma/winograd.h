// 3x3 convolutions in Winograd's form F(2x2, 3x3): tiles of 4x4 inputs, two apart, become 16
// planes, each of which is a product of its own; their results become 2x2 outputs.
#pragma once

#include "products.h"

namespace vsr::training {

constexpr int kTiles = 8;          // side by side
constexpr int kMostChannels = 48;  // that a convolution reads
constexpr int kBlockOutputs = 3 * kLanes;

// The planes of a tile, `step` apart, for some channels. d: its first pixel, in lines of `line`.
inline void to_planes(const Cell* d, long line, int channels, Cell* to, long step) {
  for (int c = 0; c < channels; c += kLanes) {
    Vec t[4][4];
#pragma GCC unroll 4
    for (int x = 0; x < 4; ++x) {
      const Cell* from = d + x * channels + c;
      const Vec d0 = load(from), d1 = load(from + line), d2 = load(from + 2 * line),
                d3 = load(from + 3 * line);
      t[0][x] = d0 - d2;
      t[1][x] = d1 + d2;
      t[2][x] = d2 - d1;
      t[3][x] = d1 - d3;
    }
#pragma GCC unroll 4
    for (int y = 0; y < 4; ++y) {
      Cell* plane = to + 4 * y * step + c;
      store(plane, t[y][0] - t[y][2]);
      store(plane + step, t[y][1] + t[y][2]);
      store(plane + 2 * step, t[y][2] - t[y][1]);
      store(plane + 3 * step, t[y][1] - t[y][3]);
    }
  }
}

// Two by two outputs from the planes of a vector of them: above and below, the right ones `right`
// further.
inline void from_planes(const float* m, int step, float* above, float* below, int right) {
  Vec t[2][4];
#pragma GCC unroll 4
  for (int x = 0; x < 4; ++x) {
    const float* from = m + x * step;
    const Vec m0 = load(from), m1 = load(from + 4 * step), m2 = load(from + 8 * step),
              m3 = load(from + 12 * step);
    t[0][x] = m0 + m1 + m2;
    t[1][x] = m1 - m2 - m3;
  }
  store(above, t[0][0] + t[0][1] + t[0][2]);
  store(above + right, t[0][1] - t[0][2] - t[0][3]);
  store(below, t[1][0] + t[1][1] + t[1][2]);
  store(below + right, t[1][1] - t[1][2] - t[1][3]);
}

// above, below [2 * tiles][kMostOutputs]: two lines of outputs. planes: [kPlanes][kTiles][pitch].
inline void multiply_planes(const Cell* planes, int pitch, int tiles, const Packed& w, float* above,
                            float* below) {
  alignas(64) float sums[kPlanes * kTiles * kBlockOutputs];
  const Cell* weights = w.data;
  w.each_join([&](const int* reads, int inputs, const int*, int outputs, int column) {
    const int vectors = (outputs + kLanes - 1) / kLanes, channels = inputs / 3;
    for (int v = 0; v < vectors;) {
      const int n = vectors_of(vectors - v);
      with_constant<3>(n, [&](auto constant) {
        constexpr int N = constant.value, kStep = kTiles * N * kLanes;
        for (int plane = 0; plane < kPlanes; ++plane) {
          evenly<4>(tiles, [&](auto some, int at) {
            const Cell* from = planes + (static_cast<long>(plane) * kTiles + at) * pitch;
            multiply_block<some.value, N>(&from, 1, pitch, reads, channels, weights,
                                          sums + plane * kStep + at * N * kLanes, N * kLanes);
          });
          weights += channels * N * kLanes;
        }
        for (int tile = 0; tile < tiles; ++tile)
          for (int j = 0; j < N; ++j) {
            const int to = 2 * tile * kMostOutputs + column + (v + j) * kLanes;
            from_planes(sums + (tile * N + j) * kLanes, kStep, above + to, below + to,
                        kMostOutputs);
          }
      });
      v += n;
    }
  });
}

// As convolve_directly. `padded` has a line and a pixel to spare.
template <class Done>
inline void convolve_in_planes(Size size, const Cell* padded, const Packed& w, Done done) {
  constexpr int kLine = 2 * kTiles * kMostOutputs;
  alignas(64) float sums[2 * kLine];
  alignas(64) Cell planes[kPlanes * kTiles * kMostChannels];
  const int pitch = (w.channels + kLanes - 1) / kLanes * kLanes;
  const long line = static_cast<long>(size.line()) * w.channels;
  const int all = (size.width + 1) / 2;
  for (int y = 0; y < size.height; y += 2)
    for (int tile = 0; tile < all; tile += kTiles) {
      const int tiles = all - tile < kTiles ? all - tile : kTiles, x = 2 * tile;
      const int count = size.width - x < 2 * tiles ? size.width - x : 2 * tiles;
      for (int t = 0; t < tiles; ++t)
        to_planes(padded + y * line + (x + 2L * t) * w.channels, line, w.channels,
                  planes + t * pitch, static_cast<long>(kTiles) * pitch);
      multiply_planes(planes, pitch, tiles, w, sums, sums + kLine);
      for (int below = 0; below < 2 && y + below < size.height; ++below) {
        w.put_in_order(sums + below * kLine, count);
        done((y + below) * size.width + x, count, sums + below * kLine);
      }
    }
}

// 3x3 over a padded map.
template <class Done>
inline void convolve(Size size, const Cell* padded, const Packed& w, Done done) {
  if (w.winograd())
    convolve_in_planes(size, padded, w, done);
  else
    convolve_directly(size, padded, w, done);
}

}  // namespace vsr::training
