// What maps are, and the memory they lie in.
//
// Maps are bfloat16, channels last, `width` pixels a line. A tile of inputs is read straight from a
// map, and where a row has fewer than 32 channels it reads into the next pixel, whose weights are
// zero; so whatever follows a map in memory must be finite, and `Arena` puts zeros there.
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
  bf16* map(long elements) {
    bf16* found = reinterpret_cast<bf16*>(take(2 * (elements + kSlack)));
    if (base_) std::memset(found + elements, 0, 2 * kSlack);
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
  int line() const { return width + 2; }                       // of a padded map
  long padded() const { return static_cast<long>(height + 2) * line(); }
  int flat() const { return round_up(height * line(), 32); }  // pixels of a padded gradient
};

}  // namespace vsr::training
