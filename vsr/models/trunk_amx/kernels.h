// What a training step of FDIWN's trunk is made of, for one image on one core with AVX-512 and AMX.
//
// Maps are bfloat16, channels last, `width` pixels a line; sums, statistics and gradients of weights
// are float32. Products are the tile unit's: 16 pixels by 16 channels over 32 inputs at a time. A
// tile of inputs is read straight from a map, and where a row has fewer than 32 channels it reads
// into the next pixel, whose weights are zero; so whatever follows a map in memory must be finite,
// and `Arena` puts zeros there.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace vsr {

typedef uint16_t bf16;
typedef __m512 Vec;

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

inline __mmask16 first(int lanes) {
  return static_cast<__mmask16>(lanes >= 16 ? 0xffff : (1u << (lanes < 0 ? 0 : lanes)) - 1);
}
inline Vec widen(__m256i half) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
inline Vec load(const bf16* from) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline Vec load(const bf16* from, __mmask16 mask) {
  return widen(_mm256_maskz_loadu_epi16(mask, from));
}
inline Vec load(const float* from) { return _mm512_loadu_ps(from); }
inline __m256i narrow(Vec value) { return (__m256i)_mm512_cvtneps_pbh(value); }
inline void store(bf16* to, Vec value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow(value));
}
inline void store(bf16* to, Vec value, __mmask16 mask) {
  _mm256_mask_storeu_epi16(to, mask, narrow(value));
}
inline void store(float* to, Vec value) { _mm512_storeu_ps(to, value); }
inline Vec all(float value) { return _mm512_set1_ps(value); }
inline bf16 rounded(float value) {
  return static_cast<bf16>(_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)), 0));
}

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

// Tiles. One configuration for all: 16 rows of 64 bytes.

struct TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};
inline void open_tiles() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) config.bytes[i] = 64, config.rows[i] = 16;
  _tile_loadconfig(&config);
}

// Weights of a product over `taps` stretches of `inputs` contiguous inputs each, as pairs of rows.
struct Packed {
  const bf16* data;
  int stretches, inputs, outputs;
  int steps() const { return (inputs + 31) / 32; }  // per stretch
  int tiles() const { return (outputs + 15) / 16; }
  long size() const { return static_cast<long>(stretches) * steps() * tiles() * 512; }
};

// value(stretch, input, output) is float32.
template <class Value>
inline void pack(const Packed& p, bf16* to, Value value) {
  for (int s = 0; s < p.stretches; ++s)
    for (int k = 0; k < p.steps(); ++k)
      for (int t = 0; t < p.tiles(); ++t)
        for (int pair = 0; pair < 16; ++pair) {
          float row[32];
          for (int lane = 0; lane < 32; ++lane) {
            const int in = 32 * k + 2 * pair + (lane & 1), out = 16 * t + (lane >> 1);
            row[lane] = in < p.inputs && out < p.outputs ? value(s, in, out) : 0.0f;
          }
          store(to, _mm512_loadu_ps(row));
          store(to + 16, _mm512_loadu_ps(row + 16));
          to += 32;
        }
}

constexpr int kMostOutputs = 160;

template <int N>
inline void multiply_tiles(const bf16* const* rows, int pitch, const Packed& w, int tile,
                           float* sums, int line) {
  _tile_zero(0);
  if constexpr (N > 1) _tile_zero(1);
  if constexpr (N > 2) _tile_zero(2);
  if constexpr (N > 3) _tile_zero(3);
  const int steps = w.steps(), tiles = w.tiles();
  for (int s = 0; s < w.stretches; ++s)
    for (int k = 0; k < steps; ++k) {
      const bf16* b = w.data + (static_cast<long>(s * steps + k) * tiles + tile) * 512;
      _tile_loadd(4, rows[s] + 32 * k, 2 * pitch);
      _tile_loadd(5, b, 64);
      _tile_dpbf16ps(0, 4, 5);
      if constexpr (N > 1) {
        _tile_loadd(6, b + 512, 64);
        _tile_dpbf16ps(1, 4, 6);
      }
      if constexpr (N > 2) {
        _tile_loadd(7, b + 1024, 64);
        _tile_dpbf16ps(2, 4, 7);
      }
      if constexpr (N > 3) {
        _tile_loadd(5, b + 1536, 64);
        _tile_dpbf16ps(3, 4, 5);
      }
    }
  _tile_stored(0, sums, 4 * line);
  if constexpr (N > 1) _tile_stored(1, sums + 16, 4 * line);
  if constexpr (N > 2) _tile_stored(2, sums + 32, 4 * line);
  if constexpr (N > 3) _tile_stored(3, sums + 48, 4 * line);
}

