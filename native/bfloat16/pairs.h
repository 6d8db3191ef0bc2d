// Pairs of channels: stored as two bfloat16 in a cell, computed with as two vectors of float32.
#pragma once

#include "../gates.h"
#include "../simd.h"
#include "products.h"

namespace vsr::bfloat16 {

static_assert(kLanes == kTilePositions);

constexpr int kPairs = kChannels / 2;

struct Pair {
  Vec even, odd;
};

// bfloat16 is the upper half of float32.
inline Vec even_of(__m512i cells) { return reinterpret_cast<Vec>(_mm512_slli_epi32(cells, 16)); }
inline Vec odd_of(__m512i cells) {
  return reinterpret_cast<Vec>(_mm512_and_si512(cells, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

inline Pair load_pair(const Cell* from) {
  const __m512i cells = _mm512_loadu_si512(from);
  return {even_of(cells), odd_of(cells)};
}

// One channel of a pair.
inline Vec load_half(const Cell* from, bool odd) {
  const __m512i cells = _mm512_loadu_si512(from);
  return odd ? odd_of(cells) : even_of(cells);
}

// Rounded to nearest, halves upwards. In integers, which takes no shuffle: a shuffle competes with
// the tiles for their port.
inline __m512i cells_of(Pair pair) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  const __m512i even = _mm512_add_epi32(reinterpret_cast<__m512i>(pair.even), half);
  const __m512i odd = _mm512_add_epi32(reinterpret_cast<__m512i>(pair.odd), half);
  constexpr int kUpperOfThirdElseFirst = 0xca;  // mask ? odd : even
  return _mm512_ternarylogic_epi32(upper, odd, _mm512_srli_epi32(even, 16), kUpperOfThirdElseFirst);
}
inline void store_cells(Cell* to, __m512i cells) { _mm512_storeu_si512(to, cells); }
// Returns what is there now. Statistics are taken of that: where a picture is flat, a gate multiplies
// what a value is away from the mean by hundreds, and rounding must not be a part of it.
inline Pair store_pair(Cell* to, Pair pair) {
  const __m512i cells = cells_of(pair);
  store_cells(to, cells);
  return {even_of(cells), odd_of(cells)};
}

// ReLU on both halves of cells: bfloat16's sign is that of a 16-bit integer.
inline __m512i relu_cells(__m512i cells) {
  return _mm512_max_epi16(cells, _mm512_setzero_si512());
}

inline Vec load_masked(__mmask16 mask, const float* from) {
  return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask, from));
}

constexpr float kMinusLog2E = -1.44269504f;

// 1 / (1 + 2^t) to 2e-4, for t = -x log2(e): the sigmoid of x. What is stored has 8 bits.
//
// 2^t = 2^floor(t) * 2^f, 0 <= f < 1: a cubic, within 7.5e-5 of 2^f.
inline Vec sigmoid_of_scaled(Vec t) {
  constexpr int kMinusFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const auto exponent = reinterpret_cast<__m512>(t);
  const Vec f = reinterpret_cast<Vec>(_mm512_reduce_ps(exponent, kMinusFloor));
  Vec p = f * 0.0780245f + 0.2260672f;
  p = p * f + 0.6958335f;
  p = p * f + 0.9999252f;
  const __m512 power = _mm512_scalef_ps(reinterpret_cast<__m512>(p), exponent);
  return reinterpret_cast<Vec>(_mm512_rcp14_ps(_mm512_add_ps(power, _mm512_set1_ps(1.0f))));
}
inline Vec sigmoid(Vec x) { return sigmoid_of_scaled(x * kMinusLog2E); }

// vsr::Gate for one channel, its numbers spread over vectors.
class ChannelGate {
 public:
  ChannelGate(const Gate& gate, int channel)
      : slope_(broadcast(gate.slope[channel] * kMinusLog2E)),
        offset_(broadcast(gate.offset[channel] * kMinusLog2E)),
        constant_(broadcast(gate.constant[channel])),
        spatial_(gate.slope[channel] != 0) {}
  Vec operator()(Vec t) const {
    return t * (spatial_ ? sigmoid_of_scaled(t * slope_ + offset_) : constant_);
  }

 private:
  Vec slope_, offset_, constant_;
  bool spatial_;
};

class PairGate {
 public:
  PairGate(const Gate& gate, int pair) : even_(gate, 2 * pair), odd_(gate, 2 * pair + 1) {}
  Pair operator()(Pair t) const { return {even_(t.even), odd_(t.odd)}; }

 private:
  ChannelGate even_, odd_;
};

// A number for each channel of a pair.
struct PairScale {
  Vec even, odd;
  PairScale(const float* of, int pair)
      : even(broadcast(of[2 * pair])), odd(broadcast(of[2 * pair + 1])) {}
};

inline Pair operator+(Pair a, Pair b) { return {a.even + b.even, a.odd + b.odd}; }
inline Pair operator*(Pair a, Pair b) { return {a.even * b.even, a.odd * b.odd}; }
inline Pair operator*(Pair a, const PairScale& by) { return {a.even * by.even, a.odd * by.odd}; }
inline Pair operator*(Pair a, float by) { return {a.even * by, a.odd * by}; }
inline Pair sigmoid(Pair a) { return {sigmoid(a.even), sigmoid(a.odd)}; }

}  // namespace vsr::bfloat16
