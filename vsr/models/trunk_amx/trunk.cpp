// FDIWN's trunk in training, a group of it at a time: the forward pass, which keeps what its
// gradient needs on a tape, and the backward pass. The structure is `vsr.models.fdiwn_training`'s,
// whose effective weights come as one row of numbers, in the order of the structures below and each
// as [taps][inputs][outputs]; their gradients go back in the same order. Statistics are each image's own, so images never meet.
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <thread>

#include "kernels.h"
#include "layout.h"
#include "prepare.h"

namespace vsr {

constexpr float kNormEps = 1e-5f, kMinVariance = 1e-12f, kLeak = 0.05f;

// Packed weights, forward and backward.

struct Room {
  bf16* at;
  const bf16* take(long count) {
    const bf16* found = at;
    at += count;
    return found;
  }
};

struct Pointwise {
  Packed forward, backward;
  Pointwise(Room& room, const float* w, int inputs, int outputs) {
    forward = {nullptr, 1, inputs, outputs};
    backward = {nullptr, 1, outputs, inputs};
    forward.data = room.take(forward.size());
    backward.data = room.take(backward.size());
    if (!w) return;
    pack(forward, const_cast<bf16*>(forward.data),
         [=](int, int in, int out) { return w[in * outputs + out]; });
    pack(backward, const_cast<bf16*>(backward.data),
         [=](int, int in, int out) { return w[out * outputs + in]; });
  }
};

struct Conv {
  Packed forward, backward;
  Conv(Room& room, const float* w, int inputs, int outputs) {
    forward = {nullptr, 3, 3 * inputs, outputs};
    backward = {nullptr, 3, 3 * outputs, inputs};
    forward.data = room.take(forward.size());
    backward.data = room.take(backward.size());
    if (!w) return;
    pack(forward, const_cast<bf16*>(forward.data), [=](int dy, int in, int out) {
      return w[((dy * 3 + in / inputs) * inputs + in % inputs) * outputs + out];
    });
    pack(backward, const_cast<bf16*>(backward.data), [=](int dy, int in, int out) {
      return w[(((2 - dy) * 3 + 2 - in / outputs) * inputs + out) * outputs + in % outputs];
    });
  }
};

struct PackedWide {
  Pointwise expand, reduce;
  Conv conv;
  PackedWide(Room& r, const Wide& w, bool fill)
      : expand(r, fill ? w.expand : nullptr, w.inputs, w.wide + w.extra),
        reduce(r, fill ? w.reduce : nullptr, w.wide, w.reduced),
        conv(r, fill ? w.conv : nullptr, w.reduced, C) {}
};

struct PackedWcrw {
  PackedWide wide;
  Conv both;
  PackedWcrw(Room& r, const Wcrw& w, bool fill)
      : wide(r, w.wide, fill), both(r, fill ? w.both : nullptr, C, 2 * C) {}
};

struct PackedWdib {
  PackedWide wirw1, wirw2, wirw3, wirw4;
  PackedWcrw wcrw1, wcrw2;
  PackedWide fuse;
  Conv shortcut;
  PackedWdib(Room& r, const Wdib& w, bool fill)
      : wirw1(r, w.wirw1.wide, fill), wirw2(r, w.wirw2.wide, fill), wirw3(r, w.wirw3.wide, fill),
        wirw4(r, w.wirw4.wide, fill), wcrw1(r, w.wcrw1, fill), wcrw2(r, w.wcrw2, fill),
        fuse(r, w.fuse, fill), shortcut(r, fill ? w.shortcut : nullptr, 2 * C, C) {}
};

struct PackedGroup {
  PackedWdib block1, block2, block3;
  Conv skip, merge1, merge2;
  PackedWide wirw;
  PackedGroup(Room& r, const Group& w, bool fill)
      : block1(r, w.block1, fill), block2(r, w.block2, fill), block3(r, w.block3, fill),
        skip(r, fill ? w.skip : nullptr, C, C), merge1(r, fill ? w.merge1 : nullptr, 2 * C, C),
        merge2(r, fill ? w.merge2 : nullptr, 2 * C, C), wirw(r, w.wirw.wide, fill) {}
};

// The tape of an image.

struct WideTape {
  bf16 *reduced, *t;
  float* gate;  // mean, 1 / deviation, a, b
  WideTape(Arena& a, Size s, int reduced_channels)
      : reduced(a.map(1L * s.pixels() * reduced_channels)), t(a.map(1L * s.pixels() * C)),
        gate(a.floats(4 * C)) {}
};

struct WdibTape {
  bf16 *x, *p, *a, *a_distil, *b1, *a1, *q, *b, *b_distil, *a2, *b2, *z, *calibrated, *y;
  WideTape wirw1, wcrw1, wirw2, wcrw2, wirw3, wirw4, fuse;
  float *ca1, *cb1, *ca2, *cb2, *gate;  // mean, deviation, coefficient
  WdibTape(Arena& m, Size s)
      : x(map(m, s)), p(map(m, s)), a(map(m, s)), a_distil(map(m, s)), b1(map(m, s)),
        a1(map(m, s)), q(map(m, s)), b(map(m, s)), b_distil(map(m, s)), a2(map(m, s)),
        b2(map(m, s)), z(m.map(2L * s.pixels() * C)), calibrated(map(m, s)), y(map(m, s)),
        wirw1(m, s, C / 2), wcrw1(m, s, C / 2), wirw2(m, s, C / 2), wcrw2(m, s, C / 2),
        wirw3(m, s, C / 2), wirw4(m, s, C / 2), fuse(m, s, C), ca1(m.floats(3 * C)),
        cb1(m.floats(3 * C)), ca2(m.floats(3 * C)), cb2(m.floats(3 * C)),
        gate(m.floats(4 * C)) {}
  static bf16* map(Arena& m, Size s) { return m.map(1L * s.pixels() * C); }
};

struct GroupTape {
  WdibTape block1, block2, block3;
  bf16 *x, *first, *second, *body;  // first: o1, o2; second: c1, o3
  WideTape wirw;
  GroupTape(Arena& m, Size s)
      : block1(m, s), block2(m, s), block3(m, s), x(WdibTape::map(m, s)),
        first(m.map(2L * s.pixels() * C)), second(m.map(2L * s.pixels() * C)),
        body(WdibTape::map(m, s)), wirw(m, s, C / 2) {}
};

constexpr int kMostWide = 136;

// What a thread needs beside the tape. Borders are zeros from the beginning and stay so.
struct Scratch {
  Size size;
  bf16 *padded12, *padded24, *padded48, *wide, *narrow, *map1, *map2, *map3, *map48;
  bf16 *transposed, *pairs[9];
  float *f0, *f1, *f2, *f3, *f4, *f5, *f6, *f7, *f8, *f9, *f48;
  Scratch(Arena& m, Size s) : size(s) {
    padded12 = m.map(s.padded() * 12);
    padded24 = m.map(s.padded() * 24);
    padded48 = m.map(s.padded() * 48);
    wide = m.map(1L * s.pixels() * kMostWide);
    narrow = m.map(1L * s.pixels() * C);
    map1 = m.map(1L * s.pixels() * C);
    map2 = m.map(1L * s.pixels() * C);
    map3 = m.map(1L * s.pixels() * C);
    map48 = m.map(2L * s.pixels() * C);
    transposed = m.map(transposed_length(s) * round_up(kMostWide, 16) + 64);
    for (int tiles = 0; tiles < 9; ++tiles) pairs[tiles] = m.map(s.flat() * 16L * (tiles + 1));
    for (float** f : {&f0, &f1, &f2, &f3, &f4, &f5, &f6, &f7, &f8, &f9})
      *f = m.floats(1L * s.pixels() * C);
    f48 = m.floats(2L * s.pixels() * C);
  }
  bf16* padded(int channels) const {
    return channels == 12 ? padded12 : channels == 24 ? padded24 : padded48;
  }
};

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

inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }

