// Numbers too small for float32's normal range.
#pragma once

#include <immintrin.h>

namespace vsr::bfloat16 {

// Has them count as zero for as long as it lives: arithmetic with them, which a sigmoid far from
// zero would do, takes a hundred times as long.
class WithoutDenormals {
 public:
  WithoutDenormals() : control_(_mm_getcsr()) {
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x40;
    _mm_setcsr(control_ | kFlushToZero | kDenormalsAreZero);
  }
  ~WithoutDenormals() { _mm_setcsr(control_); }
  WithoutDenormals(const WithoutDenormals&) = delete;
  WithoutDenormals& operator=(const WithoutDenormals&) = delete;

 private:
  unsigned control_;
};

}  // namespace vsr::bfloat16
