// A vector of float32 as wide as the target's registers, and what the engine does with it.
//
// Arithmetic is written with the compiler's vector extension, so that one source serves every
// instruction set: VSR_LANES says how many floats a vector has. Sixteen lanes can also be compiled
// for an 8-lane machine (each operation becomes two), which is how that code is tested there.
#pragma once

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#ifndef VSR_LANES
#if defined(__AVX512F__)
#define VSR_LANES 16
#elif defined(__AVX2__)
#define VSR_LANES 8
#else
#define VSR_LANES 4
#endif
#endif

namespace vsr {

constexpr int kLanes = VSR_LANES;
// Vectors of samples that products take at a time. Six output channels by two are twelve sums:
// enough to hide the latency of two multiply-add units of four cycles, and with the two inputs and
// a weight they fill AVX2's sixteen registers. ARM64 has up to four units and thirty-two registers.
constexpr int kVectors = kLanes == 4 ? 3 : 2;

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));
typedef float LooseVec __attribute__((vector_size(4 * kLanes), aligned(4)));

inline Vec broadcast(float value) {
#if VSR_LANES == 16 && defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_set1_ps(value));
#elif VSR_LANES == 8 && defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_set1_ps(value));
#elif VSR_LANES == 4 && defined(__aarch64__)
  return reinterpret_cast<Vec>(vdupq_n_f32(value));
#else
  Vec all;
  for (int i = 0; i < kLanes; ++i) all[i] = value;
  return all;
#endif
}
inline Vec load(const float* from) { return *reinterpret_cast<const LooseVec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<LooseVec*>(to) = value; }

// Storage of maps: float32, or half precision that is widened when it is read.
struct Half {
  uint16_t bits;
};

// As many numbers as the processor converts at a time.
#if defined(__AVX512F__) && VSR_LANES == 16
struct Part {
  typedef __m512 Wide;
  static Wide widen(const Half* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static void narrow(Half* to, Wide value) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(value, kNearest));
  }
};
#elif defined(__AVX2__) && VSR_LANES >= 8
struct Part {
  typedef __m256 Wide;
  static Wide widen(const Half* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static void narrow(Half* to, Wide value) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(value, kNearest));
  }
};
#elif defined(__aarch64__)
struct Part {
  typedef float32x4_t Wide;
  static Wide widen(const Half* from) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from->bits)));
  }
  static void narrow(Half* to, Wide value) {
    vst1_u16(&to->bits, vreinterpret_u16_f16(vcvt_f16_f32(value)));  // to the nearest
  }
};
#else
struct Part {
  typedef __m128 Wide;
  static Wide widen(const Half* from) {
    return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }
  static void narrow(Half* to, Wide value) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_cvtps_ph(value, kNearest));
  }
};
#endif
constexpr int kPart = sizeof(Part::Wide) / sizeof(float);

inline Vec load(const Half* from) {
  Vec value;
  for (int i = 0; i < kLanes; i += kPart) {
    const Part::Wide wide = Part::widen(from + i);
    std::memcpy(reinterpret_cast<float*>(&value) + i, &wide, sizeof wide);
  }
  return value;
}

inline void store(Half* to, Vec value) {
  for (int i = 0; i < kLanes; i += kPart) {
    Part::Wide wide;
    std::memcpy(&wide, reinterpret_cast<const float*>(&value) + i, sizeof wide);
    Part::narrow(to + i, wide);
  }
}

inline float load_one(const float* from) { return *from; }
inline void store_one(float* to, float value) { *to = value; }
#if defined(__aarch64__)
inline float load_one(const Half* from) {
  __fp16 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
inline void store_one(Half* to, float value) {
  const __fp16 rounded = static_cast<__fp16>(value);
  std::memcpy(to, &rounded, sizeof rounded);
}
#else
inline float load_one(const Half* from) { return _cvtsh_ss(from->bits); }
inline void store_one(Half* to, float value) { to->bits = _cvtss_sh(value, 0); }
#endif

#if VSR_LANES == 16 && defined(__AVX512F__)
inline Vec maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec minimum(Vec a, Vec b) { return _mm512_min_ps(a, b); }
#elif VSR_LANES == 8 && defined(__AVX2__)
inline Vec maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec minimum(Vec a, Vec b) { return _mm256_min_ps(a, b); }
#elif VSR_LANES == 4 && defined(__aarch64__)
inline Vec maximum(Vec a, Vec b) { return vmaxq_f32(a, b); }
inline Vec minimum(Vec a, Vec b) { return vminq_f32(a, b); }
#else
inline Vec maximum(Vec a, Vec b) { return a > b ? a : b; }
inline Vec minimum(Vec a, Vec b) { return a < b ? a : b; }
#endif
inline Vec relu(Vec value) { return maximum(value, Vec{}); }
inline Vec leaky_relu(Vec value, float slope) { return maximum(value, value * slope); }

// The first `valid` lanes of value, zero in the others.
inline Vec first_lanes(Vec value, int valid) {
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < valid ? value : Vec{};
}

inline float sum_of_lanes(Vec value) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += value[i];
  return sum;
}

// 1 / (1 + exp(-x)), to about two units in the last place.
//
// exp(-x) = 2^t with t = -x log2(e) = n + f, |f| <= 1/2: 2^f is its Taylor series to the seventh
// power, whose next term is below 2^-27, and 2^n an exponent. t is kept where 2^n is normal; the
// sigmoid is 0 or 1 to float32 beyond.
inline Vec sigmoid(Vec x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  Vec t = x * -1.44269504f;
  t = minimum(maximum(t, broadcast(-126.0f)), broadcast(126.0f));
  const Vec shifted = t + kShift;
  const Vec f = t - (shifted - kShift);
  Vec p = broadcast(1.5252734e-5f);
  p = p * f + 1.5403530e-4f;
  p = p * f + 1.3333558e-3f;
  p = p * f + 9.6181291e-3f;
  p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  const Vec power = reinterpret_cast<Vec>(reinterpret_cast<IntVec>(p) +
                                          (reinterpret_cast<IntVec>(shifted) << 23));
  return broadcast(1.0f) / (power + 1.0f);
}

}  // namespace vsr
