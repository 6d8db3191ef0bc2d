// What a thread needs beside the tape: room for the maps of a unit and for their gradients.
#pragma once

#include "layout.h"
#include "products.h"

namespace vsr::training {

constexpr int kMostWide = 136;  // channels of an expanded map, extra outputs included

// Its memory is zeros at the beginning, and the borders of padded maps stay so.
struct Scratch {
  Size size;
  Cell *padded12, *padded24, *padded48, *narrow, *map1, *map2, *map3, *map48;
  ProductRoom products;
  float *f0, *f1, *f2, *f3, *f4, *f5, *f6, *f7, *f8, *f9, *f48, *sigmoids;
  Scratch(Arena& m, Size s) : size(s), products(m, s, kMostWide) {
    padded12 = m.map(padded_cells(s, 12));
    padded24 = m.map(padded_cells(s, 24));
    padded48 = m.map(padded_cells(s, 48));
    narrow = m.map(1L * s.pixels() * C);
    map1 = m.map(1L * s.pixels() * C);
    map2 = m.map(1L * s.pixels() * C);
    map3 = m.map(1L * s.pixels() * C);
    map48 = m.map(2L * s.pixels() * C);
    for (float** f : {&f0, &f1, &f2, &f3, &f4, &f5, &f6, &f7, &f8, &f9, &sigmoids})
      *f = m.floats(1L * s.pixels() * C);
    f48 = m.floats(2L * s.pixels() * C);
  }
  Cell* padded(int channels) const {
    return channels == 12 ? padded12 : channels == 24 ? padded24 : padded48;
  }
};

}  // namespace vsr::training
