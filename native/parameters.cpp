#include "parameters.h"

namespace vsr {

Pointwise read_pointwise(Reader& reader) {
  Pointwise layer;
  layer.inputs = reader.integer();
  layer.outputs = reader.integer();
  if (layer.outputs % kBlock != 0 || layer.outputs > kMaxHidden)
    throw std::runtime_error("a 1x1 convolution has a number of outputs this engine cannot have");
  const float* matrix = reader.take(static_cast<size_t>(layer.inputs) * layer.outputs);
  layer.weights = Buffer<float>(static_cast<size_t>(layer.inputs) * layer.outputs);
  for (int o = 0; o < layer.outputs; ++o)
    for (int i = 0; i < layer.inputs; ++i)
      layer.weights.get()[(o / kBlock * layer.inputs + i) * kBlock + o % kBlock] =
          matrix[o * layer.inputs + i];
  layer.bias = Buffer<float>(layer.outputs);
  reader.numbers(layer.bias.get(), layer.outputs);
  return layer;
}

Convolution read_convolution(Reader& reader) {
  Convolution convolution;
  convolution.inputs.resize(reader.integer());
  reader.integers(convolution.inputs.data(), static_cast<int>(convolution.inputs.size()));
  if (convolution.inputs.size() > 2 * kChannels)
    throw std::runtime_error("a 3x3 convolution has more inputs than this engine has room for");
  const int blocks = reader.integer();
  for (int b = 0; b < blocks; ++b) {
    int outputs[kBlock];
    reader.integers(outputs, kBlock);
    const int first = reader.integer(), depth = reader.integer();
    const float* kernels = reader.take(static_cast<size_t>(kBlock) * depth * 9);
    const float* bias = reader.take(kBlock);
    convolution.add_block(outputs, first, depth, kernels, bias);
  }
  return convolution;
}

GateParameters read_gate(Reader& reader) {
  GateParameters gate;
  reader.numbers(gate.slope, kChannels);
  reader.numbers(gate.offset, kChannels);
  reader.numbers(gate.by_mean, kChannels);
  gate.epsilon = reader.number();
  return gate;
}

CoefficientParameters read_coefficient(Reader& reader) {
  CoefficientParameters coefficient;
  for (auto* mlp : {&coefficient.from_mean, &coefficient.from_deviation}) {
    reader.numbers(&mlp->squeeze[0][0], sizeof mlp->squeeze / sizeof(float));
    reader.numbers(mlp->squeeze_bias, sizeof mlp->squeeze_bias / sizeof(float));
    reader.numbers(&mlp->excite[0][0], sizeof mlp->excite / sizeof(float));
    reader.numbers(mlp->excite_bias, sizeof mlp->excite_bias / sizeof(float));
  }
  return coefficient;
}

Wide read_wide(Reader& reader) {
  Wide wide;
  wide.expand = read_pointwise(reader);
  wide.reduce = read_pointwise(reader);
  wide.convolution = read_convolution(reader);
  wide.gate = read_gate(reader);
  return wide;
}

namespace {

Wirw read_wirw(Reader& reader) {
  Wirw unit;
  unit.wide = read_wide(reader);
  unit.skip = reader.number();
  return unit;
}

}  // namespace

DistilledWcrw read_wcrw(Reader& reader) {
  DistilledWcrw unit;
  reader.integers(unit.order, kChannels);
  unit.wide = read_wide(reader);
  unit.shortcut = read_convolution(reader);
  unit.distil = read_convolution(reader);
  return unit;
}

void read_wdib(Reader& reader, Wdib& block) {
  for (Wirw& unit : block.wirw) unit = read_wirw(reader);
  for (DistilledWcrw& unit : block.wcrw) unit = read_wcrw(reader);
  for (auto* coefficient : {&block.a1, &block.b1, &block.a2, &block.b2})
    *coefficient = read_coefficient(reader);
  block.fuse = read_wide(reader);
  block.fuse_shortcut = read_convolution(reader);
  block.calibrate = read_pointwise(reader);
  block.gate = read_gate(reader);
}

namespace {

void read_fswg(Reader& reader, Fswg& group) {
  for (Wdib& block : group.wdib) read_wdib(reader, block);
  group.skip = read_convolution(reader);
  group.merge1 = read_convolution(reader);
  group.merge2 = read_convolution(reader);
  group.wirw = read_wirw(reader);
  reader.integers(group.natural, kChannels);
  group.body_scale = reader.number();
  group.skip_scale = reader.number();
}

}  // namespace

Network read_network(Reader& reader) {
  Network network;
  network.groups.resize(reader.integer());
  for (Fswg& group : network.groups) read_fswg(reader, group);
  network.order.resize(reader.integer());
  reader.integers(network.order.data(), static_cast<int>(network.order.size()));
  reader.finish();
  return network;
}

}  // namespace vsr
