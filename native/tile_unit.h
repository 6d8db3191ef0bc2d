// The tile unit of AMX, as engine and training set it up.
//
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
#pragma once

#include <immintrin.h>

#include <cstdint>
#if defined(VSR_SOFTWARE_TILES)
#include "software_tiles.h"
#elif defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace vsr {

// Asks the system for the tile registers, for the whole process. false: it does not give them.
inline bool tile_unit_is_allowed() {
#if defined(VSR_SOFTWARE_TILES)
  return true;
#elif defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(2), asm/prctl.h
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Whatever tiles are loaded from has been stored before: GCC does not know that they read memory.
inline void before_loading_tiles() { asm volatile("" : : : "memory"); }

// What LDTILECFG reads: the rows of each of eight tiles, and the bytes of a row.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  // Every tile alike.
  TileShapes(int all_rows, int all_bytes) {
    for (int i = 0; i < 8; ++i) {
      rows[i] = static_cast<uint8_t>(all_rows);
      row_bytes[i] = static_cast<uint16_t>(all_bytes);
    }
  }
};

// Has this thread's tiles set up for as long as it lives.
class TileUnit {
 public:
  explicit TileUnit(const TileShapes& shapes) {
    // GCC believes that the instruction reads a pointer's worth, and would leave the rest unwritten.
    asm volatile("" : : "r"(&shapes) : "memory");
    _tile_loadconfig(&shapes);
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

}  // namespace vsr
