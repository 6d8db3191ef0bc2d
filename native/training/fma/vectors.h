// The first lanes of a vector without AVX-512's masks, and bfloat16 without its instructions, which
// only tests use: they compile sixteen lanes for a processor with eight.
#pragma once

namespace vsr::training {

using vsr::sigmoid;

typedef int Mask;

inline Mask first(int lanes) { return lanes < 0 ? 0 : lanes < kLanes ? lanes : kLanes; }


#if VSR_LANES == 8
inline Vec load(const float* from, Mask count) {
  alignas(32) static constexpr int32_t kOn[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  const __m256i* mask = reinterpret_cast<const __m256i*>(kOn + 8 - count);
  return _mm256_maskload_ps(from, _mm256_loadu_si256(mask));
}
// In pieces: masked stores are slow on AMD's processors.
inline void store(float* to, Vec value, Mask count) {
  if (count >= 8) return store(to, value);
  __m128 part = _mm256_castps256_ps128(value);
  if (count & 4) {
    _mm_storeu_ps(to, part);
    part = _mm256_extractf128_ps(value, 1);
    to += 4;
  }
  if (count & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(to), part);
    part = _mm_movehl_ps(part, part);
    to += 2;
  }
  if (count & 1) _mm_store_ss(to, part);
}
#else
inline Vec load(const float* from, Mask count) {
  Vec value{};
  for (int i = 0; i < count; ++i) value[i] = from[i];
  return value;
}
inline void store(float* to, Vec value, Mask count) {
  for (int i = 0; i < count; ++i) to[i] = value[i];
}
#endif

// The nearest, of two the even one.
inline bf16 narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value) return 0x7fc0;
  return static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline void store_first(float* to, float value) { *to = value; }
inline void store_first(bf16* to, float value) { *to = narrow(value); }
inline Vec load(const bf16* from, Mask count = kLanes) {
  Vec value{};
  for (int i = 0; i < count; ++i) value[i] = value_of(from[i]);
  return value;
}
inline void store(bf16* to, Vec value, Mask count = kLanes) {
  for (int i = 0; i < count; ++i) to[i] = narrow(value[i]);
}

}  // namespace vsr::training
