// 3x3 convolutions to 24 channels. Both ways to compute them define
//
//   Section: the rows of a line that a convolution reads. store() puts cells of a pair, phase and
//     position there, finish() is called when all of them are there, samples() are what was stored;
//   section_rows(pairs): how many rows a section takes; section_of(line, geometry, first_row,
//     pairs): the one that begins at a row; kLineRows: rows of a line;
//   Patch: what a convolution gives at a time: kPatchPairs pairs of outputs from first_pair on, at
//     kPatchColumns places in a line or less, of which spot() tells the n-th;
//   for_patches(geometry, body): body(patch) from left to right; patches_of(geometry): how many;
//   Convolution, whose lay_out(pairs, read) makes its weights for sections of so many pairs, of which
//     it reads so many from the first on;
//   multiply(convolution or 1x1 convolution, ..., patch, to): to = a patch's products,
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
