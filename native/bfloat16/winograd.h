// Convolutions by Winograd's F(4, 3) along the line, where products count more than what is done
// around them: half as many. Four phases are the four outputs of a tile. Rounding what is multiplied
// to bfloat16 makes the result about a third less exact than direct products of bfloat16.
#pragma once

#include "../transforms.h"
#include "convolution.h"

namespace vsr::bfloat16 {

constexpr int section_rows(int pairs) { return kReach * pairs; }
// In a line, sections of up to 48 channels and of their reduction, transformed; what they were made
// of, four phases for six points, is behind them.
constexpr int kTransformedRows = section_rows(2 * kPairs) + section_rows(kPairs);
constexpr int kLineRows = kTransformedRows + kTransformedRows / kReach * kTile;

// rows: [6 points][pairs][section_pitch]; samples: [4 phases][pairs][section_pitch]. What lies to the
// left and right of a row of samples is the margin of rows, which is zero.
struct Section {
  Cell *rows, *stored;
  int pairs;

  Cell* sample(const Geometry& geometry, int phase, int pair) const {
    return stored + static_cast<long>(phase * pairs + pair) * geometry.section_pitch;
  }
  void store(const Geometry& geometry, int pair, int phase, int position, __m512i cells) const {
    store_cells(sample(geometry, phase, pair) + position, cells);
  }
  void finish(const Geometry& geometry) const {
    for (int pair = 0; pair < pairs; ++pair)
      for (int position = 0; position < geometry.positions; position += kLanes) {
        Vec even[kReach], odd[kReach];
        const auto take = [&](int n, int phase, int at) {
          const Pair here = load_pair(sample(geometry, phase, pair) + at);
          even[n] = here.even;
          odd[n] = here.odd;
        };
        take(0, kTile - 1, position - 1);
        for (int phase = 0; phase < kTile; ++phase) take(1 + phase, phase, position);
        take(kTile + 1, 0, position + 1);
        Vec even_points[kReach], odd_points[kReach];
        inputs_1d(even, 1, even_points, 1);
        inputs_1d(odd, 1, odd_points, 1);
        Cell* to = rows + static_cast<long>(pair) * geometry.section_pitch + position;
        for (int p = 0; p < kReach; ++p)
          store_cells(to + static_cast<long>(p * pairs) * geometry.section_pitch, cells_of({even_points[p], odd_points[p]}));
      }
  }

  Samples samples(const Geometry& geometry) const {
    return {stored, geometry.section_pitch, static_cast<long>(pairs) * geometry.section_pitch};
  }
};

inline Section section_of(Cell* line, const Geometry& geometry, int first_row, int pairs) {
  const long pitch = geometry.section_pitch;
  return {line + first_row * pitch, line + (kTransformedRows + first_row / kReach * kTile) * pitch, pairs};
}

constexpr int kAhead = 0;
constexpr int kPatchPairs = kTileOutputs / 2, kPatchColumns = 2 * kTile;

// Four phases at one or two groups of sixteen positions.
struct Patch {
  int position, groups, first_pair;
  int columns() const { return groups * kTile; }
  bool begins() const { return position == 0; }
  Spot spot(const Geometry& geometry, int pair, int n) const {
    const int phase = n % kTile, at = position + n / kTile * kTilePositions;
    return {pair, phase, at, phase * geometry.positions + at};
  }
};

inline int patches_of(const Geometry& geometry) {
  return (geometry.positions + kColumns - 1) / kColumns * (kPairs / kPatchPairs);
}

template <class Body>
inline void for_patches(const Geometry& geometry, Body&& body) {
  for (int position = 0; position < geometry.positions; position += kColumns) {
    const int groups = std::min(kColumns, geometry.positions - position) / kTilePositions;
    for (int pair = 0; pair < kPairs; pair += kPatchPairs) body(Patch{position, groups, pair});
  }
}

struct Convolution {
  Kernels kernels;
  int read = 0;          // pairs
  Buffer<Cell> weights;  // [2 halves of the outputs][6 points][3 lines][read][12]

  void lay_out(int pairs, int read);
  const Cell* of(int half) const {
    return weights.get() + static_cast<size_t>(half) * kReach * 3 * read * kTileOutputs;
  }
};

// The products of a patch with Groups groups: points[6][12][Groups][16], and what they come to.
template <int Groups>
inline void multiply(const Convolution& convolution, const Window& window, const Geometry& geometry,
                     int first_row, int pairs, const Patch& patch, float* to) {
  constexpr int kRow = Groups * kTilePositions;
  alignas(64) float points[kReach][kTileOutputs * kRow];
  const long pitch = geometry.section_pitch;
  const int read = convolution.read;
  const Cell* weights = convolution.of(patch.first_pair / kPatchPairs);
  for (int p = 0; p < kReach; ++p) {
    Product<Groups> sums;
    for (const Cell* line : window.line) {
      sums.add(weights, line + (first_row + p * pairs) * pitch + patch.position, kTilePositions,
               pitch, read);
      weights += read * kTileOutputs;
    }
    sums.store(points[p], kRow, kTilePositions);
  }
  const float* bias = convolution.kernels.bias + 2 * patch.first_pair;
  for (int m = 0; m < kTileOutputs; ++m)
    for (int group = 0; group < Groups; ++group) {
      Vec in[kReach], out[kTile];
      for (int p = 0; p < kReach; ++p) in[p] = load(points[p] + m * kRow + group * kTilePositions);
      outputs_1d(in, 1, out, 1, broadcast(bias[m]));
      for (int phase = 0; phase < kTile; ++phase)
        store(to + (m * kPatchColumns + group * kTile + phase) * kTilePositions, out[phase]);
    }
}
inline void multiply(const Convolution& convolution, const Window& window, const Geometry& geometry,
                     int first_row, int pairs, const Patch& patch, float* to) {
  if (patch.groups == 2)
    multiply<2>(convolution, window, geometry, first_row, pairs, patch, to);
  else
    multiply<1>(convolution, window, geometry, first_row, pairs, patch, to);
}

inline void multiply(const Pointwise& layer, const Samples& in, const Patch& patch, float* to) {
  const int half = patch.first_pair / kPatchPairs;
  const Weights& weights = layer.weights;
  for (int n = 0; n < patch.columns(); n += 2) {
    const Cell* samples = in.at({patch.position + n / kTile * kTilePositions, n % kTile});
    Product<2> sums(weights.bias_of(0) + half * kTileOutputs * kTilePositions);
    for (int k = 0; k < weights.depth; ++k)
      sums.add(weights.of(0) + (2 * k + half) * kWeightTile,
               samples + k * kTilePairs * in.pair_pitch, in.phase_pitch, in.pair_pitch, kTilePairs);
    sums.store(to + n * kTilePositions, kPatchColumns * kTilePositions, kTilePositions);
  }
}

}  // namespace vsr::bfloat16
