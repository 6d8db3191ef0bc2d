// What the backward pass needs of the forward pass, for each image.
#pragma once

#include "layout.h"
#include "memory.h"

namespace vsr::training {

struct WideTape {
  Cell *reduced, *t;
  float* gate;  // mean, 1 / deviation, a, b
  WideTape(Arena& a, Size s, int reduced_channels)
      : reduced(a.map(1L * s.pixels() * reduced_channels)), t(a.map(1L * s.pixels() * C)),
        gate(a.floats(4 * C)) {}
};

struct WdibTape {
  Cell *x, *p, *a, *a_distil, *b1, *a1, *q, *b, *b_distil, *a2, *b2, *z, *calibrated, *y;
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
  static Cell* map(Arena& m, Size s) { return m.map(1L * s.pixels() * C); }
};

struct GroupTape {
  WdibTape block1, block2, block3;
  Cell *x, *first, *second, *body;  // first: o1, o2; second: c1, o3
  WideTape wirw;
  GroupTape(Arena& m, Size s)
      : block1(m, s), block2(m, s), block3(m, s), x(WdibTape::map(m, s)),
        first(m.map(2L * s.pixels() * C)), second(m.map(2L * s.pixels() * C)),
        body(WdibTape::map(m, s)), wirw(m, s, C / 2) {}
};

}  // namespace vsr::training
