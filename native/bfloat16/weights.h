// 1x1 convolutions as tiles of weights, and how they are applied.
#pragma once

#include "layout.h"

namespace vsr::bfloat16 {

// To bfloat16, ties to even.
inline uint16_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline Cell cell_of(float even, float odd) {
  return rounded(even) | static_cast<Cell>(rounded(odd)) << 16;
}

// Tiles of weights for a matrix [outputs][depth], outputs padded to whole products of two blocks
// where there is more than one, depth to whole tiles.
struct Weights {
  int blocks = 0, depth = 0;  // tiles
  Buffer<Cell> tiles;         // [blocks / 2][depth][2], or [depth] if there is one block
  Buffer<float> bias;         // [blocks][12][16]

  // matrix(output, k): k counts channels, 24 to a tile.
  template <class Matrix>
  void fill(int outputs, int depth_, Matrix&& matrix, const float* bias_) {
    blocks = (outputs + kTileOutputs - 1) / kTileOutputs;
    if (blocks > 1) blocks += blocks % 2;
    depth = depth_;
    const int together = std::min(blocks, 2);
    tiles = Buffer<Cell>(static_cast<size_t>(blocks) * depth * kWeightTile);
    bias = Buffer<float>(static_cast<size_t>(blocks) * kTileOutputs * kTilePositions);
    for (int output = 0; output < outputs; ++output) {
      const int block = output / kTileOutputs, row = output % kTileOutputs;
      float* spread = bias.get() + static_cast<size_t>(output) * kTilePositions;
      std::fill_n(spread, kTilePositions, bias_[output]);
      for (int k = 0; k < depth; ++k) {
        const size_t tile = (static_cast<size_t>(block / together) * depth + k) * together + block % together;
        Cell* cells = tiles.get() + tile * kWeightTile;
        for (int pair = 0; pair < kTilePairs; ++pair) {
          const int channel = 2 * (k * kTilePairs + pair);
          cells[weight_at(row, pair)] = cell_of(matrix(output, channel), matrix(output, channel + 1));
        }
      }
    }
  }

  const Cell* of(int pair_of_blocks) const {
    return tiles.get() + static_cast<size_t>(pair_of_blocks) * depth * 2 * kWeightTile;
  }
  const float* bias_of(int pair_of_blocks) const {
    return bias.get() + static_cast<size_t>(pair_of_blocks) * 2 * kTileOutputs * kTilePositions;
  }
};

// A 1x1 convolution.
struct Pointwise {
  int inputs = 0, outputs = 0;
  Weights weights;
};

// The samples of a product, as Samples gives them, times a 1x1 convolution's blocks 2i and 2i + 1.
template <int Blocks>
inline __attribute__((always_inline)) void multiply(const Weights& weights, int pair_of_blocks,
                                                    const Cell* first, const Cell* second,
                                                    long pitch, long tile_step, float* to) {
  const int depth = weights.depth;
  multiply_tiles<Blocks>(weights.of(pair_of_blocks), weights.bias_of(pair_of_blocks), pitch, to,
                         [=](auto&& add) __attribute__((always_inline)) {
                           for (int k = 0; k < depth; ++k)
                             add(first + k * tile_step, second + k * tile_step);
                         });
}

}  // namespace vsr::bfloat16
