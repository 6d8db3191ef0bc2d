// Products of small bfloat16 matrices, added up in float32: twelve output channels at a time, which
// divides every number of channels there is, from twelve pairs of input channels at sixteen
// positions.
//
// Weights come as tiles of twelve outputs by twelve pairs, samples as rows of sixteen positions, a
// row to a pair. Two groups of positions are multiplied together, wherever each of them is.
#pragma once

#include <cstdint>

namespace vsr::bfloat16 {

constexpr int kTileOutputs = 12;  // channels that a product gives
constexpr int kTilePairs = 12;    // pairs of channels that it reads
constexpr int kTilePositions = 16;
// Of two groups side by side, in the float32 buffers that products are stored to.
constexpr int kColumns = 2 * kTilePositions;

// A pair of channels at a position: two bfloat16, the even channel in the lower half.
using Cell = uint32_t;
// Room for a tile of weights, in cells; weight_at() says which of them are used.
constexpr int kWeightTile = kTileOutputs * kTilePositions;

}  // namespace vsr::bfloat16

// What multiplies. Both define
//
//   Core: sets a thread's core up for as long as it lives;
//   weight_at(output, pair): where a tile of weights has theirs;
//   multiply_tiles<Blocks>(weights, bias, pitch, to, samples): to = bias + weights * samples, for
//     Blocks times twelve outputs. weights: [tiles][Blocks] tiles; bias: [12 * Blocks][16], a value
//     to a row; to: [12 * Blocks][2][16]. samples(add) calls add(first, second) for each tile of
//     weights in turn, with where the two groups' rows begin, which are `pitch` cells apart.
#if defined(VSR_TILES)
#include "amx.h"
#else
#include "dot.h"
#endif