void statistics(Size size, const bf16* t, float* mean, float* variance) {
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
void gate_forward(Size size, const bf16* t, const Gate& g, float* kept) {
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

// k t sigmoid(a t + b), sixteen at a time.
struct Gated {
  const bf16* t;
  Spread a, b;
  Vec k;
  Gated(const bf16* t, const float* kept, float k)
      : t(t), a(kept + 2 * C), b(kept + 3 * C), k(all(k)) {}
  Vec operator()(int i, int j) const {
    const Vec x = load(t + i);
    return k * x * sigmoid(fma(a.v[j], x, b.v[j]));
  }
};

// From g, the gradient of k t sigmoid(a t + b), that of t; put(i, j, value) gets it.
template <class Put>
void gate_backward(Size size, const bf16* t, const float* kept, const Gate& w, const Gate& dw,
                   float k, float* dk, const float* g, Put put) {
  const Spread a(kept + 2 * C), b(kept + 3 * C);
  Sums of_k, of_b, of_a;
  over(size, [&](int i, int j) {
    const Vec x = load(t + i), s = sigmoid(fma(a.v[j], x, b.v[j]));
    const Vec gx = load(g + i) * x, gxs = gx * s, curved = gxs - gxs * s;
    of_k.v[j] += gxs;
    of_b.v[j] += curved;
    of_a.v[j] = fma(curved, x, of_a.v[j]);
  });
  float sk[C], sb[C], sa[C], linear[C], constant[C];
  of_k.to(sk);
  of_b.to(sb);
  of_a.to(sa);
  for (int c = 0; c < C; ++c) {
    const float mean = kept[c], r = kept[C + c];
    if (dk) *dk += sk[c];
    const float db = k * sb[c], da = k * sa[c] - db * mean;
    dw.slope[c] += da * r;
    dw.offset[c] += db;
    dw.by_mean[c] += db * mean;
    linear[c] = -da * w.slope[c] * r * r * r / size.pixels();
    constant[c] = db * (w.by_mean[c] - kept[2 * C + c]) / size.pixels() - linear[c] * mean;
  }
  const Spread l(linear), o(constant);
  const Vec scale = all(k);
  over(size, [&](int i, int j) {
    const Vec x = load(t + i), s = sigmoid(fma(a.v[j], x, b.v[j]));
    const Vec slant = fma(a.v[j] * x, s - s * s, s);
    put(i, j, fma(scale * slant, load(g + i), fma(l.v[j], x, o.v[j])));
  });
}

// Results of products.

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

void add_column_sums(Size size, const bf16* g, int channels, int count, float* to) {
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
void add_weight_gradient(Scratch& s, const bf16* x, int inputs, const bf16* g, int outputs,
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

// Units.

void wide_forward(Scratch& s, const bf16* x, const Wide& w, const PackedWide& p, WideTape& t,
                  bf16* extra = nullptr) {
  const Size size = s.size;
  pointwise(size, x, p.expand.forward, [&](int at, const float* sums) {
    put_rows<true>(at, sums, 0, w.wide, w.expand_bias, s.wide);
    if (extra) put_rows(at, sums, w.wide, w.extra, nullptr, extra);
  });
  std::memset(s.wide + 1L * size.pixels() * w.wide, 0, 2 * kSlack);
  pointwise(size, s.wide, p.reduce.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, w.reduced, w.reduce_bias, t.reduced);
  });
  pad(size, t.reduced, w.reduced, s.padded(w.reduced));
  convolve(size, s.padded(w.reduced), p.conv.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, C, w.conv_bias, t.t);
  });
  gate_forward(size, t.t, w.gate, t.gate);
}