// Sixteen pixels: sums[16][line] of all outputs.
inline void multiply(const bf16* const* rows, int pitch, const Packed& w, float* sums, int line) {
  const int tiles = w.tiles();
  int t = 0;
  for (; t + 4 <= tiles; t += 4) multiply_tiles<4>(rows, pitch, w, t, sums + 16 * t, line);
  switch (tiles - t) {
    case 1: multiply_tiles<1>(rows, pitch, w, t, sums + 16 * t, line); break;
    case 2: multiply_tiles<2>(rows, pitch, w, t, sums + 16 * t, line); break;
    case 3: multiply_tiles<3>(rows, pitch, w, t, sums + 16 * t, line); break;
    default: break;
  }
}

struct Size {
  int height, width;
  int pixels() const { return height * width; }
  int line() const { return width + 2; }                       // of a padded map
  long padded() const { return static_cast<long>(height + 2) * line(); }
  int flat() const { return round_up(height * line(), 32); }  // pixels of a padded gradient
};

// done(pixel, sums): sixteen pixels from `pixel` on, `kMostOutputs` floats each.
template <class Done>
inline void pointwise(Size size, const bf16* x, const Packed& w, Done done) {
  alignas(64) float sums[16 * kMostOutputs];
  for (int p = 0; p < size.pixels(); p += 16) {
    const bf16* row = x + static_cast<long>(p) * w.inputs;
    multiply(&row, w.inputs, w, sums, kMostOutputs);
    done(p, sums);
  }
}

// The map with a border of one zero pixel; `to` has had zeros in its border since it was made.
inline void pad(Size size, const bf16* x, int channels, bf16* to) {
  for (int y = 0; y < size.height; ++y)
    std::memcpy(to + (static_cast<long>(y + 1) * size.line() + 1) * channels,
                x + static_cast<long>(y) * size.width * channels, 2L * size.width * channels);
}

// 3x3 over a padded map; the weights' stretches are the kernel's lines, three pixels each.
template <class Done>
inline void convolve(Size size, const bf16* padded, const Packed& w, Done done) {
  alignas(64) float sums[16 * kMostOutputs];
  const int channels = w.inputs / 3;
  const long line = static_cast<long>(size.line()) * channels;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; x += 16) {
      const bf16* rows[3];
      for (int dy = 0; dy < 3; ++dy) rows[dy] = padded + (y + dy) * line + x * channels;
      multiply(rows, channels, w, sums, kMostOutputs);
      done(y * size.width + x, sums);
    }
}

// Gradients of weights: sums over pixels of input times gradient of output.

inline void transpose16(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; ++j) {
      t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
      t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
    r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
  }
}

// Two pixels' channels side by side: lane c is first[c] below second[c].
inline __m512i pair_of(const bf16* one, const bf16* other, __mmask16 mask) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, one));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, other));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// Length of a channel's line in a transposed map: padded, and what tiles read beyond it.
inline long transposed_length(Size size) {
  return round_up(static_cast<int>(size.padded()) + 2 * size.line() + 64, 32);
}

// A map with channels first and a border of zeros, which `to` has had since it was made.
inline void transpose(Size size, const bf16* x, int channels, bf16* to) {
  const long length = transposed_length(size);
  for (int c = 0; c < channels; c += 16) {
    const __mmask16 mask = first(channels - c);
    const int count = channels - c < 16 ? channels - c : 16;
    for (int y = 0; y < size.height; ++y)
      for (int at = 0; at < size.width; at += 32) {
        const int left = (size.width - at) / 2;  // pairs
        const bf16* from = x + (static_cast<long>(y) * size.width + at) * channels + c;
        __m512i r[16];
        for (int i = 0; i < 16; ++i)
          r[i] = i < left ? pair_of(from + 2L * i * channels, from + (2L * i + 1) * channels, mask)
                          : _mm512_setzero_si512();
        transpose16(r);
        bf16* line = to + c * length + (y + 1L) * size.line() + 1 + at;
        for (int i = 0; i < count; ++i)
          _mm512_mask_storeu_epi32(line + i * length, first(left), r[i]);
      }
  }
}

// A gradient as pairs of pixels, padded on the right; `to` has had zeros there since it was made.
inline void pair_up(Size size, const bf16* g, int channels, bf16* to) {
  const int tiles = (channels + 15) / 16;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; x += 2) {
      const bf16* from = g + (static_cast<long>(y) * size.width + x) * channels;
      bf16* pair = to + (static_cast<long>(y) * size.line() + x) / 2 * tiles * 32;
      for (int t = 0; t < tiles; ++t)
        _mm512_storeu_si512(pair + 32 * t, pair_of(from + 16 * t, from + channels + 16 * t,
                                                   first(channels - 16 * t)));
    }
}

