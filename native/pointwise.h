// 1x1 convolutions on a line, samples in place of pixels: expand, ReLU, reduce without the wide
// features ever leaving the first-level cache; and a single one.
//
// Lines here are the ones that convolutions read: [channel][phase][pitch], a vector of margin at
// each side of a phase.
#pragma once

#include "layout.h"
#include "matmul.h"

namespace vsr {

struct Pointwise {
  int inputs, outputs;    // outputs are a multiple of kBlock
  Buffer<float> weights;  // [outputs / 6][inputs][6]
  Buffer<float> bias;     // [outputs]
};

template <int N, class Finish>
inline void pointwise_samples(const Pointwise& layer, const float* in, long stride,
                              Finish&& finish) {
  const float* weights = layer.weights.get();
  for (int first = 0; first < layer.outputs; first += kBlock) {
    Vec sums[kBlock][N];
    for (int m = 0; m < kBlock; ++m)
      for (int n = 0; n < N; ++n) sums[m][n] = broadcast(layer.bias.get()[first + m]);
    multiply_block<N>(in, stride, weights, layer.inputs, sums);
    weights += layer.inputs * kBlock;
    finish(first, sums);
  }
}

// Calls body(N, offset) for all samples of a line, kVectors at a time and then one by one; offset
// is from the line's beginning.
template <class Body>
inline void for_samples(const Size& size, Body&& body) {
  for (int phase = 0; phase < kTile; ++phase) {
    const long begin = static_cast<long>(phase) * size.pitch + kLanes;
    int position = 0;
    for (; position + kVectors * kLanes <= size.positions; position += kVectors * kLanes)
      body(std::integral_constant<int, kVectors>{}, begin + position);
    for (; position < size.positions; position += kLanes)
      body(std::integral_constant<int, 1>{}, begin + position);
  }
}

inline void expand_and_reduce(const Pointwise& expand, const Pointwise& reduce, const float* in,
                              float* out, const Size& size) {
  const long stride = static_cast<long>(kTile) * size.pitch;
  alignas(64) float hidden[kMaxHidden * kVectors * kLanes];
  for_samples(size, [&](auto vectors, long offset) {
    constexpr int N = vectors.value;
    pointwise_samples<N>(expand, in + offset, stride, [&](int first, Vec(&sums)[kBlock][N]) {
      for (int m = 0; m < kBlock; ++m)
        for (int n = 0; n < N; ++n)
          store(hidden + ((first + m) * N + n) * kLanes, relu(sums[m][n]));
    });
    pointwise_samples<N>(reduce, hidden, N * kLanes, [&](int first, Vec(&sums)[kBlock][N]) {
      for (int m = 0; m < kBlock; ++m)
        for (int n = 0; n < N; ++n)
          store(out + (first + m) * stride + offset + n * kLanes, sums[m][n]);
    });
  });
}

// Zeroes what lies to the right of the picture in `channels` channels of a line.
inline void clear_beyond(float* line, int channels, const Size& size) {
  for (int phase = 0; phase < kTile; ++phase) {
    const int valid = size.valid(phase);
    if (valid == size.positions) continue;
    for (int c = 0; c < channels; ++c) {
      float* begin = line + (static_cast<size_t>(c) * kTile + phase) * size.pitch + kLanes;
      std::fill(begin + valid, begin + size.positions, 0.0f);
    }
  }
}

}  // namespace vsr