// Adds to dx, the input's gradient. g: of the unit's result; extra: of the extra outputs.
void wide_backward(Scratch& s, const bf16* x, const Wide& w, const Wide& d, const PackedWide& p,
                   const WideTape& t, const float* g, float* dx, const bf16* extra = nullptr) {
  const Size size = s.size;
  const int all_outputs = w.wide + w.extra;
  gate_backward(size, t.t, t.gate, w.gate, d.gate, *w.scale, d.scale, g,
                [&](int i, int, Vec v) { store(s.map1 + i, v); });
  add_column_sums(size, s.map1, C, C, d.conv_bias);
  add_weight_gradient(s, t.reduced, w.reduced, s.map1, C, 9, d.conv);
  pad(size, s.map1, C, s.padded24);
  convolve(size, s.padded24, p.conv.backward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, w.reduced, nullptr, s.narrow);
  });
  add_column_sums(size, s.narrow, w.reduced, w.reduced, d.reduce_bias);
  // The expanded features again, which are too large to keep.
  pointwise(size, x, p.expand.forward, [&](int at, const float* sums) {
    put_rows<true>(at, sums, 0, w.wide, w.expand_bias, s.wide);
  });
  add_weight_gradient(s, s.wide, w.wide, s.narrow, w.reduced, 1, d.reduce);
  // Their gradient takes their place, beside the extra outputs'.
  bf16* dh = s.wide;
  if (w.extra) {
    // Rows grow: from the last pixel to the first.
    for (int at = size.pixels() - 1; at >= 0; --at)
      std::memmove(s.wide + 1L * at * all_outputs, s.wide + 1L * at * w.wide, 2L * w.wide);
  }
  pointwise(size, s.narrow, p.reduce.backward, [&](int at, const float* sums) {
    for (int r = 0; r < 16; ++r) {
      bf16* row = dh + static_cast<long>(at + r) * all_outputs;
      for (int c = 0; c < w.wide; c += 16) {
        const __mmask16 mask = first(w.wide - c);
        const __mmask16 on = _mm512_cmp_ps_mask(load(row + c, mask), _mm512_setzero_ps(),
                                                _CMP_GT_OQ);
        store(row + c, _mm512_maskz_mov_ps(on, load(sums + r * kMostOutputs + c)), mask);
      }
      if (w.extra) std::memcpy(row + w.wide, extra + static_cast<long>(at + r) * C, 2 * C);
    }
  });
  std::memset(dh + static_cast<long>(size.pixels()) * all_outputs, 0, 2 * kSlack);
  add_column_sums(size, dh, all_outputs, w.wide, d.expand_bias);
  add_weight_gradient(s, x, w.inputs, dh, all_outputs, 1, d.expand);
  pointwise(size, dh, p.expand.backward, [&](int at, const float* sums) {
    put_floats<true>(at, sums, w.inputs, dx);
  });
}

// dx = skip * g, and the wide path's.
void wirw_backward(Scratch& s, const bf16* x, const Wirw& w, const Wirw& d, const PackedWide& p,
                   const WideTape& t, const float* g, float* dx) {
  const Vec skip = all(*w.skip);
  Vec sum = _mm512_setzero_ps();
  over(s.size, [&](int i, int) {
    const Vec v = load(g + i);
    sum = fma(v, load(x + i), sum);
    store(dx + i, skip * v);
  });
  *d.skip += _mm512_reduce_add_ps(sum);
  wide_backward(s, x, w.wide, d.wide, p, t, g, dx);
}

void wcrw_forward(Scratch& s, const bf16* x, const Wcrw& w, const PackedWcrw& p, WideTape& t,
                  bf16* distilled, bf16* out) {
  wide_forward(s, x, w.wide, p.wide, t);
  pad(s.size, x, C, s.padded24);
  convolve(s.size, s.padded24, p.both.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, C, w.both_bias, s.map1);
    put_rows(at, sums, C, C, nullptr, distilled);
  });
  const Gated gated(t.t, t.gate, *w.wide.scale);
  over(s.size, [&](int i, int j) { store(out + i, gated(i, j) + load(s.map1 + i)); });
}

