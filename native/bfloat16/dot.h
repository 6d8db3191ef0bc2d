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

template <int Blocks, class ForEach>
inline __attribute__((always_inline)) void multiply_tiles(const Cell* weights, const float* bias,
                                                          long pitch, float* to,
                                                          ForEach&& samples) {
  for (int block = 0; block < Blocks; ++block) {
    __m512 sums[kTileOutputs][2];
#pragma GCC unroll 12
    for (int m = 0; m < kTileOutputs; ++m)
      sums[m][0] = sums[m][1] = _mm512_load_ps(bias + m * kTilePositions);
    const Cell* tile = weights + block * kWeightTile;
    samples([&](const Cell* first, const Cell* second) __attribute__((always_inline)) {
      for (int pair = 0; pair < kTilePairs; ++pair) {
        const auto x0 = (__m512bh)_mm512_load_si512(first);
        const auto x1 = (__m512bh)_mm512_load_si512(second);
#pragma GCC unroll 12
        for (int m = 0; m < kTileOutputs; ++m) {
          const auto w = (__m512bh)_mm512_set1_epi32(static_cast<int>(tile[m * kTilePositions + pair]));
          sums[m][0] = _mm512_dpbf16_ps(sums[m][0], w, x0);
          sums[m][1] = _mm512_dpbf16_ps(sums[m][1], w, x1);
        }
        first += pitch;
        second += pitch;
      }
      tile += Blocks * kWeightTile;
    });
    float* row = to + block * kTileOutputs * kColumns;
#pragma GCC unroll 12
    for (int m = 0; m < kTileOutputs; ++m, row += kColumns) {
      _mm512_store_ps(row, sums[m][0]);
      _mm512_store_ps(row + kTilePositions, sums[m][1]);
    }
    bias += kTileOutputs * kTilePositions;
  }
}

}  // namespace vsr::bfloat16
