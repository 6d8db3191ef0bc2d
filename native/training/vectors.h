// A vector of float32, as in the engine, and what maps are stored as: bfloat16 or float32.
#pragma once

#include "../simd.h"

namespace vsr::training {

typedef uint16_t bf16;

// VSR_BFLOAT16 is for tests: it stores bfloat16 without instructions for it.
#if defined(VSR_TILES) || defined(VSR_DOT) || defined(VSR_BFLOAT16)
typedef bf16 Cell;
#else
typedef float Cell;
#endif

using vsr::load;
using vsr::store;

inline float value_of(float cell) { return cell; }
inline float value_of(bf16 cell) {
  const uint32_t bits = static_cast<uint32_t>(cell) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline Vec all(float value) { return broadcast(value); }
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec where_positive(Vec on, Vec value, Vec other = Vec{}) {
  return on > Vec{} ? value : other;
}

}  // namespace vsr::training

// Mask, the first so many lanes: loads have zeros in the others, stores leave what is there alone.
#if defined(VSR_TILES) || defined(VSR_DOT)
#include "bfloat16/vectors.h"
#else
#include "fma/vectors.h"
#endif

namespace vsr::training {

// each(channel, mask): the vectors of a pixel's channels.
template <class Each>
inline void over_channels(int channels, Each each) {
  for (int c = 0; c < channels; c += kLanes) each(c, first(channels - c));
}

}  // namespace vsr::training
