// What depends on the statistics of a map: shuffle attention's gates, and the coefficients that
// weight features by their contrast. Forward, and back.
#pragma once

#include <algorithm>

#include "maps.h"

namespace vsr::training {

constexpr float kNormEps = 1e-5f, kMinVariance = 1e-12f;

inline void statistics(Size size, const Cell* t, float* mean, float* variance) {
  Sums sum, square;
  over(size, [&](int i, int j) { sum.v[j] += load(t + i); });
  sum.to(mean);
  for (int c = 0; c < C; ++c) mean[c] /= size.pixels();
  const Spread m(mean);
  over(size, [&](int i, int j) {
    const Vec d = load(t + i) - m.v[j];
    square.v[j] = fma(d, d, square.v[j]);
  });
  square.to(variance);
  for (int c = 0; c < C; ++c) variance[c] /= size.pixels();
}

// Fills mean, 1 / deviation, a and b.
inline void gate_forward(Size size, const Cell* t, const Gate& g, float* kept) {
  float variance[C];
  statistics(size, t, kept, variance);
  for (int c = 0; c < C; ++c) {
    const float mean = kept[c], r = 1.0f / __builtin_sqrtf(variance[c] + kNormEps);
    const float a = g.slope[c] * r;
    kept[C + c] = r;
    kept[2 * C + c] = a;
    kept[3 * C + c] = g.offset[c] + (g.by_mean[c] - a) * mean;
  }
}

// k t sigmoid(a t + b), a vector at a time.
struct Gated {
  const Cell* t;
  Spread a, b;
  Vec k;
  Gated(const Cell* t, const float* kept, float k)
      : t(t), a(kept + 2 * C), b(kept + 3 * C), k(all(k)) {}
  Vec operator()(int i, int j) const {
    const Vec x = load(t + i);
    return k * x * sigmoid(fma(a.v[j], x, b.v[j]));
  }
};

// From g, the gradient of k t sigmoid(a t + b), that of t; put(i, j, value) gets it. The slopes are
// steep where a map is flat: they meet the distance from the mean, not two large numbers. sigmoids:
// room for a map of them, which take longer to compute than to keep.
template <class Put>
inline void gate_backward(Size size, const Cell* t, const float* kept, const Gate& w,
                          const Gate& dw, float k, float* dk, const float* g,
                          float* sigmoids, Put put) {
  const Spread a(kept + 2 * C), b(kept + 3 * C), m(kept);
  Sums of_k, of_b, of_a;
  over(size, [&](int i, int j) {
    const Vec x = load(t + i), s = sigmoid(fma(a.v[j], x, b.v[j]));
    const Vec gx = load(g + i) * x, gxs = gx * s, curved = gxs - gxs * s;
    store(sigmoids + i, s);
    of_k.v[j] += gxs;
    of_b.v[j] += curved;
    of_a.v[j] = fma(curved, x - m.v[j], of_a.v[j]);
  });
  float sk[C], sb[C], sa[C], linear[C], constant[C];
  of_k.to(sk);
  of_b.to(sb);
  of_a.to(sa);
  for (int c = 0; c < C; ++c) {
    const float mean = kept[c], r = kept[C + c];
    if (dk) *dk += sk[c];
    const float db = k * sb[c], da = k * sa[c];
    dw.slope[c] += da * r;
    dw.offset[c] += db;
    dw.by_mean[c] += db * mean;
    linear[c] = -da * w.slope[c] * r * r * r / size.pixels();
    constant[c] = db * (w.by_mean[c] - kept[2 * C + c]) / size.pixels();
  }
  const Spread l(linear), o(constant);
  const Vec scale = all(k);
  over(size, [&](int i, int j) {
    const Vec x = load(t + i), s = load(sigmoids + i);
    const Vec slant = fma(a.v[j] * x, s - s * s, s);
    put(i, j, fma(scale * slant, load(g + i), fma(l.v[j], x - m.v[j], o.v[j])));
  });
}

inline float logistic(float x) { return 1.0f / (1.0f + __builtin_expf(-x)); }

inline void mlp(const Mlp& w, const float* z, float hidden[3], float out[C]) {
  for (int h = 0; h < 3; ++h) {
    float sum = w.squeeze_bias[h];
    for (int c = 0; c < C; ++c) sum += w.squeeze[c * 3 + h] * z[c];
    hidden[h] = std::max(sum, 0.0f);
  }
  for (int c = 0; c < C; ++c) {
    float sum = w.excite_bias[c];
    for (int h = 0; h < 3; ++h) sum += w.excite[h * C + c] * hidden[h];
    out[c] = std::max(sum, 0.0f);
  }
}

inline void mlp_backward(const Mlp& w, const Mlp& d, const float* z, const float* g, float* dz) {
  float hidden[3], out[C], of_hidden[3] = {};
  mlp(w, z, hidden, out);
  for (int c = 0; c < C; ++c) {
    if (out[c] <= 0) continue;
    const float s = logistic(out[c]), of_out = g[c] * s * (1 - s);
    d.excite_bias[c] += of_out;
    for (int h = 0; h < 3; ++h) {
      d.excite[h * C + c] += of_out * hidden[h];
      of_hidden[h] += of_out * w.excite[h * C + c];
    }
  }
  for (int c = 0; c < C; ++c) dz[c] = 0;
  for (int h = 0; h < 3; ++h) {
    if (hidden[h] <= 0) continue;
    d.squeeze_bias[h] += of_hidden[h];
    for (int c = 0; c < C; ++c) {
      d.squeeze[c * 3 + h] += of_hidden[h] * z[c];
      dz[c] += of_hidden[h] * w.squeeze[c * 3 + h];
    }
  }
}

// Fills mean, deviation and coefficient.
inline void coefficient_forward(Size size, const Cell* x, const Coefficient& w, float* kept) {
  float variance[C], hidden[3], a[C], b[C];
  statistics(size, x, kept, variance);
  for (int c = 0; c < C; ++c)
    kept[C + c] = __builtin_sqrtf(std::max(variance[c], kMinVariance));
  mlp(w.mean, kept, hidden, a);
  mlp(w.deviation, kept + C, hidden, b);
  for (int c = 0; c < C; ++c) kept[2 * C + c] = 0.5f * (logistic(a[c]) + logistic(b[c]));
}

// Adds to dx what comes through the coefficient, whose gradient is g.
inline void coefficient_backward(Size size, const Cell* x, const Coefficient& w,
                                 const Coefficient& d, const float* kept, const float* g,
                                 float* dx) {
  float half[C], of_mean[C], of_deviation[C], linear[C], constant[C];
  for (int c = 0; c < C; ++c) half[c] = 0.5f * g[c];
  mlp_backward(w.mean, d.mean, kept, half, of_mean);
  mlp_backward(w.deviation, d.deviation, kept + C, half, of_deviation);
  for (int c = 0; c < C; ++c) {
    const float deviation = kept[C + c];
    const bool real = deviation * deviation > kMinVariance;
    linear[c] = real ? of_deviation[c] / (deviation * size.pixels()) : 0.0f;
    constant[c] = of_mean[c] / size.pixels();
  }
  const Spread l(linear), o(constant), m(kept);
  over(size, [&](int i, int j) {
    store(dx + i, load(dx + i) + fma(l.v[j], load(x + i) - m.v[j], o.v[j]));
  });
}

}  // namespace vsr::training
