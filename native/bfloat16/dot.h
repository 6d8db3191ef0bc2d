// Products by AVX-512's VDPBF16PS, which adds sixteen pairs of products to sixteen float32 sums.
//
// A processor has it without AMX from AMD's Zen 4 and Intel's Cooper Lake on. Twelve outputs at two
// groups of positions are twenty-four sums; with two rows of samples and a weight they leave five of
// the thirty-two registers.
#pragma once

#include <immintrin.h>

#include "denormals.h"
#include "products.h"

namespace vsr::bfloat16 {

class Core {
 public:
  static const char* obstacle() { return nullptr; }

 private:
  WithoutDenormals without_denormals_;
};

// Where a tile of weights has those of an output and a pair.
constexpr int weight_at(int output, int pair) { return pair * kTileOutputs + output; }

// Sums of twelve outputs at Groups groups of positions, one or two.
template <int Groups>
class Product {
 public:
  inline __attribute__((always_inline)) Product() {
#pragma GCC unroll 12
    for (int m = 0; m < kTileOutputs; ++m)
#pragma GCC unroll 2
      for (int n = 0; n < Groups; ++n) sums_[m][n] = _mm512_setzero_ps();
  }
  // bias: [12][16], a value to a row.
  inline __attribute__((always_inline)) explicit Product(const float* bias) {
#pragma GCC unroll 12
    for (int m = 0; m < kTileOutputs; ++m)
#pragma GCC unroll 2
      for (int n = 0; n < Groups; ++n) sums_[m][n] = _mm512_load_ps(bias + m * kTilePositions);
  }

  // weights: [pairs][12]. Rows of samples, a row to a pair, are `pitch` apart; groups, `next`.
  inline __attribute__((always_inline)) void add(const Cell* weights, const Cell* samples,
                                                 long next, long pitch, int pairs) {
    for (int pair = 0; pair < pairs; ++pair) {
      __m512bh x[Groups];
#pragma GCC unroll 2
      for (int n = 0; n < Groups; ++n) x[n] = (__m512bh)_mm512_load_si512(samples + n * next);
#pragma GCC unroll 12
      for (int m = 0; m < kTileOutputs; ++m) {
        const auto w = (__m512bh)_mm512_set1_epi32(static_cast<int>(weights[m]));
#pragma GCC unroll 2
        for (int n = 0; n < Groups; ++n) sums_[m][n] = _mm512_dpbf16_ps(sums_[m][n], w, x[n]);
      }
      weights += kTileOutputs;
      samples += pitch;
    }
  }

  // Outputs are `line` floats apart, groups `next`.
  inline __attribute__((always_inline)) void store(float* to, long line, long next) const {
#pragma GCC unroll 12
    for (int m = 0; m < kTileOutputs; ++m)
#pragma GCC unroll 2
      for (int n = 0; n < Groups; ++n) _mm512_store_ps(to + m * line + n * next, sums_[m][n]);
  }

 private:
  __m512 sums_[kTileOutputs][Groups];
};

template <int Blocks, class ForEach>
inline __attribute__((always_inline)) void multiply_tiles(const Cell* weights, const float* bias,
                                                          long pitch, float* to,
                                                          ForEach&& samples) {
  for (int block = 0; block < Blocks; ++block) {
    Product<2> sums(bias + block * kTileOutputs * kTilePositions);
    const Cell* tile = weights + block * kWeightTile;
    samples([&](const Cell* first, const Cell* second) __attribute__((always_inline)) {
      sums.add(tile, first, second - first, pitch, kTilePairs);
      tile += Blocks * kWeightTile;
    });
    sums.store(to + block * kTileOutputs * kColumns, kColumns, kTilePositions);
  }
}

}  // namespace vsr::bfloat16
