// The wide path's pixel-by-pixel products, expand and reduce, one map after the other.
#pragma once

#include "../maps.h"
#include "../packed.h"

namespace vsr::training {

// relu(x * expand + bias), and the other outputs of `expand`, if there are any.
inline void expand(const ProductRoom& room, Size size, const Cell* x, const Wide& w,
                   const PackedWide& p, Cell* extra) {
  pointwise(size, x, p.expand.forward, [&](int at, int rows, const float* sums) {
    put_rows<true>(at, rows, sums, 0, w.wide, w.expand_bias, room.wide);
    if (extra) put_rows(at, rows, sums, w.wide, w.extra, nullptr, extra);
  });
}

// reduced: of relu(x * expand + bias); extra: the other outputs of `expand`, if there are any.
inline void wide_products(const ProductRoom& room, Size size, const Cell* x, const Wide& w,
                          const PackedWide& p, Cell* reduced, Cell* extra) {
  expand(room, size, x, w, p, extra);
  pointwise(size, room.wide, p.reduce.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, w.reduced, w.reduce_bias, reduced);
  });
}

// Adds the gradients of both products' weights and of the first one's bias to d, and the input's to
// dx. narrow: the gradient of what wide_products gives; extra: of its extra outputs.
inline void wide_products_backward(const ProductRoom& room, Size size, const Cell* x,
                                   const Wide& w, const Wide& d, const PackedWide& p,
                                   const Cell* narrow, const Cell* extra, float* dx,
                                   const Joins* joins) {
  const int all_outputs = w.wide + w.extra;
  // The expanded features again, which are too large to keep.
  expand(room, size, x, w, p, nullptr);
  add_directly(room, size, room.wide, w.wide, narrow, w.reduced, 1, d.reduce, nullptr);
  // Their gradient takes their place, beside the extra outputs'.
  Cell* dh = room.wide;
  if (w.extra) {
    // Rows grow: from the last pixel to the first.
    for (int at = size.pixels() - 1; at >= 0; --at)
      std::memmove(dh + 1L * at * all_outputs, dh + 1L * at * w.wide, sizeof(Cell) * w.wide);
  }
  pointwise(size, narrow, p.reduce.backward, [&](int at, int rows, const float* sums) {
    for (int r = 0; r < rows; ++r) {
      Cell* row = dh + static_cast<long>(at + r) * all_outputs;
      over_channels(w.wide, [&](int c, Mask mask) {
        const Vec v = load(sums + r * kMostOutputs + c);
        store(row + c, where_positive(load(row + c, mask), v), mask);
      });
      if (w.extra)
        std::memcpy(row + w.wide, extra + static_cast<long>(at + r) * C, sizeof(Cell) * C);
    }
  });
  add_column_sums(size, dh, all_outputs, w.wide, d.expand_bias);
  add_directly(room, size, x, w.inputs, dh, all_outputs, 1, d.expand, joins);
  pointwise(size, dh, p.expand.backward, [&](int at, int rows, const float* sums) {
    put_floats<true>(at, rows, sums, w.inputs, dx);
  });
}

}  // namespace vsr::training
