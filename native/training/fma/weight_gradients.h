// Gradients of weights: sums over pixels of input times gradient of output, in float32.
#pragma once

#include <algorithm>

#include "gradients_in_planes.h"

namespace vsr::training {

// What products need beside the maps: a wide map; one of some gradients, three vectors of them for
// each pixel; and what Winograd's form needs.
struct ProductRoom {
  Cell *wide, *columns;
  PlaneRoom planes;
  // widest: the most channels that a map has.
  ProductRoom(Arena& m, Size size, int widest)
      : wide(m.map(1L * size.pixels() * widest)),
        columns(m.map(1L * size.pixels() * 3 * kLanes)), planes(m, size) {}
};

// Where gradients are added: an input's row, some outputs of it, in a row or not.
struct Target {
  float* to;
  long row;
  const int* writes;
  int count;
  bool in_a_row;

  // sums: a row for each of `inputs` inputs, `pitch` long.
  void add(const int* reads, int inputs, const float* sums, int pitch, long shift) const {
    for (int m = 0; m < inputs; ++m, sums += pitch) {
      float* at = to + shift + reads[m] * row;
      if (in_a_row) {
        over_channels(count, [&](int c, Mask mask) {
          float* some = at + writes[0] + c;
          store(some, load(some, mask) + load(sums + c), mask);
        });
      } else {
        for (int c = 0; c < count; ++c) at[writes[c]] += sums[c];
      }
    }
  }
};

// A copy of N vectors of a map's channels, side by side: of those which `which` names, `count`, or
// where `in_a_row` of the ones from the first on.
template <int N>
inline void pick(Size size, const Cell* from, int channels, const int* which, int count,
                 bool in_a_row, Cell* to) {
  for (int p = 0; p < size.pixels(); ++p, from += channels, to += N * kLanes) {
    if (in_a_row) {
      for (int n = 0; n < N; ++n) store(to + n * kLanes, load(from + which[0] + n * kLanes));
    } else {
      for (int c = 0; c < count; ++c) to[c] = from[which[c]];
    }
  }
}

// Adds the gradient of a kernel `[taps][inputs][outputs]`. 1 tap: a pointwise product; 9: a 3x3
// convolution. Some lines at a time, which then stay in the first-level cache.
inline void add_directly(const ProductRoom& room, Size size, const Cell* x, int inputs,
                         const Cell* g, int outputs, int taps, float* to, const Joins* joins) {
  const Packed product(1, 1, inputs, outputs, joins ? &joins->forward : nullptr);
  product.each_join([&](const int* reads, int read, const int* writes, int written, int) {
    if (joins) read /= joins->pixels();  // those of the first pixel
    const bool in_a_row = writes[written - 1] - writes[0] + 1 == written;
    const int vectors = (written + kLanes - 1) / kLanes;
    const long x_line = static_cast<long>(size.width) * inputs;
    auto block = [&](auto constant, int v) {
      constexpr int N = constant.value;
      const int first_column = v * kLanes, count = std::min(written - first_column, N * kLanes);
      const Target target{to, outputs, writes + first_column, count, in_a_row};
      // Where a pixel's gradients are far from the next one's, a copy of them fits the cache, which
      // nine taps repay.
      const bool picked = !in_a_row || (taps > 1 && outputs > N * kLanes);
      const int pitch = picked ? N * kLanes : outputs;
      if (picked) pick<N>(size, g, outputs, target.writes, count, in_a_row, room.columns);
      const Cell* gradients = picked ? room.columns : g + target.writes[0];
      const int some = std::max(1, (pitch > 3 * kLanes ? 64 : 128) / size.width);
      const long g_line = static_cast<long>(size.width) * pitch;
      for (int begin = 0; begin < size.height; begin += some)
        for (int tap = 0; tap < taps; ++tap) {
          const int dy = taps == 1 ? 0 : tap / 3 - 1, dx = taps == 1 ? 0 : tap % 3 - 1;
          // Where the gradients are whose inputs are inside the map.
          const int y0 = std::max(begin, -dy), x0 = std::max(0, -dx);
          const int y1 = std::min({begin + some, size.height, size.height - dy});
          const int x1 = std::min(size.width, size.width - dx);
          if (y0 >= y1 || x0 >= x1) continue;
          const Patch patch{x + (y0 + dy) * x_line + (x0 + dx) * inputs,
                            gradients + y0 * g_line + x0 * pitch,
                            inputs, x_line, pitch, g_line, y1 - y0, x1 - x0};
          evenly<kMostBeside<N>>(read, [&](auto many, int in) {
            alignas(64) float sums[kMostBeside<N> * N * kLanes];
            if (joins)
              outer_block<many.value, N, false>(patch, reads + in, sums);
            else
              outer_block<many.value, N, true>(patch, reads + in, sums);
            target.add(reads + in, many.value, sums, N * kLanes,
                       static_cast<long>(tap) * inputs * outputs);
          });
        }
    };
    for (int v = 0; v < vectors;) {
      const int n = vectors_of(vectors - v);
      with_constant<3>(n, [&](auto constant) { block(constant, v); });
      v += n;
    }
  });
}

// Adds the gradient of a 3x3 kernel `[9][inputs][outputs]`.
inline void add_weight_gradient(const ProductRoom& room, Size size, const Cell* x, int inputs,
                                const Cell* g, int outputs, float* to, const Joins* joins) {
  // With few inputs, as joins have, the transformation costs as much as it saves.
  if (kWinograd && !joins)
    add_in_planes(room.planes, size, x, inputs, g, outputs, to);
  else
    add_directly(room, size, x, inputs, g, outputs, 9, to, joins);
}

}  // namespace vsr::training
