// Products on the tile unit: 16 pixels by 16 channels over 32 inputs at a time, from bfloat16 with
// float32 sums.
#pragma once

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "../joins.h"
#include "../memory.h"

namespace vsr::training {

constexpr int kWidthMultiple = 16;  // a line of a map is whole tiles
constexpr int kRows = 16;           // pixels that a product's result is handed over for

// Asks the system for the tile registers, for the whole process. false: it does not give them.
inline bool unit_is_allowed() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(2), asm/prctl.h
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Has this thread's tile unit set up for as long as it lives: eight tiles of 16 rows of 64 bytes.
class Unit {
 public:
  Unit() {
    alignas(64) Configuration shape{};
    shape.palette = 1;
    for (int i = 0; i < 8; ++i) {
      shape.rows[i] = 16;
      shape.row_bytes[i] = 64;
    }
    // GCC believes that the instruction reads a pointer's worth, and would leave out the rest.
    asm volatile("" : : "r"(&shape) : "memory");
    _tile_loadconfig(&shape);
  }
  ~Unit() { _tile_release(); }
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

 private:
  struct Configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
};

// Weights of a product over `taps` stretches of `inputs` contiguous inputs each, as pairs of rows.
struct Packed {
  const bf16* data = nullptr;
  int stretches, inputs, outputs;
  // pixels: in a stretch, `channels` each.
  Packed(int stretches, int pixels, int channels, int outputs, const Way*)
      : stretches(stretches), inputs(pixels * channels), outputs(outputs) {}
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

// Whatever tiles are loaded from has been stored before: GCC does not know that they read memory.
inline void before_loading_tiles() { asm volatile("" : : : "memory"); }

template <int N>
inline void multiply_tiles(const bf16* const* rows, int pitch, const Packed& w, int tile,
                           float* sums, int line) {
  before_loading_tiles();
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

// done(pixel, count, sums): `count` pixels from `pixel` on, `kMostOutputs` floats each.
template <class Done>
inline void pointwise(Size size, const bf16* x, const Packed& w, Done done) {
  alignas(64) float sums[kRows * kMostOutputs];
  for (int p = 0; p < size.pixels(); p += kRows) {
    const bf16* row = x + static_cast<long>(p) * w.inputs;
    multiply(&row, w.inputs, w, sums, kMostOutputs);
    done(p, kRows, sums);
  }
}

// 3x3 over a padded map; the weights' stretches are the kernel's lines, three pixels each.
template <class Done>
inline void convolve(Size size, const bf16* padded, const Packed& w, Done done) {
  alignas(64) float sums[kRows * kMostOutputs];
  const int channels = w.inputs / 3;
  const long line = static_cast<long>(size.line()) * channels;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; x += kRows) {
      const bf16* rows[3];
      for (int dy = 0; dy < 3; ++dy) rows[dy] = padded + (y + dy) * line + x * channels;
      multiply(rows, channels, w, sums, kMostOutputs);
      done(y * size.width + x, kRows, sums);
    }
}

}  // namespace vsr::training
