// Convolutions as tiles of weights, and how they are applied to a line.
#pragma once

#include <vector>

#include "../parameters.h"
#include "layout.h"

namespace vsr::bfloat16 {

// Tiles of weights for a matrix [outputs][depth], outputs padded to whole products of two blocks
// where there is more than one, depth to whole tiles.
struct Weights {
  int blocks = 0, depth = 0;  // tiles
  Buffer<Cell> tiles;         // [blocks / 2][depth][2], or [depth] if there is one block
  Buffer<float> bias;         // [blocks][12][16]

  // matrix(output, k): k counts channels, 24 to a tile.
  template <class Matrix>
  void fill(int outputs, int depth_, Matrix&& matrix, const float* bias_);

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

// A 3x3 convolution to 24 channels.
struct Convolution {
  int count = 0;               // inputs, in the order in which they lie in the line
  std::vector<float> kernels;  // [24][count][9]
  float bias[kChannels] = {};
  std::vector<int> tile_rows;  // where each tile of weights begins in a section, for one line
  Weights weights;             // depth: three times the tiles of a line

  // Makes the weights for a section of `pairs` pairs, of which it reads `read` from the first on.
  void lay_out(int pairs, int read);
};

struct Layers {
  using Pointwise = bfloat16::Pointwise;
  using Convolution = bfloat16::Convolution;
  static Pointwise pointwise(const RawPointwise& raw);
  static Convolution convolution(const RawConvolution& raw);
};

using Wide = WideOf<Layers>;
using DistilledWcrw = DistilledWcrwOf<Layers>;
using Wdib = WdibOf<Layers>;
using Fswg = FswgOf<Layers>;
using Network = NetworkOf<Layers>;

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

// The lines above, at and below the one that is convolved: their sections.
struct Window {
  const Cell* line[3];
};

// One block of a convolution. `offset`: of the section's first row in a line.
inline __attribute__((always_inline)) void multiply(const Convolution& convolution,
                                                    const Window& window, long offset,
                                                    const Geometry& geometry, int section_pairs,
                                                    const Block& block, float* to) {
  const long pitch = geometry.section_pitch;
  const long begin = offset + block.phase * section_pairs * pitch + block.position;
  const long next_phase = section_pairs * pitch;
  multiply_tiles<2>(convolution.weights.of(0), convolution.weights.bias_of(0), pitch, to,
                    [&](auto&& add) __attribute__((always_inline)) {
                      for (const Cell* line : window.line)
                        for (const int row : convolution.tile_rows) {
                          const Cell* samples = line + begin + row * pitch;
                          add(samples, samples + next_phase);
                        }
                    });
}

}  // namespace vsr::bfloat16
