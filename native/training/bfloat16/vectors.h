// Sixteen numbers at a time, with AVX-512: float32 to compute with, bfloat16 in memory.
#pragma once

namespace vsr::training {

typedef __mmask16 Mask;

inline Mask first(int lanes) {
  return static_cast<__mmask16>(lanes >= 16 ? 0xffff : (1u << (lanes < 0 ? 0 : lanes)) - 1);
}
inline Vec widen(__m256i half) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
inline Vec load(const bf16* from) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Vec load(const bf16* from, Mask mask) {
  return widen(_mm256_maskz_loadu_epi16(mask, from));
}
inline Vec load(const float* from, Mask mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline __m256i narrow(Vec value) { return (__m256i)_mm512_cvtneps_pbh(value); }
inline void store(bf16* to, Vec value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow(value));
}
inline void store(bf16* to, Vec value, Mask mask) {
  _mm256_mask_storeu_epi16(to, mask, narrow(value));
}
inline void store(float* to, Vec value, Mask mask) { _mm512_mask_storeu_ps(to, mask, value); }

// 1 / (1 + exp(-x)), to some units in float32's last place.
inline Vec sigmoid(Vec x) {
  Vec t = _mm512_mul_ps(x, all(-1.44269504f));
  t = _mm512_min_ps(_mm512_max_ps(t, all(-126.0f)), all(126.0f));
  const Vec n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Vec f = _mm512_sub_ps(t, n);
  Vec p = all(1.3333558e-3f);
  p = _mm512_fmadd_ps(p, f, all(9.6181291e-3f));
  p = _mm512_fmadd_ps(p, f, all(5.5504109e-2f));
  p = _mm512_fmadd_ps(p, f, all(2.4022651e-1f));
  p = _mm512_fmadd_ps(p, f, all(6.9314718e-1f));
  p = _mm512_fmadd_ps(p, f, all(1.0f));
  const Vec d = _mm512_add_ps(_mm512_scalef_ps(p, n), all(1.0f));
  Vec r = _mm512_rcp14_ps(d);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, all(2.0f)));
}

}  // namespace vsr::training
