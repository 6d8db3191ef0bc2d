// The one inner loop: six output channels of a matrix product, for a few vectors of samples.
#pragma once

#include "layout.h"

namespace vsr {

// sums[m][n] += sum over k of weights[k][m] * in[k * stride + n * kLanes]
//
// With the inputs and a weight, the sums fill the registers; see kVectors.
template <int N>
inline __attribute__((always_inline)) void multiply_block(const float* in, long stride,
                                                          const float* weights, int depth,
                                                          Vec (&sums)[kBlock][N]) {
  Vec s[kBlock][N];
  for (int m = 0; m < kBlock; ++m)
    for (int n = 0; n < N; ++n) s[m][n] = sums[m][n];
#pragma GCC unroll 2
  for (int k = 0; k < depth; ++k) {
    Vec x[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) x[n] = load(in + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kBlock; ++m) {
      const Vec w = broadcast(weights[m]);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) s[m][n] += w * x[n];
    }
    in += stride;
    weights += kBlock;
  }
  for (int m = 0; m < kBlock; ++m)
    for (int n = 0; n < N; ++n) sums[m][n] = s[m][n];
}

}  // namespace vsr
