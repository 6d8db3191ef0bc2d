// The backward pass, unit by unit. w: a unit's weights; d: their gradients, which are added to; p:
// the weights packed; t: the tape; g: the gradient of the unit's result.
#include "gates.h"
#include "trunk.h"
#include "wide.h"

namespace vsr::training {

namespace {

// Adds to dx, the input's gradient. g: of the unit's result; extra: of the extra outputs.
void wide_backward(Scratch& s, const Cell* x, const Wide& w, const Wide& d, const PackedWide& p,
                   const WideTape& t, const float* g, float* dx, const Cell* extra = nullptr,
                   const Joins* joins = nullptr) {
  const Size size = s.size;
  gate_backward(size, t.t, t.gate, w.gate, d.gate, *w.scale, d.scale, g, s.sigmoids,
                [&](int i, int, Vec v) { store(s.map1 + i, v); });
  add_column_sums(size, s.map1, C, C, d.conv_bias);
  add_weight_gradient(s, t.reduced, w.reduced, s.map1, C, d.conv);
  pad(size, s.map1, C, s.padded24);
  convolve(size, s.padded24, p.conv.backward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, w.reduced, nullptr, s.narrow);
  });
  add_column_sums(size, s.narrow, w.reduced, w.reduced, d.reduce_bias);
  wide_products_backward(s.products, size, x, w, d, p, s.narrow, extra, dx, joins);
}

// dx = skip * g, and the wide path's.
void wirw_backward(Scratch& s, const Cell* x, const Wirw& w, const Wirw& d, const PackedWide& p,
                   const WideTape& t, const float* g, float* dx) {
  const Vec skip = all(*w.skip);
  Vec sum{};
  over(s.size, [&](int i, int) {
    const Vec v = load(g + i);
    sum = fma(v, load(x + i), sum);
    store(dx + i, skip * v);
  });
  *d.skip += sum_of_lanes(sum);
  wide_backward(s, x, w.wide, d.wide, p, t, g, dx);
}

// dx = both convolutions' and the wide path's. g: of the result; distilled: of the distilled.
void wcrw_backward(Scratch& s, const Cell* x, const Wcrw& w, const Wcrw& d, const PackedWcrw& p,
                   const WideTape& t, const WcrwJoins& joins, const float* g,
                   const float* distilled, float* dx) {
  const Size size = s.size;
  for (int at = 0; at < size.pixels(); ++at) {
    Cell* row = s.map48 + 48L * at;
    const float *a = g + 24L * at, *b = distilled + 24L * at;
    over_channels(C, [&](int c, Mask mask) {
      store(row + c, load(a + c, mask), mask);
      store(row + C + c, load(b + c, mask), mask);
    });
  }
  add_column_sums(size, s.map48, 2 * C, C, d.both_bias);
  add_weight_gradient(s, x, C, s.map48, 2 * C, d.both, &joins.both);
  pad(size, s.map48, 2 * C, s.padded48);
  convolve(size, s.padded48, p.both.backward, [&](int at, int rows, const float* sums) {
    put_floats<false>(at, rows, sums, C, dx);
  });
  wide_backward(s, x, w.wide, d.wide, p.wide, t, g, dx, nullptr, &joins.expand);
}

// In place: from the gradient of a leaky ReLU's result that of its input.
void leaky_backward(Size size, const Cell* result, float* g) {
  over(size, [&](int i, int) {
    const Vec v = load(g + i);
    store(g + i, where_positive(load(result + i), v, v * all(kLeak)));
  });
}

// From g, the result's gradient, dx, the input's; both may be the same.
void wdib_backward(Scratch& s, const Wdib& w, const Wdib& d, const PackedWdib& p,
                   const WdibTape& t, const WcrwJoins& joins, const float* g, float* dx) {
  const Size size = s.size;
  float *dy = s.f0, *da = s.f1, *db = s.f2, *da1 = s.f3, *dmap = s.f4, *ddp = s.f5, *ddq = s.f6;
  gate_backward(size, t.y, t.gate, w.gate, d.gate, 1.0f, nullptr, g, s.sigmoids,
                [&](int i, int, Vec v) {
                  store(dy + i, v);
                  store(dx + i, v);
                });
  // The fusion: shortcut, calibration, wide path.
  for (int at = 0; at < size.pixels(); ++at) {
    // sigmoid(calibrated) * branch_b, pixel by pixel: the branch is half of z.
    const Cell *z = t.z + 48L * at + 24, *cal = t.calibrated + 24L * at;
    over_channels(C, [&](int c, Mask mask) {
      const Vec v = load(dy + 24L * at + c, mask);
      const Vec gate = sigmoid(load(cal + c, mask));
      store(db + 24L * at + c, v * gate, mask);
      store(s.map2 + 24L * at + c, v * load(z + c, mask) * (gate - gate * gate), mask);
      store(s.map3 + 24L * at + c, v, mask);
    });
  }
  add_column_sums(size, s.map3, C, C, d.shortcut_bias);
  add_weight_gradient(s, t.z, 2 * C, s.map3, C, d.shortcut);
  pad(size, s.map3, C, s.padded24);
  convolve(size, s.padded24, p.shortcut.backward, [&](int at, int rows, const float* sums) {
    put_floats<false>(at, rows, sums, 2 * C, s.f48);
  });
  wide_backward(s, t.z, w.fuse, d.fuse, p.fuse, t.fuse, dy, s.f48, s.map2);
  for (int at = 0; at < size.pixels(); ++at)
    over_channels(C, [&](int c, Mask mask) {
      const float* z = s.f48 + 48L * at + c;
      store(da + 24L * at + c, load(z, mask), mask);
      float* b = db + 24L * at + c;
      store(b, load(b, mask) + load(z + C, mask), mask);
    });
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
  wcrw_backward(s, t.q, w.wcrw2, d.wcrw2, p.wcrw2, t.wcrw2, joins, db, ddq, dq);
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
  wcrw_backward(s, t.p, w.wcrw1, d.wcrw1, p.wcrw1, t.wcrw1, joins, da, ddp, dp);
  leaky_backward(size, t.p, dp);
  float* last = s.f2;
  wirw_backward(s, t.x, w.wirw1, d.wirw1, p.wirw1, t.wirw1, dp, last);
  over(size, [&](int i, int) { store(dx + i, load(dx + i) + load(last + i)); });
}

}  // namespace

