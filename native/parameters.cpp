#include "parameters.h"

namespace vsr {

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

RawPointwise::RawPointwise(Reader& reader) : inputs(reader.integer()), outputs(reader.integer()) {
  if (outputs % kBlock != 0 || outputs > kMaxHidden)
    throw std::runtime_error("a 1x1 convolution has a number of outputs this engine cannot have");
  matrix = reader.take(static_cast<size_t>(inputs) * outputs);
  bias = reader.take(outputs);
}

RawConvolution::RawConvolution(Reader& reader) : inputs(reader.integer()) {
  reader.integers(inputs.data(), static_cast<int>(inputs.size()));
  if (inputs.empty() || inputs.size() > 2 * kChannels)
    throw std::runtime_error("a 3x3 convolution has more inputs than this engine has room for");
  blocks.resize(reader.integer());
  for (Block& block : blocks) {
    reader.integers(block.outputs, kBlock);
    block.first = reader.integer();
    block.depth = reader.integer();
    block.kernels = reader.take(static_cast<size_t>(kBlock) * block.depth * 9);
    block.bias = reader.take(kBlock);
  }
}

}  // namespace vsr