// dx = both convolutions' and the wide path's. g: of the result; distilled: of the distilled.
void wcrw_backward(Scratch& s, const bf16* x, const Wcrw& w, const Wcrw& d, const PackedWcrw& p,
                   const WideTape& t, const float* g, const float* distilled, float* dx) {
  const Size size = s.size;
  for (int at = 0; at < size.pixels(); ++at) {
    bf16* row = s.map48 + 48L * at;
    const float *a = g + 24L * at, *b = distilled + 24L * at;
    store(row, load(a));
    store(row + 16, _mm512_maskz_loadu_ps(0xff, a + 16), 0xff);
    store(row + 24, load(b));
    store(row + 40, _mm512_maskz_loadu_ps(0xff, b + 16), 0xff);
  }
  add_column_sums(size, s.map48, 2 * C, C, d.both_bias);
  add_weight_gradient(s, x, C, s.map48, 2 * C, 9, d.both);
  pad(size, s.map48, 2 * C, s.padded48);
  convolve(size, s.padded48, p.both.backward, [&](int at, const float* sums) {
    put_floats<false>(at, sums, C, dx);
  });
  wide_backward(s, x, w.wide, d.wide, p.wide, t, g, dx);
}

inline float logistic(float x) { return 1.0f / (1.0f + __builtin_expf(-x)); }

void mlp(const Mlp& w, const float* z, float hidden[3], float out[C]) {
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

void mlp_backward(const Mlp& w, const Mlp& d, const float* z, const float* g, float* dz) {
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
void coefficient_forward(Size size, const bf16* x, const Coefficient& w, float* kept) {
  float variance[C], hidden[3], a[C], b[C];
  statistics(size, x, kept, variance);
  for (int c = 0; c < C; ++c)
    kept[C + c] = __builtin_sqrtf(std::max(variance[c], kMinVariance));
  mlp(w.mean, kept, hidden, a);
  mlp(w.deviation, kept + C, hidden, b);
  for (int c = 0; c < C; ++c) kept[2 * C + c] = 0.5f * (logistic(a[c]) + logistic(b[c]));
}

// Adds to dx what comes through the coefficient, whose gradient is g.
void coefficient_backward(Size size, const bf16* x, const Coefficient& w, const Coefficient& d,
                          const float* kept, const float* g, float* dx) {
  float half[C], of_mean[C], of_deviation[C], linear[C], constant[C];
  for (int c = 0; c < C; ++c) half[c] = 0.5f * g[c];
  mlp_backward(w.mean, d.mean, kept, half, of_mean);
  mlp_backward(w.deviation, d.deviation, kept + C, half, of_deviation);
  for (int c = 0; c < C; ++c) {
    const float deviation = kept[C + c];
    const bool real = deviation * deviation > kMinVariance;
    linear[c] = real ? of_deviation[c] / (deviation * size.pixels()) : 0.0f;
    constant[c] = of_mean[c] / size.pixels() - linear[c] * kept[c];
  }
  const Spread l(linear), o(constant);
  over(size, [&](int i, int j) {
    store(dx + i, load(dx + i) + fma(l.v[j], load(x + i), o.v[j]));
  });
}

inline Vec leaky(Vec v) { return _mm512_max_ps(v, v * all(kLeak)); }

void wirw_forward(Scratch& s, const bf16* x, const Wirw& w, const PackedWide& p, WideTape& t,
                  bool leaking, bf16* out) {
  wide_forward(s, x, w.wide, p, t);
  const Gated gated(t.t, t.gate, *w.wide.scale);
  const Vec skip = all(*w.skip);
  over(s.size, [&](int i, int j) {
    const Vec v = fma(skip, load(x + i), gated(i, j));
    store(out + i, leaking ? leaky(v) : v);
  });
}

// In place: from the gradient of a leaky ReLU's result that of its input.
void leaky_backward(Size size, const bf16* result, float* g) {
  over(size, [&](int i, int) {
    const Vec v = load(g + i);
    const __mmask16 on = _mm512_cmp_ps_mask(load(result + i), _mm512_setzero_ps(), _CMP_GT_OQ);
    store(g + i, _mm512_mask_mul_ps(v, static_cast<__mmask16>(~on), v, all(kLeak)));
  });
}

void side_by_side(Size size, const bf16* a, const bf16* b, bf16* to) {
  for (int at = 0; at < size.pixels(); ++at) {
    std::memcpy(to + 48L * at, a + 24L * at, 48);
    std::memcpy(to + 48L * at + 24, b + 24L * at, 48);
  }
}

// From the tape's x; fills the tape, writes out.
void wdib_forward(Scratch& s, const Wdib& w, const PackedWdib& p, WdibTape& t, bf16* out) {
  const Size size = s.size;
  wirw_forward(s, t.x, w.wirw1, p.wirw1, t.wirw1, true, t.p);
  wcrw_forward(s, t.p, w.wcrw1, p.wcrw1, t.wcrw1, t.a_distil, t.a);
  coefficient_forward(size, t.a, w.a1, t.ca1);
  coefficient_forward(size, t.x, w.b1, t.cb1);
  {
    const Spread ca(t.ca1 + 2 * C), cb(t.cb1 + 2 * C);
    over(size, [&](int i, int j) {
      const Vec a = load(t.a + i), x = load(t.x + i);
      store(t.b1 + i, fma(ca.v[j], a, x));
      store(t.a1 + i, fma(cb.v[j], x, a));
    });
  }
  wirw_forward(s, t.b1, w.wirw2, p.wirw2, t.wirw2, true, t.q);
  wcrw_forward(s, t.q, w.wcrw2, p.wcrw2, t.wcrw2, t.b_distil, t.b);
  coefficient_forward(size, t.a1, w.a2, t.ca2);
  coefficient_forward(size, t.b, w.b2, t.cb2);
  {
    const Spread ca(t.ca2 + 2 * C), cb(t.cb2 + 2 * C);
    over(size, [&](int i, int j) {
      const Vec a1 = load(t.a1 + i), b = load(t.b + i);
      store(t.b2 + i, fma(ca.v[j], a1, b) * sigmoid(load(t.b_distil + i)));
      store(t.a2 + i, fma(cb.v[j], b, a1) * sigmoid(load(t.a_distil + i)));
    });
  }
  wirw_forward(s, t.a2, w.wirw3, p.wirw3, t.wirw3, false, s.map2);
  wirw_forward(s, t.b2, w.wirw4, p.wirw4, t.wirw4, false, s.map3);
  side_by_side(size, s.map2, s.map3, t.z);
  wide_forward(s, t.z, w.fuse, p.fuse, t.fuse, t.calibrated);
  pad(size, t.z, 2 * C, s.padded48);
  convolve(size, s.padded48, p.shortcut.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, C, w.shortcut_bias, s.map1);
  });
  const Gated gated(t.fuse.t, t.fuse.gate, *w.fuse.scale);
  over(size, [&](int i, int j) {
    const Vec v = gated(i, j) + load(s.map1 + i) + load(t.x + i);
    store(t.y + i, fma(sigmoid(load(t.calibrated + i)), load(s.map3 + i), v));
  });
  gate_forward(size, t.y, w.gate, t.gate);
  const Gated last(t.y, t.gate, 1.0f);
  over(size, [&](int i, int j) { store(out + i, last(i, j)); });
}

