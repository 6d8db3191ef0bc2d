#include "layers.h"

#include <algorithm>
#include <stdexcept>

namespace vsr::bfloat16 {
namespace {

int tiles_for(int channels) { return (channels + 2 * kTilePairs - 1) / (2 * kTilePairs); }

}  // namespace

Pointwise Layers::pointwise(const RawPointwise& raw) {
  Pointwise layer{raw.inputs, raw.outputs, {}};
  const auto weight = [&](int output, int input) {
    return input < raw.inputs ? raw.matrix[output * raw.inputs + input] : 0.0f;
  };
  layer.weights.fill(raw.outputs, tiles_for(raw.inputs), weight, raw.bias);
  return layer;
}

Convolution Layers::convolution(const RawConvolution& raw) {
  Convolution convolution;
  const auto [least, most] = std::minmax_element(raw.inputs.begin(), raw.inputs.end());
  const int first = *least, count = *most - *least + 1;
  if (count % kTileOutputs != 0)
    throw std::runtime_error("a 3x3 convolution has a number of inputs this engine cannot have");
  Kernels& kernels = convolution.kernels;
  kernels.count = count;
  kernels.values.assign(static_cast<size_t>(kChannels) * count * 9, 0.0f);
  for (const RawConvolution::Block& block : raw.blocks)
    for (int m = 0; m < kBlock; ++m) {
      const int output = block.outputs[m];
      kernels.bias[output] = block.bias[m];
      for (int k = 0; k < block.depth; ++k) {
        const int input = raw.inputs[block.first + k] - first;
        std::copy_n(block.kernels + (m * block.depth + k) * 9, 9,
                    &kernels.values[(static_cast<size_t>(output) * count + input) * 9]);
      }
    }
  convolution.lay_out(count / 2, count / 2);
  return convolution;
}

}  // namespace vsr::bfloat16