void group_backward(Scratch& s, const Group& w, const Group& d, const PackedGroup& p,
                    const GroupTape& t, const GroupJoins& joins, const int* natural, float base,
                    const float* g, float* dx) {
  const Size size = s.size;
  float* sum = s.f7;  // of o3, then of o2 and o1
  // The body: scale, order, two merging convolutions.
  int stored[C];
  for (int c = 0; c < C; ++c) stored[natural[c]] = c;
  const Vec scale = all(*w.body_scale);
  Vec of_scale{};
  alignas(64) float in_order[kPixel] = {};
  for (int at = 0; at < size.pixels(); ++at) {
    reorder(g + 24L * at, stored, in_order);
    over_channels(C, [&](int c, Mask mask) {
      const Vec v = load(in_order + c);
      of_scale = fma(v, load(t.body + 24L * at + c, mask), of_scale);
      store(sum + 24L * at + c, scale * v, mask);
      store(s.map1 + 24L * at + c, scale * v, mask);
    });
  }
  *d.body_scale += sum_of_lanes(of_scale);
  add_weight_gradient(s, t.second, 2 * C, s.map1, C, d.merge2, &joins.merge2);
  pad(size, s.map1, C, s.padded24);
  convolve(size, s.padded24, p.merge2.backward, [&](int at, int rows, const float* sums) {
    for (int r = 0; r < rows; ++r)
      over_channels(C, [&](int c, Mask mask) {
        const float* from = sums + r * kMostOutputs + c;
        store(s.map2 + 24L * (at + r) + c, load(from), mask);  // of c1
        float* o3 = sum + 24L * (at + r) + c;
        store(o3, load(o3, mask) + load(from + C), mask);
      });
  });
  add_weight_gradient(s, t.first, 2 * C, s.map2, C, d.merge1, &joins.merge1);
  pad(size, s.map2, C, s.padded24);
  // Of o1 and o2, kept while the third block runs.
  float *kept1 = s.f8, *kept2 = s.f9;
  convolve(size, s.padded24, p.merge1.backward, [&](int at, int rows, const float* sums) {
    for (int r = 0; r < rows; ++r)
      over_channels(C, [&](int c, Mask mask) {
        const float* from = sums + r * kMostOutputs + c;
        store(kept1 + 24L * (at + r) + c, load(from), mask);
        store(kept2 + 24L * (at + r) + c, load(from + C), mask);
      });
  });
  wdib_backward(s, w.block3, d.block3, p.block3, t.block3, joins.wcrw[2], sum, sum);
  over(size, [&](int i, int) { store(s.map1 + i, load(sum + i)); });
  add_weight_gradient(s, t.block2.x, C, s.map1, C, d.skip);
  pad(size, s.map1, C, s.padded24);
  convolve(size, s.padded24, p.skip.backward, [&](int at, int rows, const float* sums) {
    put_floats<true>(at, rows, sums, C, kept1);
  });
  over(size, [&](int i, int) { store(sum + i, load(sum + i) + load(kept2 + i)); });
  wdib_backward(s, w.block2, d.block2, p.block2, t.block2, joins.wcrw[1], sum, sum);
  over(size, [&](int i, int) { store(sum + i, load(sum + i) + load(kept1 + i)); });
  wdib_backward(s, w.block1, d.block1, p.block1, t.block1, joins.wcrw[0], sum, sum);
  wirw_backward(s, t.x, w.wirw, d.wirw, p.wirw, t.wirw, g, dx);
  const Vec keep = all(base);
  over(size, [&](int i, int) {
    store(dx + i, load(dx + i) + fma(keep, load(g + i), load(sum + i)));
  });
}

}  // namespace vsr::training
