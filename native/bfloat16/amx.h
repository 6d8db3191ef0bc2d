// Products on AMX: sums live in tiles inside the core.
//
// A product takes as many cycles as its left matrix has rows, whatever its depth. So weights are on
// the left. A row of a tile is a cache line: one that begins anywhere else takes six times as long
// to load, which is why nothing here ever does.
#pragma once

#include "../tile_unit.h"
#include "denormals.h"
#include "products.h"

namespace vsr::bfloat16 {

class Core {
 public:
  // Why there is none, or nullptr.
  static const char* obstacle() {
    return tile_unit_is_allowed() ? nullptr : "the system does not give it the AMX tile registers";
  }

 private:
  static TileShapes shapes() {
    TileShapes all(kTileOutputs, 64);
    for (int weights : {4, 5}) all.row_bytes[weights] = kTilePairs * sizeof(Cell);
    for (int samples : {6, 7}) all.rows[samples] = kTilePairs;
    return all;
  }
  WithoutDenormals without_denormals_;
  TileUnit unit_{shapes()};
};

constexpr int weight_at(int output, int pair) { return output * kTilePositions + pair; }

// Sums are in tiles 0 to 3, weights in 4 and 5, samples in 6 and 7.
template <int Blocks, class ForEach>
inline __attribute__((always_inline)) void multiply_tiles(const Cell* weights, const float* bias,
                                                          long pitch, float* to,
                                                          ForEach&& samples) {
  static_assert(Blocks == 1 || Blocks == 2);
  const long bytes = pitch * static_cast<long>(sizeof(Cell));
  constexpr int kOutputs = kTileOutputs * kTilePositions;
  before_loading_tiles();
  _tile_loadd(0, bias, 64);
  _tile_loadd(1, bias, 64);
  if constexpr (Blocks == 2) {
    _tile_loadd(2, bias + kOutputs, 64);
    _tile_loadd(3, bias + kOutputs, 64);
  }
  samples([&](const Cell* first, const Cell* second) __attribute__((always_inline)) {
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
    weights += Blocks * kWeightTile;
  });
  constexpr long kRow = kColumns * sizeof(float);
  _tile_stored(0, to, kRow);
  _tile_stored(1, to + kTilePositions, kRow);
  if constexpr (Blocks == 2) {
    _tile_stored(2, to + kTileOutputs * kColumns, kRow);
    _tile_stored(3, to + kTileOutputs * kColumns + kTilePositions, kRow);
  }
}

}  // namespace vsr::bfloat16
