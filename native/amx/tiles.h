// AMX: products of small bfloat16 matrices, added up in float32 in tiles that live in the core.
//
// A product takes as many cycles as its left matrix has rows, whatever its depth. So weights are on
// the left, twelve output channels at a time, which divides every number of channels there is; on
// the right are twelve pairs of input channels at sixteen positions. A row of a tile is a cache
// line: one that begins anywhere else takes six times as long to load, which is why nothing here
// ever does.
#pragma once

#include <cstring>
#include <initializer_list>

#include "../tile_unit.h"

namespace vsr::amx {

constexpr int kTileOutputs = 12;  // channels that a product gives
constexpr int kTilePairs = 12;    // pairs of channels that it reads
constexpr int kTilePositions = 16;
// Of two tiles side by side, in the float32 buffers that products are stored to.
constexpr int kColumns = 2 * kTilePositions;

// A pair of channels at a position: two bfloat16, the even channel in the lower half.
using Cell = uint32_t;
// A tile of weights: [12 outputs][16 cells, of which 12 are used].
constexpr int kWeightTile = kTileOutputs * kTilePositions;

// Sets this thread's core up for as long as it lives: the shapes of the tiles; and numbers below
// float32's normal range are zero, because arithmetic with them, which a sigmoid far from zero
// would do, takes a hundred times as long.
class Core {
 public:
  Core() : control_(_mm_getcsr()), unit_(shapes()) {
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x40;
    _mm_setcsr(control_ | kFlushToZero | kDenormalsAreZero);
  }
  ~Core() { _mm_setcsr(control_); }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

 private:
  static TileShapes shapes() {
    TileShapes all(kTileOutputs, 64);
    for (int weights : {4, 5}) all.row_bytes[weights] = kTilePairs * sizeof(Cell);
    for (int samples : {6, 7}) all.rows[samples] = kTilePairs;
    return all;
  }
  unsigned control_;
  TileUnit unit_;
};

// Sums for Blocks times twelve outputs at two groups of sixteen positions. Their tiles are 0 to 3,
// those of the weights 4 and 5, those of the samples 6 and 7.
template <int Blocks>
struct Product {
  static_assert(Blocks == 1 || Blocks == 2);

  // bias: [12 * Blocks][16] float32, a value to a row.
  static inline __attribute__((always_inline)) void begin(const float* bias) {
    _tile_loadd(0, bias, 64);
    _tile_loadd(1, bias, 64);
    if constexpr (Blocks == 2) {
      _tile_loadd(2, bias + kTileOutputs * kTilePositions, 64);
      _tile_loadd(3, bias + kTileOutputs * kTilePositions, 64);
    }
  }

  // Adds weights (Blocks tiles) times the samples at two places, whose rows are `pitch` apart.
  static inline __attribute__((always_inline)) void add(const Cell* weights, const Cell* first,
                                                        const Cell* second, long pitch) {
    const long bytes = pitch * static_cast<long>(sizeof(Cell));
    _tile_loadd(6, first, bytes);
    _tile_loadd(4, weights, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, second, bytes);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Blocks == 2) {
      _tile_loadd(5, weights + kWeightTile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }

  // to: [12 * Blocks][2][16] float32.
  static inline __attribute__((always_inline)) void store(float* to) {
    constexpr long kBytes = kColumns * sizeof(float);
    _tile_stored(0, to, kBytes);
    _tile_stored(1, to + kTilePositions, kBytes);
    if constexpr (Blocks == 2) {
      _tile_stored(2, to + kTileOutputs * kColumns, kBytes);
      _tile_stored(3, to + kTileOutputs * kColumns + kTilePositions, kBytes);
    }
  }
};

}  // namespace vsr::amx
