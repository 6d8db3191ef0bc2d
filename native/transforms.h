// Winograd's F(4, 3): four neighbouring outputs of a kernel of three by six products instead of
// twelve.
//
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308. With
// points 0, +-a, +-b and infinity, the outputs are A^T [(G g) * (B^T d)] for a kernel g and the six
// inputs d around them. In B^T, the row of a finite point p holds the coefficients of the product of
// (x - q) over the other points q; that of infinity takes all of them.
#pragma once

#include "layout.h"

namespace vsr {

constexpr int kReach = kTile + 2;  // inputs of a tile, and products

// Nearer together than the usual 1 and 2, which loses fewer digits.
constexpr float kPointA = 0.625f;
constexpr float kPointB = 1.5f;

// B^T on six values, `step` apart.
inline __attribute__((always_inline)) void inputs_1d(const Vec* d, int step, Vec* out,
                                                     int out_step) {
  constexpr float a = kPointA, b = kPointB, aa = a * a, bb = b * b;
  const Vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step],
            d5 = d[5 * step];
  const Vec even_a = d4 - d2 * bb, odd_a = d3 - d1 * bb;
  const Vec even_b = d4 - d2 * aa, odd_b = d3 - d1 * aa;
  out[0] = d0 * (aa * bb) + (d4 - d2 * (aa + bb));
  out[out_step] = even_a + odd_a * a;
  out[2 * out_step] = even_a - odd_a * a;
  out[3 * out_step] = even_b + odd_b * b;
  out[4 * out_step] = even_b - odd_b * b;
  out[5 * out_step] = d1 * (aa * bb) + (d5 - d3 * (aa + bb));
}

// A^T on six values, `step` apart, plus a constant.
inline __attribute__((always_inline)) void outputs_1d(const Vec* m, int step, Vec* out,
                                                      int out_step, Vec constant) {
  constexpr float a = kPointA, b = kPointB;
  const Vec sum_a = m[step] + m[2 * step], difference_a = m[step] - m[2 * step];
  const Vec sum_b = m[3 * step] + m[4 * step], difference_b = m[3 * step] - m[4 * step];
  out[0] = (m[0] + constant) + (sum_a + sum_b);
  out[out_step] = difference_a * a + (difference_b * b + constant);
  out[2 * out_step] = sum_a * (a * a) + (sum_b * (b * b) + constant);
  out[3 * out_step] =
      difference_a * (a * a * a) + (difference_b * (b * b * b) + (m[5 * step] + constant));
}

constexpr double kFinitePoints[5] = {0, kPointA, -double{kPointA}, kPointB, -double{kPointB}};

// G on three values: each point's powers over the product of its distances to the others.
inline void kernel_1d(const double* g, int step, double* out, int out_step) {
  for (int i = 0; i < 5; ++i) {
    const double p = kFinitePoints[i];
    double distance = 1;
    for (double q : kFinitePoints)
      if (q != p) distance *= p - q;
    out[i * out_step] = (g[0] + p * g[step] + p * p * g[2 * step]) / distance;
  }
  out[5 * out_step] = g[2 * step];
}

}  // namespace vsr