// From g, the result's gradient, dx, the input's; both may be the same.
void wdib_backward(Scratch& s, const Wdib& w, const Wdib& d, const PackedWdib& p,
                   const WdibTape& t, const float* g, float* dx) {
  const Size size = s.size;
  float *dy = s.f0, *da = s.f1, *db = s.f2, *da1 = s.f3, *dmap = s.f4, *ddp = s.f5, *ddq = s.f6;
  gate_backward(size, t.y, t.gate, w.gate, d.gate, 1.0f, nullptr, g, [&](int i, int, Vec v) {
    store(dy + i, v);
    store(dx + i, v);
  });
  // The fusion: shortcut, calibration, wide path.
  for (int at = 0; at < size.pixels(); ++at) {
    // sigmoid(calibrated) * branch_b, pixel by pixel: the branch is half of z.
    const bf16 *z = t.z + 48L * at + 24, *cal = t.calibrated + 24L * at;
    for (int c = 0; c < C; c += 16) {
      const __mmask16 mask = first(C - c);
      const Vec v = _mm512_maskz_loadu_ps(mask, dy + 24L * at + c), gate = sigmoid(load(cal + c, mask));
      _mm512_mask_storeu_ps(db + 24L * at + c, mask, v * gate);
      store(s.map2 + 24L * at + c, v * load(z + c, mask) * (gate - gate * gate), mask);
      store(s.map3 + 24L * at + c, v, mask);
    }
  }
  add_column_sums(size, s.map3, C, C, d.shortcut_bias);
  add_weight_gradient(s, t.z, 2 * C, s.map3, C, 9, d.shortcut);
  pad(size, s.map3, C, s.padded24);
  convolve(size, s.padded24, p.shortcut.backward, [&](int at, const float* sums) {
    put_floats<false>(at, sums, 2 * C, s.f48);
  });
  wide_backward(s, t.z, w.fuse, d.fuse, p.fuse, t.fuse, dy, s.f48, s.map2);
  for (int at = 0; at < size.pixels(); ++at)
    for (int c = 0; c < C; c += 16) {
      const __mmask16 mask = first(C - c);
      const float* z = s.f48 + 48L * at + c;
      _mm512_mask_storeu_ps(da + 24L * at + c, mask, _mm512_maskz_loadu_ps(mask, z));
      float* b = db + 24L * at + c;
      _mm512_mask_storeu_ps(b, mask, _mm512_maskz_loadu_ps(mask, b) + _mm512_maskz_loadu_ps(mask, z + 24));
    }
  // dy is free from here on.
  float *da2 = s.f0, *db2 = dmap;
  wirw_backward(s, t.a2, w.wirw3, d.wirw3, p.wirw3, t.wirw3, da, da2);
  wirw_backward(s, t.b2, w.wirw4, d.wirw4, p.wirw4, t.wirw4, db, db2);
  {
    const Spread ca(t.ca2 + 2 * C), cb(t.cb2 + 2 * C);
    Sums of_ca, of_cb;
    over(size, [&](int i, int j) {
      const Vec a1 = load(t.a1 + i), b = load(t.b + i);
      const Vec sp = sigmoid(load(t.a_distil + i)), sq = sigmoid(load(t.b_distil + i));
      const Vec gm = load(da2 + i) * sp, gn = load(db2 + i) * sq;
      store(ddp + i, gm * fma(cb.v[j], b, a1) * (all(1.0f) - sp));
      store(ddq + i, gn * fma(ca.v[j], a1, b) * (all(1.0f) - sq));
      store(db + i, fma(cb.v[j], gm, gn));
      store(da1 + i, fma(ca.v[j], gn, gm));
      of_cb.v[j] = fma(gm, b, of_cb.v[j]);
      of_ca.v[j] = fma(gn, a1, of_ca.v[j]);
    });
    float sum[C];
    of_cb.to(sum);
    coefficient_backward(size, t.b, w.b2, d.b2, t.cb2, sum, db);
    of_ca.to(sum);
    coefficient_backward(size, t.a1, w.a2, d.a2, t.ca2, sum, da1);
  }
  float* dq = s.f0;
  wcrw_backward(s, t.q, w.wcrw2, d.wcrw2, p.wcrw2, t.wcrw2, db, ddq, dq);
  leaky_backward(size, t.q, dq);
  float* db1 = s.f2;
  wirw_backward(s, t.b1, w.wirw2, d.wirw2, p.wirw2, t.wirw2, dq, db1);
  {
    const Spread ca(t.ca1 + 2 * C), cb(t.cb1 + 2 * C);
    Sums of_ca, of_cb;
    over(size, [&](int i, int j) {
      const Vec ga1 = load(da1 + i), gb1 = load(db1 + i);
      store(da + i, fma(ca.v[j], gb1, ga1));
      store(dx + i, load(dx + i) + fma(cb.v[j], ga1, gb1));
      of_ca.v[j] = fma(gb1, load(t.a + i), of_ca.v[j]);
      of_cb.v[j] = fma(ga1, load(t.x + i), of_cb.v[j]);
    });
    float sum[C];
    of_ca.to(sum);
    coefficient_backward(size, t.a, w.a1, d.a1, t.ca1, sum, da);
    of_cb.to(sum);
    coefficient_backward(size, t.x, w.b1, d.b1, t.cb1, sum, dx);
  }
  float* dp = s.f0;
  wcrw_backward(s, t.p, w.wcrw1, d.wcrw1, p.wcrw1, t.wcrw1, da, ddp, dp);
  leaky_backward(size, t.p, dp);
  float* last = s.f2;
  wirw_backward(s, t.x, w.wirw1, d.wirw1, p.wirw1, t.wirw1, dp, last);
  over(size, [&](int i, int) { store(dx + i, load(dx + i) + load(last + i)); });
}

