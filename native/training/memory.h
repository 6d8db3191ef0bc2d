// What maps are, and the memory they lie in.
//
// Maps are channels last, `width` pixels a line. A tile or vector of inputs is read straight from
// a map, and where a row has fewer channels it reads into the next pixel. On the tile unit the
// weights are zero there; so whatever follows a map must be finite, and `Arena` puts zeros there.
#pragma once

#include <cstring>

#include "vectors.h"

namespace vsr::training {

constexpr int kSlack = 64;  // zeros after a map, elements

inline int round_up(int value, int to) { return (value + to - 1) / to * to; }

// Memory in a row from one block.
class Arena {
 public:
  explicit Arena(char* base = nullptr) : base_(base) {}
  Cell* map(long elements) {
    Cell* found = reinterpret_cast<Cell*>(take(sizeof(Cell) * (elements + kSlack)));
    if (base_) std::memset(found + elements, 0, sizeof(Cell) * kSlack);
    return found;
  }
  float* floats(long count) { return reinterpret_cast<float*>(take(4 * count)); }
  long used() const { return used_; }

 private:
  char* take(long bytes) {
    char* found = base_ ? base_ + used_ : nullptr;
    used_ += (bytes + 63) / 64 * 64;
    return found;
  }
  char* base_;
  long used_ = 0;
};

struct Size {
  int height, width;
  int pixels() const { return height * width; }
  int line() const { return width + 2; }  // of a padded map
  long padded() const { return static_cast<long>(height + 2) * line(); }
};

}  // namespace vsr::training
