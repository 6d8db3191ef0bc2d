// What is done to whole maps, and with the results of products.
#pragma once

#include "scratch.h"
#include "tiles.h"

namespace vsr::training {

// Values for 24 channels, laid out for two pixels.
struct Spread {
  Vec v[3];
  explicit Spread(const float* c) {
    alignas(64) float two[48];
    std::memcpy(two, c, 96);
    std::memcpy(two + 24, c, 96);
    for (int j = 0; j < 3; ++j) v[j] = _mm512_load_ps(two + 16 * j);
  }
};
struct Sums {
  Vec v[3] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  void to(float* c) const {
    alignas(64) float two[48];
    for (int j = 0; j < 3; ++j) _mm512_store_ps(two + 16 * j, v[j]);
    for (int i = 0; i < C; ++i) c[i] = two[i] + two[i + C];
  }
};

// each(element, j): sixteen elements from `element` on, the j-th third of two pixels.
template <class Each>
inline void over(Size size, Each each) {
  for (int i = 0; i < size.pixels() * C; i += 48) {
    each(i, 0);
    each(i + 16, 1);
    each(i + 32, 2);
  }
}

template <bool kRelu = false>
inline void put_rows(int p, const float* sums, int begin, int count, const float* bias, bf16* to) {
  bf16* row = to + static_cast<long>(p) * count;
  for (int c = 0; c < count; c += 16) {
    const __mmask16 mask = first(count - c);
    const Vec add = bias ? _mm512_maskz_loadu_ps(mask, bias + c) : _mm512_setzero_ps();
    for (int r = 0; r < 16; ++r) {
      Vec v = load(sums + r * kMostOutputs + begin + c) + add;
      if (kRelu) v = _mm512_max_ps(v, _mm512_setzero_ps());
      store(row + static_cast<long>(r) * count + c, v, mask);
    }
  }
}

template <bool kAdd>
inline void put_floats(int p, const float* sums, int count, float* to) {
  float* row = to + static_cast<long>(p) * count;
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < count; c += 16) {
      const __mmask16 mask = first(count - c);
      Vec v = load(sums + r * kMostOutputs + c);
      if (kAdd) v += _mm512_maskz_loadu_ps(mask, row + r * count + c);
      _mm512_mask_storeu_ps(row + r * count + c, mask, v);
    }
}

inline void add_column_sums(Size size, const bf16* g, int channels, int count, float* to) {
  for (int c = 0; c < count; c += 16) {
    const __mmask16 mask = first(count - c);
    Vec even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    const bf16* at = g + c;
    for (int p = 0; p < size.pixels(); p += 2, at += 2 * channels) {
      even += load(at, mask);
      odd += load(at + channels, mask);
    }
    _mm512_mask_storeu_ps(to + c, mask, _mm512_maskz_loadu_ps(mask, to + c) + even + odd);
  }
}

// Adds the gradient of a kernel `[taps][inputs][outputs]`.
inline void add_weight_gradient(Scratch& s, const bf16* x, int inputs, const bf16* g, int outputs,
                                int taps, float* to) {
  bf16* pairs = s.pairs[(outputs + 15) / 16 - 1];
  transpose(s.size, x, inputs, s.transposed);
  pair_up(s.size, g, outputs, pairs);
  weight_gradient(s.size, s.transposed, inputs, pairs, outputs, taps,
                  [&](int tap, int in, const float* sums, int tile) {
                    const __mmask16 mask = first(outputs - 16 * tile);
                    float* row = to + (static_cast<long>(tap) * inputs + in) * outputs + 16 * tile;
                    _mm512_mask_storeu_ps(row, mask, _mm512_maskz_loadu_ps(mask, row) + load(sums));
                  });
}

inline void side_by_side(Size size, const bf16* a, const bf16* b, bf16* to) {
  for (int at = 0; at < size.pixels(); ++at) {
    std::memcpy(to + 48L * at, a + 24L * at, 48);
    std::memcpy(to + 48L * at + 24, b + 24L * at, 48);
  }
}

// Of 24 channels, for a permutation in registers: which one each is taken from.
struct Order {
  __m512i low, high;
  explicit Order(const int* from)
      : low(_mm512_loadu_si512(from)), high(_mm512_maskz_loadu_epi32(0xff, from + 16)) {}
};

}  // namespace vsr::training
