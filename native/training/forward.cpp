// The forward pass, unit by unit.
#include "gates.h"
#include "trunk.h"
#include "wide.h"

namespace vsr::training {

namespace {

void wide_forward(Scratch& s, const Cell* x, const Wide& w, const PackedWide& p, WideTape& t,
                  Cell* extra = nullptr) {
  const Size size = s.size;
  wide_products(s.products, size, x, w, p, t.reduced, extra);
  pad(size, t.reduced, w.reduced, s.padded(w.reduced));
  convolve(size, s.padded(w.reduced), p.conv.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, C, w.conv_bias, t.t);
  });
  gate_forward(size, t.t, w.gate, t.gate);
}

inline Vec leaky(Vec v) { return maximum(v, v * all(kLeak)); }

void wirw_forward(Scratch& s, const Cell* x, const Wirw& w, const PackedWide& p, WideTape& t,
                  bool leaking, Cell* out) {
  wide_forward(s, x, w.wide, p, t);
  const Gated gated(t.t, t.gate, *w.wide.scale);
  const Vec skip = all(*w.skip);
  over(s.size, [&](int i, int j) {
    const Vec v = fma(skip, load(x + i), gated(i, j));
    store(out + i, leaking ? leaky(v) : v);
  });
}

void wcrw_forward(Scratch& s, const Cell* x, const Wcrw& w, const PackedWcrw& p, WideTape& t,
                  Cell* distilled, Cell* out) {
  wide_forward(s, x, w.wide, p.wide, t);
  pad(s.size, x, C, s.padded24);
  convolve(s.size, s.padded24, p.both.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, C, w.both_bias, s.map1);
    put_rows(at, rows, sums, C, C, nullptr, distilled);
  });
  const Gated gated(t.t, t.gate, *w.wide.scale);
  over(s.size, [&](int i, int j) { store(out + i, gated(i, j) + load(s.map1 + i)); });
}

// From the tape's x; fills the tape, writes out.
void wdib_forward(Scratch& s, const Wdib& w, const PackedWdib& p, WdibTape& t, Cell* out) {
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
  convolve(size, s.padded48, p.shortcut.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, C, w.shortcut_bias, s.map1);
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

}  // namespace

void group_forward(Scratch& s, const Group& w, const PackedGroup& p, GroupTape& t,
                   const int* natural, float base, const float* x, float* out) {
  const Size size = s.size;
  over(size, [&](int i, int) {
    const Vec v = load(x + i);
    store(t.x + i, v);
    store(t.block1.x + i, v);
  });
  wdib_forward(s, w.block1, p.block1, t.block1, t.block2.x);
  const Cell* o1 = t.block2.x;
  Cell* o2 = s.map48;  // half of it
  wdib_forward(s, w.block2, p.block2, t.block2, o2);
  side_by_side(size, o1, o2, t.first);
  pad(size, o1, C, s.padded24);
  convolve(size, s.padded24, p.skip.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, C, nullptr, t.block3.x);
  });
  over(size, [&](int i, int) { store(t.block3.x + i, load(t.block3.x + i) + load(o2 + i)); });
  Cell* o3 = s.map48;
  wdib_forward(s, w.block3, p.block3, t.block3, o3);
  pad(size, t.first, 2 * C, s.padded48);
  convolve(size, s.padded48, p.merge1.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, C, nullptr, s.map1);
  });
  side_by_side(size, s.map1, o3, t.second);
  pad(size, t.second, 2 * C, s.padded48);
  convolve(size, s.padded48, p.merge2.forward, [&](int at, int rows, const float* sums) {
    put_rows(at, rows, sums, 0, C, nullptr, s.map1);
  });
  over(size, [&](int i, int) { store(t.body + i, load(s.map1 + i) + load(o3 + i)); });
  wide_forward(s, t.x, w.wirw.wide, p.wirw, t.wirw);
  const Gated gated(t.wirw.t, t.wirw.gate, *w.wirw.wide.scale);
  const Vec skip = all(*w.wirw.skip), keep = all(base);
  over(size, [&](int i, int j) {
    store(out + i, fma(keep, load(x + i), fma(skip, load(t.x + i), gated(i, j))));
  });
  const Vec body = all(*w.body_scale);
  alignas(64) float in_order[kPixel];
  for (int at = 0; at < size.pixels(); ++at) {
    reorder(t.body + 1L * C * at, natural, in_order);
    float* row = out + 1L * C * at;
    over_channels(C, [&](int c, Mask mask) {
      store(row + c, fma(body, load(in_order + c), load(row + c, mask)), mask);
    });
  }
}

}  // namespace vsr::training