// Groups.

struct Order {
  __m512i low, high;
  explicit Order(const int* from) : low(_mm512_loadu_si512(from)), high(_mm512_maskz_loadu_epi32(0xff, from + 16)) {}
};

// out = base * x + the group's result; natural[c]: the stored channel that is channel c.
void group_forward(Scratch& s, const Group& w, const PackedGroup& p, GroupTape& t,
                   const int* natural, float base, const float* x, float* out) {
  const Size size = s.size;
  over(size, [&](int i, int) {
    const Vec v = load(x + i);
    store(t.x + i, v);
    store(t.block1.x + i, v);
  });
  wdib_forward(s, w.block1, p.block1, t.block1, t.block2.x);
  const bf16* o1 = t.block2.x;
  bf16* o2 = s.map48;  // half of it
  wdib_forward(s, w.block2, p.block2, t.block2, o2);
  side_by_side(size, o1, o2, t.first);
  pad(size, o1, C, s.padded24);
  convolve(size, s.padded24, p.skip.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, C, nullptr, t.block3.x);
  });
  over(size, [&](int i, int) { store(t.block3.x + i, load(t.block3.x + i) + load(o2 + i)); });
  bf16* o3 = s.map48;
  wdib_forward(s, w.block3, p.block3, t.block3, o3);
  pad(size, t.first, 2 * C, s.padded48);
  convolve(size, s.padded48, p.merge1.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, C, nullptr, s.map1);
  });
  side_by_side(size, s.map1, o3, t.second);
  pad(size, t.second, 2 * C, s.padded48);
  convolve(size, s.padded48, p.merge2.forward, [&](int at, const float* sums) {
    put_rows(at, sums, 0, C, nullptr, s.map1);
  });
  over(size, [&](int i, int) { store(t.body + i, load(s.map1 + i) + load(o3 + i)); });
  wide_forward(s, t.x, w.wirw.wide, p.wirw, t.wirw);
  const Gated gated(t.wirw.t, t.wirw.gate, *w.wirw.wide.scale);
  const Vec skip = all(*w.wirw.skip), keep = all(base);
  over(size, [&](int i, int j) {
    store(out + i, fma(keep, load(x + i), fma(skip, load(t.x + i), gated(i, j))));
  });
  const Order order(natural);
  const Vec body = all(*w.body_scale);
  for (int at = 0; at < size.pixels(); ++at) {
    const Vec low = load(t.body + 24L * at), high = load(t.body + 24L * at + 16, 0xff);
    float* row = out + 24L * at;
    store(row, fma(body, _mm512_permutex2var_ps(low, order.low, high), load(row)));
    _mm512_mask_storeu_ps(row + 16, 0xff,
                          fma(body, _mm512_permutex2var_ps(low, order.high, high),
                              _mm512_maskz_loadu_ps(0xff, row + 16)));
  }
}

