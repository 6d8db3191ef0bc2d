// Gradients of 3x3 kernels in Winograd's form: a product of planes again, now summed over tiles.
#pragma once

#include <algorithm>

#include "outer.h"
#include "winograd.h"

namespace vsr::training {

constexpr int kSummedTiles = 64;  // at a time: a plane of them stays in the first-level cache
// From one plane to the next. Not whole kibibytes, or the caches would put all planes in one place.
inline long plane_step(int pitch) { return 1L * kSummedTiles * pitch + 16; }

// What that needs. Its padded maps have zeros in their borders from the beginning.
struct PlaneRoom {
  Cell *padded[kMostChannels / 12] = {}, *inputs = nullptr, *gradients = nullptr;
  float* sums = nullptr;
  PlaneRoom(Arena& m, Size size) {
    if (!kWinograd) return;
    for (int i : {0, 1, 3}) padded[i] = m.map(padded_cells(size, 12 * (i + 1)));
    inputs = m.map(kPlanes * plane_step(kMostChannels));
    gradients = m.map(kPlanes * plane_step(kBlockOutputs));
    sums = m.floats(1L * kPlanes * kMostChannels * kBlockOutputs);
  }
  Cell* padded_of(int channels) const { return padded[channels / 12 - 1]; }  // 12, 24 or 48
};

// The planes of two by two gradients, `step` apart. beside, below: whether there are such.
template <int N>
inline void gradient_planes(const Cell* g, int channels, long line, bool beside, bool below,
                            Cell* to, long step) {
  for (int n = 0; n < N; ++n, g += kLanes, to += kLanes) {
    const Vec a = load(g), b = beside ? load(g + channels) : Vec{};
    const Vec c = below ? load(g + line) : Vec{};
    const Vec d = beside && below ? load(g + line + channels) : Vec{};
    const Vec lines[4][2] = {{a, b}, {a + c, b + d}, {a - c, b - d}, {-c, -d}};
#pragma GCC unroll 4
    for (int y = 0; y < 4; ++y) {
      const Vec left = lines[y][0], right = lines[y][1];
      Cell* plane = to + 4 * y * step;
      store(plane, left);
      store(plane + step, left + right);
      store(plane + 2 * step, left - right);
      store(plane + 3 * step, -right);
    }
  }
}

// A line, or column, of a kernel's gradient from that of its form.
inline void from_form(const Vec u[4], Vec to[3]) {
  const Vec sum = 0.5f * (u[1] + u[2]);
  to[0] = u[0] + sum;
  to[1] = 0.5f * (u[1] - u[2]);
  to[2] = sum + u[3];
}

// Adds to to[9][inputs][outputs] what sums[kPlanes][inputs][N * kLanes] come to, `count` outputs.
template <int N>
inline void add_kernel(const float* sums, int inputs, int count, float* to, int outputs) {
  for (int i = 0; i < inputs; ++i)
    over_channels(count, [&](int c, Mask mask) {
      Vec lines[4][3], kernel[3];
      for (int y = 0; y < 4; ++y) {
        Vec u[4];
        for (int x = 0; x < 4; ++x)
          u[x] = load(sums + ((4L * y + x) * inputs + i) * N * kLanes + c);
        from_form(u, lines[y]);
      }
      for (int x = 0; x < 3; ++x) {
        const Vec u[4] = {lines[0][x], lines[1][x], lines[2][x], lines[3][x]};
        from_form(u, kernel);
        for (int y = 0; y < 3; ++y) {
          float* at = to + ((3L * y + x) * inputs + i) * outputs + c;
          store(at, load(at, mask) + kernel[y], mask);
        }
      }
    });
}

// One block: N vectors of outputs, of which `count` are some. g, to: from the first on.
template <int N>
inline void add_block_in_planes(const PlaneRoom& room, Size size, int inputs, const Cell* g,
                                int outputs, int count, float* to) {
  const int pitch = round_up(inputs, kLanes), across = (size.width + 1) / 2;
  const int all = across * ((size.height + 1) / 2);
  const long line = static_cast<long>(size.line()) * inputs;
  const long g_line = static_cast<long>(size.width) * outputs;
  std::fill(room.sums, room.sums + kPlanes * inputs * N * kLanes, 0.0f);
  for (int begin = 0; begin < all; begin += kSummedTiles) {
    const int tiles = std::min(kSummedTiles, all - begin);
    for (int t = 0; t < tiles; ++t) {
      const int y = (begin + t) / across * 2, x = (begin + t) % across * 2;
      to_planes(room.padded_of(inputs) + y * line + 1L * x * inputs, line, inputs,
                room.inputs + t * pitch, plane_step(pitch));
      gradient_planes<N>(g + y * g_line + 1L * x * outputs, outputs, g_line, x + 1 < size.width,
                         y + 1 < size.height, room.gradients + t * N * kLanes,
                         plane_step(N * kLanes));
    }
    for (int plane = 0; plane < kPlanes; ++plane) {
      const Patch patch{room.inputs + plane * plane_step(pitch),
                        room.gradients + plane * plane_step(N * kLanes),
                        pitch, 0, N * kLanes, 0, 1, tiles};
      float* sums = room.sums + 1L * plane * inputs * N * kLanes;
      evenly<kMostBeside<N>>(inputs, [&](auto many, int in) {
        alignas(64) float some[kMostBeside<N> * N * kLanes];
        outer_block<many.value, N, true>(patch, &in, some);
        float* at = sums + in * N * kLanes;
        for (int i = 0; i < many.value * N * kLanes; i += kLanes)
          store(at + i, load(at + i) + load(some + i));
      });
    }
  }
  add_kernel<N>(room.sums, inputs, count, to, outputs);
}

// Adds the gradient of a 3x3 kernel `[9][inputs][outputs]`.
inline void add_in_planes(const PlaneRoom& room, Size size, const Cell* x, int inputs,
                          const Cell* g, int outputs, float* to) {
  pad(size, x, inputs, room.padded_of(inputs));
  const int vectors = (outputs + kLanes - 1) / kLanes;
  for (int v = 0; v < vectors;) {
    const int n = vectors_of(vectors - v), from = v * kLanes;
    with_constant<3>(n, [&](auto constant) {
      constexpr int N = constant.value;
      add_block_in_planes<N>(room, size, inputs, g + from, outputs,
                             std::min(outputs - from, N * kLanes), to + from);
    });
    v += n;
  }
}

}  // namespace vsr::training
