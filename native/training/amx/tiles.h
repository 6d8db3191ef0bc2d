// The tile unit: eight tiles of sixteen rows of 64 bytes.
#pragma once

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <type_traits>

#include "../vectors.h"

namespace vsr::training {

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

// The compiler's own functions take no constant expressions for tiles.
template <int T>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(T));
}
template <int T>
inline void load_tile(const bf16* from, long bytes) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(bytes) : "memory");
}
template <int T>
inline void store_tile(float* to, long bytes) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(bytes) : "memory");
}
template <int Sum, int Left, int Right>
inline void multiply_add() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Left), "i"(Right));
}

// body(std::integral_constant<int, 0>) to body(.. N - 1).
template <int N, class Body>
inline __attribute__((always_inline)) void each_constant(Body&& body) {
  if constexpr (N > 1) each_constant<N - 1>(body);
  body(std::integral_constant<int, N - 1>{});
}

// Six tiles of sums, and the two that are multiplied.
constexpr int kSums = 6, kLeft = 6, kRight = 7;

// To and fro through 0 .. M - 1, turn by turn: the last one of a turn is the next one's first.
template <int M>
constexpr int to_and_fro(int turn, int i) {
  return turn % 2 ? M - 1 - i : i;
}

}  // namespace vsr::training