template <int M, int N>
inline void outer_tiles(const bf16* const* a, long pitch, const bf16* b, long line, int steps,
                        float* sums) {
  static_assert(M * N <= 6 && N <= 2);
  // Accumulators 0 .. 5, then the two operands.
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3); _tile_zero(4); _tile_zero(5);
  for (int k = 0; k < steps; ++k) {
    const bf16* right = b + 16L * k * line;
    _tile_loadd(6, a[0] + 32 * k, 2 * pitch);
    _tile_loadd(7, right, 2 * line);
    _tile_dpbf16ps(0, 6, 7);
    if constexpr (M > 1) { _tile_loadd(6, a[1] + 32 * k, 2 * pitch); _tile_dpbf16ps(1, 6, 7); }
    if constexpr (M > 2) { _tile_loadd(6, a[2] + 32 * k, 2 * pitch); _tile_dpbf16ps(2, 6, 7); }
    if constexpr (N > 1) {
      _tile_loadd(7, right + 32, 2 * line);
      if constexpr (M > 2) { _tile_dpbf16ps(5, 6, 7); _tile_loadd(6, a[0] + 32 * k, 2 * pitch); }
      if constexpr (M == 1) _tile_dpbf16ps(3, 6, 7);
      if constexpr (M == 2) {
        _tile_dpbf16ps(4, 6, 7);
        _tile_loadd(6, a[0] + 32 * k, 2 * pitch);
        _tile_dpbf16ps(3, 6, 7);
      }
      if constexpr (M > 2) {
        _tile_dpbf16ps(3, 6, 7);
        _tile_loadd(6, a[1] + 32 * k, 2 * pitch);
        _tile_dpbf16ps(4, 6, 7);
      }
    }
  }
  _tile_stored(0, sums, 64);
  if constexpr (M > 1) _tile_stored(1, sums + 256, 64);
  if constexpr (M > 2) _tile_stored(2, sums + 512, 64);
  if constexpr (N > 1) {
    _tile_stored(3, sums + 768, 64);
    if constexpr (M > 1) _tile_stored(4, sums + 1024, 64);
    if constexpr (M > 2) _tile_stored(5, sums + 1280, 64);
  }
}

// add(tap, input, row of 16 sums over outputs from 16 * tile on, tile).
//
// `transposed` and `pairs` as above. 1 tap: a pointwise product; 9: a 3x3 convolution.
template <class Add>
inline void weight_gradient(Size size, const bf16* transposed, int inputs, const bf16* pairs,
                            int outputs, int taps, Add add) {
  const long length = transposed_length(size);
  const int blocks = (inputs + 15) / 16, tiles = (outputs + 15) / 16, steps = size.flat() / 32;
  const int rows = blocks * taps;  // of tiles, tap by tap
  alignas(64) float sums[6 * 256];
  for (int r = 0; r < rows; r += 3)
    for (int t = 0; t < tiles; t += 2) {
      const int m = rows - r < 3 ? rows - r : 3, n = tiles - t < 2 ? 1 : 2;
      const bf16* a[3];
      for (int i = 0; i < m; ++i) {
        const int tap = (r + i) / blocks, block = (r + i) % blocks;
        const long shift = taps == 1 ? size.line() + 1 : (tap / 3) * size.line() + tap % 3;
        a[i] = transposed + 16L * block * length + shift;
      }
      const bf16* b = pairs + 32L * t;
      const long line = 32L * tiles;
      if (n == 1) {
        if (m == 1) outer_tiles<1, 1>(a, length, b, line, steps, sums);
        if (m == 2) outer_tiles<2, 1>(a, length, b, line, steps, sums);
        if (m == 3) outer_tiles<3, 1>(a, length, b, line, steps, sums);
      } else {
        if (m == 1) outer_tiles<1, 2>(a, length, b, line, steps, sums);
        if (m == 2) outer_tiles<2, 2>(a, length, b, line, steps, sums);
        if (m == 3) outer_tiles<3, 2>(a, length, b, line, steps, sums);
      }
      for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) {
          const int tap = (r + i) / blocks, block = (r + i) % blocks;
          const int count = inputs - 16 * block < 16 ? inputs - 16 * block : 16;
          for (int c = 0; c < count; ++c)
            add(tap, 16 * block + c, sums + 768 * j + 256 * i + 16 * c, t + j);
        }
    }
}

}  // namespace vsr