void group_backward(Scratch& s, const Group& w, const Group& d, const PackedGroup& p,
                    const GroupTape& t, const int* natural, float base, const float* g,
                    float* dx) {
  const Size size = s.size;
  float* sum = s.f7;  // of o3, then of o2 and o1
  // The body: scale, order, two merging convolutions.
  int stored[C];
  for (int c = 0; c < C; ++c) stored[natural[c]] = c;
  const Order order(stored);
  const Vec scale = all(*w.body_scale);
  Vec of_scale = _mm512_setzero_ps();
  for (int at = 0; at < size.pixels(); ++at) {
    const Vec low = load(g + 24L * at), high = _mm512_maskz_loadu_ps(0xff, g + 24L * at + 16);
    const Vec l = _mm512_permutex2var_ps(low, order.low, high);
    const Vec h = _mm512_maskz_permutex2var_ps(0xff, low, order.high, high);
    const bf16* body = t.body + 24L * at;
    of_scale = fma(l, load(body), fma(h, load(body + 16, 0xff), of_scale));
    store(sum + 24L * at, scale * l);
    _mm512_mask_storeu_ps(sum + 24L * at + 16, 0xff, scale * h);
    store(s.map1 + 24L * at, scale * l);
    store(s.map1 + 24L * at + 16, scale * h, 0xff);
  }
  *d.body_scale += _mm512_reduce_add_ps(of_scale);
  add_weight_gradient(s, t.second, 2 * C, s.map1, C, 9, d.merge2);
  pad(size, s.map1, C, s.padded24);
  convolve(size, s.padded24, p.merge2.backward, [&](int at, const float* sums) {
    for (int r = 0; r < 16; ++r)
      for (int c = 0; c < C; c += 16) {
        const __mmask16 mask = first(C - c);
        const float* from = sums + r * kMostOutputs + c;
        store(s.map2 + 24L * (at + r) + c, load(from), mask);  // of c1
        float* o3 = sum + 24L * (at + r) + c;
        _mm512_mask_storeu_ps(o3, mask, _mm512_maskz_loadu_ps(mask, o3) + load(from + 24));
      }
  });
  add_weight_gradient(s, t.first, 2 * C, s.map2, C, 9, d.merge1);
  pad(size, s.map2, C, s.padded24);
  // Of o1 and o2, kept while the third block runs.
  float *kept1 = s.f8, *kept2 = s.f9;
  convolve(size, s.padded24, p.merge1.backward, [&](int at, const float* sums) {
    for (int r = 0; r < 16; ++r)
      for (int c = 0; c < C; c += 16) {
        const __mmask16 mask = first(C - c);
        const float* from = sums + r * kMostOutputs + c;
        _mm512_mask_storeu_ps(kept1 + 24L * (at + r) + c, mask, load(from));
        _mm512_mask_storeu_ps(kept2 + 24L * (at + r) + c, mask, load(from + 24));
      }
  });
  wdib_backward(s, w.block3, d.block3, p.block3, t.block3, sum, sum);
  over(size, [&](int i, int) { store(s.map1 + i, load(sum + i)); });
  add_weight_gradient(s, t.block2.x, C, s.map1, C, 9, d.skip);
  pad(size, s.map1, C, s.padded24);
  convolve(size, s.padded24, p.skip.backward, [&](int at, const float* sums) {
    put_floats<true>(at, sums, C, kept1);
  });
  over(size, [&](int i, int) { store(sum + i, load(sum + i) + load(kept2 + i)); });
  wdib_backward(s, w.block2, d.block2, p.block2, t.block2, sum, sum);
  over(size, [&](int i, int) { store(sum + i, load(sum + i) + load(kept1 + i)); });
  wdib_backward(s, w.block1, d.block1, p.block1, t.block1, sum, sum);
  wirw_backward(s, t.x, w.wirw, d.wirw, p.wirw, t.wirw, g, dx);
  const Vec keep = all(base);
  over(size, [&](int i, int) {
    store(dx + i, load(dx + i) + fma(keep, load(g + i), load(sum + i)));
  });
}

long packed_elements(Widths widths) {
  Cursor c(nullptr);
  Group w(c, widths);
  Room room{nullptr};
  PackedGroup p(room, w, false);
  return room.at - static_cast<bf16*>(nullptr);
}

long tape_bytes(Size size) {
  Arena m;
  GroupTape t(m, size);
  return m.used();
}

