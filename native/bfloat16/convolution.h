// 3x3 convolutions to 24 channels. Both ways to compute them define
//
//   Section: the rows of a line that convolutions read. store() puts cells of a pair, phase and
//     position there; finish() is called when all of them are there. sample_row(first_row, pairs,
//     phase, pair) is the row in a line where those of a section are, that begins at a row;
//   Patch: what a convolution gives at a time: kPatchPairs pairs of outputs from first_pair on, at
//     kPatchColumns places in a line or less, of which spot() tells the n-th;
//   for_patches(geometry, body): body(patch) from left to right; patches_of(geometry): how many;
//   Convolution, and multiply(convolution or 1x1 convolution, ...): to = a patch's products,
//     [2 * kPatchPairs][kPatchColumns][16];
//   kAhead: how many patches' products should be asked for before the first one's are looked at.
#pragma once

#include <vector>

#include "weights.h"

namespace vsr::bfloat16 {

// The lines above, at and below the one that is convolved.
struct Window {
  const Cell* line[3];
};

// The kernels of a convolution as they come: of inputs in the order in which they lie in the line.
struct Kernels {
  int count = 0;              // inputs
  std::vector<float> values;  // [24][count][9]
  float bias[kChannels] = {};

  const float* of(int output, int input) const {
    return &values[(static_cast<size_t>(output) * count + input) * 9];
  }
};

}  // namespace vsr::bfloat16

#if defined(VSR_TILES)
#include "direct.h"
#else
#include "winograd.h"
#endif
