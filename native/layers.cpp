#include "layers.h"

namespace vsr {

Pointwise FloatLayers::pointwise(const RawPointwise& raw) {
  Pointwise layer{raw.inputs, raw.outputs, {}, {}};
  layer.weights = Buffer<float>(static_cast<size_t>(raw.inputs) * raw.outputs);
  for (int o = 0; o < raw.outputs; ++o)
    for (int i = 0; i < raw.inputs; ++i)
      layer.weights.get()[(o / kBlock * raw.inputs + i) * kBlock + o % kBlock] =
          raw.matrix[o * raw.inputs + i];
  layer.bias = Buffer<float>(raw.outputs);
  std::copy_n(raw.bias, raw.outputs, layer.bias.get());
  return layer;
}

Convolution FloatLayers::convolution(const RawConvolution& raw) {
  Convolution convolution;
  convolution.inputs = raw.inputs;
  for (const RawConvolution::Block& block : raw.blocks)
    convolution.add_block(block.outputs, block.first, block.depth, block.kernels, block.bias);
  return convolution;
}

}  // namespace vsr
