// AMX's tile unit in software, for tests on processors without one: what the instructions do, a row
// at a time. VSR_SOFTWARE_TILES puts it in their place.
//
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, TDPBF16PS and others.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace vsr::software_tiles {

struct Tile {
  int rows = 0, row_bytes = 0;
  alignas(64) uint8_t bytes[16][64] = {};
};

// A thread's.
inline Tile& tile(int number) {
  static thread_local Tile tiles[8];
  return tiles[number];
}

inline void configure(const void* shapes) {
  const auto* bytes = static_cast<const uint8_t*>(shapes);
  for (int i = 0; i < 8; ++i) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof row_bytes);
    tile(i) = Tile{bytes[48 + i], row_bytes};
  }
}

inline void release() {
  for (int i = 0; i < 8; ++i) tile(i) = Tile{};
}

inline void zero(int to) { std::memset(tile(to).bytes, 0, sizeof tile(to).bytes); }

inline void load(int to, const void* from, long stride) {
  if (tile(to).rows == 0) std::abort();
  zero(to);
  for (int row = 0; row < tile(to).rows; ++row)
    std::memcpy(tile(to).bytes[row], static_cast<const char*>(from) + row * stride, tile(to).row_bytes);
}

inline void store(int from, void* to, long stride) {
  for (int row = 0; row < tile(from).rows; ++row)
    std::memcpy(static_cast<char*>(to) + row * stride, tile(from).bytes[row], tile(from).row_bytes);
}

// bfloat16 is the upper half of float32.
inline __m512 lower_halves(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
inline __m512 upper_halves(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

inline void multiply_add(int sums, int left, int right) {
  Tile& s = tile(sums);
  const Tile &a = tile(left), &b = tile(right);
  // The processor would raise #UD.
  const bool shaped = s.rows > 0 && s.rows == a.rows && s.row_bytes == b.row_bytes &&
                      b.rows == a.row_bytes / 4 && sums != left && sums != right && left != right;
  if (!shaped) std::abort();
  for (int row = 0; row < s.rows; ++row) {
    __m512 sum = _mm512_load_ps(s.bytes[row]);
    for (int k = 0; k < a.row_bytes / 4; ++k) {
      int pair;
      std::memcpy(&pair, a.bytes[row] + 4 * k, sizeof pair);
      const __m512i of_a = _mm512_set1_epi32(pair), of_b = _mm512_load_si512(b.bytes[k]);
      sum = _mm512_fmadd_ps(lower_halves(of_a), lower_halves(of_b), sum);
      sum = _mm512_fmadd_ps(upper_halves(of_a), upper_halves(of_b), sum);
    }
    _mm512_store_ps(s.bytes[row], sum);
  }
}

}  // namespace vsr::software_tiles

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(shapes) vsr::software_tiles::configure(shapes)
#define _tile_release() vsr::software_tiles::release()
#define _tile_zero(to) vsr::software_tiles::zero(to)
#define _tile_loadd(to, from, stride) vsr::software_tiles::load(to, from, stride)
#define _tile_stored(from, to, stride) vsr::software_tiles::store(from, to, stride)
#define _tile_dpbf16ps(sums, left, right) vsr::software_tiles::multiply_add(sums, left, right)
