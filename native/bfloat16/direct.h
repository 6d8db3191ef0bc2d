// Convolutions as products with the line's neighbours, for AMX.
#pragma once

#include "convolution.h"

namespace vsr::bfloat16 {

// The rows of a line that a convolution reads: [6][pairs][section_pitch]. The six are phase 3 one
// position to the right, the four phases, and phase 0 one position to the left: the neighbours of
// phase f are at f, f + 1 and f + 2.
constexpr int kNeighbours = kTile + 2;

struct Section {
  Cell* rows;
  int pairs;

  Cell* row(const Geometry& geometry, int neighbour, int pair) const {
    return rows + static_cast<long>(neighbour * pairs + pair) * geometry.section_pitch;
  }

  void store(const Geometry& geometry, int pair, int phase, int position, __m512i cells) const {
    store_cells(row(geometry, phase + 1, pair) + position, cells);
    if (phase == kTile - 1) {
      Cell* right = row(geometry, 0, pair);
      store_cells(right + position + 1, cells);
      if (position == 0) right[0] = 0;
    } else if (phase == 0) {
      Cell* left = row(geometry, kTile + 1, pair);
      store_cells(left + position - 1, cells);
      if (position + kLanes == geometry.positions) left[geometry.positions - 1] = 0;
    }
  }
  void finish(const Geometry&) const {}

  // What was stored.
  Samples samples(const Geometry& geometry) const {
    return {row(geometry, 1, 0), geometry.section_pitch, static_cast<long>(pairs) * geometry.section_pitch};
  }
};

// How many rows sections with that many pairs take up.
constexpr int section_rows(int pairs) { return kNeighbours * pairs; }
// Rows of a line: sections of up to 48 channels and of their reduction, and what tiles may read
// beyond them.
constexpr int kLineRows = section_rows(2 * kPairs) + section_rows(kPairs) + 2 * kTilePairs;

// A section that begins at a row of a line.
inline Section section_of(Cell* line, const Geometry& geometry, int first_row, int pairs) {
  return {line + static_cast<long>(first_row) * geometry.section_pitch, pairs};
}

constexpr int kAhead = 1;
constexpr int kPatchPairs = kPairs, kPatchColumns = 2;

struct Patch : Block {
  static constexpr int first_pair = 0;
  static constexpr int columns() { return kPatchColumns; }
  bool begins() const { return position == 0 && phase == 0; }
  Spot spot(const Geometry& geometry, int pair, int n) const {
    return {pair, phase + n, position, place(geometry, n)};
  }
};

inline int patches_of(const Geometry& geometry) { return geometry.positions / kTilePositions * 2; }

template <class Body>
inline void for_patches(const Geometry& geometry, Body&& body) {
  for_blocks(geometry, [&](const Block& block) { body(Patch{block}); });
}

struct Convolution {
  Kernels kernels;
  std::vector<int> tile_rows;  // where each tile of weights begins in a section, for one line
  Weights weights;             // depth: three times the tiles of a line

  // Makes the weights for a section of `pairs` pairs, of which it reads `read` from the first on.
  void lay_out(int pairs, int read);
};

inline __attribute__((always_inline)) void multiply(const Convolution& convolution,
                                                    const Window& window, const Geometry& geometry,
                                                    int first_row, int pairs, const Patch& patch,
                                                    float* to) {
  const long pitch = geometry.section_pitch, next_phase = pairs * pitch;
  const long begin = first_row * pitch + patch.phase * next_phase + patch.position;
  multiply_tiles<2>(convolution.weights.of(0), convolution.weights.bias_of(0), pitch, to,
                    [&](auto&& add) __attribute__((always_inline)) {
                      for (const Cell* line : window.line)
                        for (const int row : convolution.tile_rows) {
                          const Cell* samples = line + begin + row * pitch;
                          add(samples, samples + next_phase);
                        }
                    });
}

inline __attribute__((always_inline)) void multiply(const Pointwise& layer, const Samples& in,
                                                    const Patch& patch, float* to) {
  const Cell* samples = in.at(patch);
  multiply<2>(layer.weights, 0, samples, samples + in.phase_pitch, in.pair_pitch,
              kTilePairs * in.pair_pitch, to);
}

}  // namespace vsr::bfloat16
