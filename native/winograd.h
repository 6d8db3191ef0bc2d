// 3x3 convolution by Winograd's F(4x4, 3x3): 36 products for 16 outputs instead of 144.
//
// A tile of outputs is A^T [(G g G^T) * (B^T d B)] A for a kernel g and the 6x6 inputs d around it;
// see transforms.h.
#pragma once

#include <vector>

#include "layout.h"
#include "matmul.h"
#include "transforms.h"

namespace vsr {

constexpr int kPoints = kReach * kReach;  // products of a tile and a pair of channels

// A convolution to 24 channels, as blocks of six that may each read a part of the inputs.
struct Convolution {
  struct Block {
    int outputs[kBlock];   // the channels it computes
    int first, depth;      // the inputs it reads: that many of `inputs` from that one
    size_t weights;        // where its weights begin: [36][depth][6]
    float bias[kBlock];
  };
  std::vector<int> inputs;  // the channels of a line that any block reads
  std::vector<Block> blocks;
  Buffer<float> weights;

  void add_block(const int* outputs, int block_first, int depth, const float* kernels,
                 const float* bias);
};

// Six lines around a tile row, from the one above it: channel 0, phase 0, position 0 of each.
struct Window {
  const float* line[kReach];
};

// Room for the transformed inputs and products of a group of tiles.
struct WinogradScratch {
  explicit WinogradScratch(int inputs)
      : inputs(static_cast<size_t>(kPoints) * inputs * kVectors * kLanes),
        products(static_cast<size_t>(kPoints) * kBlock * kVectors * kLanes) {}
  Buffer<float> inputs, products;
};

// Transforms one channel of kLanes tiles; `line` points into a channel at phase 0 and the position.
inline void transform_inputs(const Window& window, size_t offset, int pitch, float* out,
                             long point_stride) {
  Vec d[kReach * kReach], t[kReach * kReach];
#pragma GCC unroll 6
  for (int y = 0; y < kReach; ++y) {
    const float* line = window.line[y] + offset;
    d[y * kReach] = load(line + 3 * pitch - 1);
#pragma GCC unroll 4
    for (int phase = 0; phase < kTile; ++phase) d[y * kReach + 1 + phase] = load(line + phase * pitch);
    d[y * kReach + 5] = load(line + 1);
  }
#pragma GCC unroll 6
  for (int x = 0; x < kReach; ++x) inputs_1d(d + x, kReach, t + x, kReach);
#pragma GCC unroll 6
  for (int y = 0; y < kReach; ++y) {
    Vec row[kReach];
    inputs_1d(t + y * kReach, 1, row, 1);
#pragma GCC unroll 6
    for (int x = 0; x < kReach; ++x) store(out + (y * kReach + x) * point_stride, row[x]);
  }
}

// The 4x4 outputs of kLanes tiles from their products.
inline void transform_outputs(const float* products, long point_stride, float bias,
                              Vec (&out)[kTile][kTile]) {
  Vec t[kTile * kReach];
#pragma GCC unroll 6
  for (int x = 0; x < kReach; ++x) {
    Vec m[kReach];
#pragma GCC unroll 6
    for (int y = 0; y < kReach; ++y) m[y] = load(products + (y * kReach + x) * point_stride);
    outputs_1d(m, 1, t + x, kReach, Vec{});
  }
#pragma GCC unroll 4
  for (int y = 0; y < kTile; ++y)
    outputs_1d(t + y * kReach, 1, &out[y][0], 1, broadcast(bias));
}

template <int N, class Emit>
inline void convolve_tiles(const Convolution& convolution, const Window& window, const Size& size,
                           int position, WinogradScratch& scratch, Emit&& emit) {
  constexpr int kSamples = N * kLanes;
  const int inputs = static_cast<int>(convolution.inputs.size());
  const long point = static_cast<long>(inputs) * kSamples;
  float* transformed = scratch.inputs.get();
  for (int k = 0; k < inputs; ++k) {
    const size_t offset =
        static_cast<size_t>(convolution.inputs[k]) * kTile * size.pitch + kLanes + position;
    for (int n = 0; n < N; ++n)
      transform_inputs(window, offset + n * kLanes, size.pitch,
                       transformed + k * kSamples + n * kLanes, point);
  }
  for (const Convolution::Block& block : convolution.blocks) {
    const float* in = transformed + block.first * kSamples;
    const float* weights = convolution.weights.get() + block.weights;
    float* products = scratch.products.get();
    for (int p = 0; p < kPoints; ++p) {
      Vec sums[kBlock][N] = {};
      multiply_block<N>(in + p * point, kSamples, weights, block.depth, sums);
      weights += block.depth * kBlock;
      for (int m = 0; m < kBlock; ++m)
        for (int n = 0; n < N; ++n)
          store(products + (p * kBlock + m) * kSamples + n * kLanes, sums[m][n]);
    }
    for (int m = 0; m < kBlock; ++m)
      for (int n = 0; n < N; ++n) {
        Vec out[kTile][kTile];
        transform_outputs(products + m * kSamples + n * kLanes, kBlock * kSamples, block.bias[m],
                          out);
        emit(block.outputs[m], position + n * kLanes, out);
      }
  }
}

// Convolves a row of tiles. `emit(channel, position, outputs)` gets kLanes tiles of a channel at a
// time; what lies beyond the picture is not zero yet.
template <class Emit>
void convolve(const Convolution& convolution, const Window& window, const Size& size,
              WinogradScratch& scratch, Emit&& emit) {
  int position = 0;
  for (; position + kVectors * kLanes <= size.positions; position += kVectors * kLanes)
    convolve_tiles<kVectors>(convolution, window, size, position, scratch, emit);
  for (; position < size.positions; position += kLanes)
    convolve_tiles<1>(convolution, window, size, position, scratch, emit);
}

}  // namespace vsr
