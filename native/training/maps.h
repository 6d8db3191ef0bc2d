// What is done to whole maps, and with the results of products.
#pragma once

#include "scratch.h"

namespace vsr::training {

// Vectors are taken three at a time: they hold whole pixels.
constexpr int kRun = 3 * kLanes;
static_assert(kRun % C == 0);

// Values for 24 channels, laid out as a run.
struct Spread {
  Vec v[3];
  explicit Spread(const float* c) {
    alignas(64) float run[kRun];
    for (int i = 0; i < kRun; i += C) std::memcpy(run + i, c, 4 * C);
    for (int j = 0; j < 3; ++j) v[j] = load(run + kLanes * j);
  }
};
struct Sums {
  Vec v[3] = {};
  void to(float* c) const {
    alignas(64) float run[kRun];
    for (int j = 0; j < 3; ++j) store(run + kLanes * j, v[j]);
    for (int i = 0; i < C; ++i) {
      c[i] = run[i];
      for (int k = i + C; k < kRun; k += C) c[i] += run[k];
    }
  }
};

// each(element, j): a vector of elements from `element` on, the j-th third of a run.
template <class Each>
inline void over(Size size, Each each) {
  for (int i = 0; i < size.pixels() * C; i += kRun) {
    each(i, 0);
    each(i + kLanes, 1);
    each(i + 2 * kLanes, 2);
  }
}

// What a product's result becomes: `rows` pixels from p on, `kMostOutputs` sums each.
template <bool kRelu = false>
inline void put_rows(int p, int rows, const float* sums, int begin, int count, const float* bias,
                     Cell* to) {
  Cell* row = to + static_cast<long>(p) * count;
  over_channels(count, [&](int c, Mask mask) {
    const Vec add = bias ? load(bias + c, mask) : Vec{};
    for (int r = 0; r < rows; ++r) {
      Vec v = load(sums + r * kMostOutputs + begin + c) + add;
      if (kRelu) v = maximum(v, Vec{});
      store(row + static_cast<long>(r) * count + c, v, mask);
    }
  });
}

template <bool kAdd>
inline void put_floats(int p, int rows, const float* sums, int count, float* to) {
  float* row = to + static_cast<long>(p) * count;
  for (int r = 0; r < rows; ++r)
    over_channels(count, [&](int c, Mask mask) {
      Vec v = load(sums + r * kMostOutputs + c);
      if (kAdd) v += load(row + r * count + c, mask);
      store(row + r * count + c, v, mask);
    });
}

inline void add_column_sums(Size size, const Cell* g, int channels, int count, float* to) {
  over_channels(count, [&](int c, Mask mask) {
    Vec even{}, odd{};
    const Cell* at = g + c;
    int p = 0;
    for (; p + 2 <= size.pixels(); p += 2, at += 2 * channels) {
      even += load(at, mask);
      odd += load(at + channels, mask);
    }
    if (p < size.pixels()) even += load(at, mask);
    store(to + c, load(to + c, mask) + even + odd, mask);
  });
}

// Adds the gradient of a 3x3 kernel `[9][inputs][outputs]`.
inline void add_weight_gradient(Scratch& s, const Cell* x, int inputs, const Cell* g, int outputs,
                                float* to, const Joins* joins = nullptr) {
  add_weight_gradient(s.products, s.size, x, inputs, g, outputs, to, joins);
}

inline void side_by_side(Size size, const Cell* a, const Cell* b, Cell* to) {
  for (int at = 0; at < size.pixels(); ++at) {
    std::memcpy(to + 2L * C * at, a + 1L * C * at, sizeof(Cell) * C);
    std::memcpy(to + 2L * C * at + C, b + 1L * C * at, sizeof(Cell) * C);
  }
}

// 24 channels in another order: to[c] is from[order[c]].
template <class From>
inline void reorder(const From* from, const int* order, float* to) {
  for (int c = 0; c < C; ++c) to[c] = value_of(from[order[c]]);
}
constexpr int kPixel = (C + kLanes - 1) / kLanes * kLanes;  // room for one, in whole vectors

}  // namespace vsr::training
