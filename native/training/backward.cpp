// The backward pass, unit by unit. w: a unit's weights; d: their gradients, which are added to; p:
// the weights packed; t: the tape; g: the gradient of the unit's result.
#include "gates.h"
#include "trunk.h"

namespace vsr::training {

namespace {

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

// In place: from the gradient of a leaky ReLU's result that of its input.
void leaky_backward(Size size, const bf16* result, float* g) {
  over(size, [&](int i, int) {
    const Vec v = load(g + i);
    const __mmask16 on = _mm512_cmp_ps_mask(load(result + i), _mm512_setzero_ps(), _CMP_GT_OQ);
    store(g + i, _mm512_mask_mul_ps(v, static_cast<__mmask16>(~on), v, all(kLeak)));
  });
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
      const Vec v = _mm512_maskz_loadu_ps(mask, dy + 24L * at + c);
      const Vec gate = sigmoid(load(cal + c, mask));
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
      const Vec both = _mm512_maskz_loadu_ps(mask, b) + _mm512_maskz_loadu_ps(mask, z + 24);
      _mm512_mask_storeu_ps(b, mask, both);
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

}  // namespace

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

}  // namespace vsr::training