long scratch_bytes(Size size) {
  Arena m;
  Scratch s(m, size);
  return m.used();
}

// The scratch of each part of a call, kept from call to call. One call at a time.
struct Kept {
  std::vector<char> memory;
  std::unique_ptr<Scratch> scratch;
  Scratch& of(Size size) {
    if (!scratch || scratch->size.height != size.height || scratch->size.width != size.width) {
      memory.assign(scratch_bytes(size) + 64, 0);
      char* base = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
      Arena arena(base);
      scratch = std::make_unique<Scratch>(arena, size);
    }
    return *scratch;
  }
};

// each(image, part, scratch): every part takes its own images, in order.
template <class Each>
void share(Size size, int images, int threads, Each each) {
  static std::mutex one_call;
  static std::vector<Kept> kept;
  const std::lock_guard<std::mutex> lock(one_call);
  const int parts = std::max(1, std::min(threads, images));
  if (kept.size() < static_cast<size_t>(parts)) kept.resize(parts);
  auto work = [&](int part) {
    open_tiles();
    Scratch& scratch = kept[part].of(size);
    for (int i = part; i < images; i += parts) each(i, part, scratch);
    _tile_release();
  };
  std::vector<std::thread> others;
  for (int part = 1; part < parts; ++part) others.emplace_back(work, part);
  work(0);
  for (auto& other : others) other.join();
}

}  // namespace vsr

extern "C" {

// Whether the tile unit may be used.
int vsr_training_ready() {
  constexpr int kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

long vsr_training_weights(int wirw, int wcrw, int fuse) {
  vsr::Cursor c(nullptr);
  vsr::Group w(c, {wirw, wcrw, fuse});
  return c.at() - static_cast<float*>(nullptr);
}

// How many parameters a group has, as torch counts them.
int vsr_training_parameters(int wirw, int wcrw, int fuse) {
  const long count = vsr_training_weights(wirw, wcrw, fuse);
  std::vector<float> row(count), ones(count, 1.0f);
  const std::vector<const float*> values(count, ones.data());
  vsr::Cursor c(row.data());
  vsr::Parameters parameters(values.data(), nullptr);
  vsr::Preparation(parameters, true).group(vsr::Group(c, {wirw, wcrw, fuse}));
  return parameters.count();
}

// Effective weights from parameters; with `gradients`, their gradients from the row's, added.
void vsr_training_prepare(int wirw, int wcrw, int fuse, const float* const* values,
                          float* const* gradients, float* row) {
  vsr::Cursor c(row);
  vsr::Parameters parameters(values, gradients);
  vsr::Preparation(parameters, gradients == nullptr).group(vsr::Group(c, {wirw, wcrw, fuse}));
}

long vsr_training_packed(int wirw, int wcrw, int fuse) {
  return vsr::packed_elements({wirw, wcrw, fuse});
}

long vsr_training_tape(int height, int width) { return vsr::tape_bytes({height, width}); }

void vsr_training_pack(int wirw, int wcrw, int fuse, float* weights, uint16_t* packed) {
  vsr::Cursor c(weights);
  vsr::Group w(c, {wirw, wcrw, fuse});
  vsr::Room room{packed};
  vsr::PackedGroup p(room, w, true);
}

void vsr_training_forward(const int* shape, const int* natural, float base, float* weights,
                          uint16_t* packed, char* tape, const float* x, float* out) {
  const vsr::Size size{shape[1], shape[2]};
  const vsr::Widths widths{shape[3], shape[4], shape[5]};
  vsr::Cursor c(weights);
  const vsr::Group w(c, widths);
  vsr::Room room{packed};
  const vsr::PackedGroup p(room, w, false);
  const long bytes = vsr::tape_bytes(size), image = static_cast<long>(size.pixels()) * vsr::C;
  vsr::share(size, shape[0], shape[6], [&](int i, int, vsr::Scratch& s) {
    vsr::Arena m(tape + i * bytes);
    vsr::GroupTape t(m, size);
    vsr::group_forward(s, w, p, t, natural, base, x + i * image, out + i * image);
  });
}

// Adds the weights' gradients to `of_weights`: a row for each thread.
void vsr_training_backward(const int* shape, const int* natural, float base, float* weights,
                           uint16_t* packed, char* tape, const float* g, float* dx,
                           float* of_weights) {
  const vsr::Size size{shape[1], shape[2]};
  const vsr::Widths widths{shape[3], shape[4], shape[5]};
  vsr::Cursor c(weights);
  const vsr::Group w(c, widths);
  const long count = c.at() - weights;
  vsr::Room room{packed};
  const vsr::PackedGroup p(room, w, false);
  const long bytes = vsr::tape_bytes(size), image = static_cast<long>(size.pixels()) * vsr::C;
  vsr::share(size, shape[0], shape[6], [&](int i, int part, vsr::Scratch& s) {
    vsr::Cursor at(of_weights + part * count);
    const vsr::Group d(at, widths);
    vsr::Arena m(tape + i * bytes);
    const vsr::GroupTape t(m, size);
    vsr::group_backward(s, w, d, p, t, natural, base, g + i * image, dx + i * image);
  });
}
}
