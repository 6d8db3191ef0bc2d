#include "layers.h"

#include <algorithm>
#include <stdexcept>

namespace vsr::bfloat16 {
namespace {

// To bfloat16, ties to even.
uint16_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int tiles_for(int channels) { return (channels + 2 * kTilePairs - 1) / (2 * kTilePairs); }

}  // namespace

template <class Matrix>
void Weights::fill(int outputs, int depth_, Matrix&& matrix, const float* bias_) {
  blocks = (outputs + kTileOutputs - 1) / kTileOutputs;
  if (blocks > 1) blocks += blocks % 2;
  depth = depth_;
  const int together = std::min(blocks, 2);
  tiles = Buffer<Cell>(static_cast<size_t>(blocks) * depth * kWeightTile);
  bias = Buffer<float>(static_cast<size_t>(blocks) * kTileOutputs * kTilePositions);
  for (int output = 0; output < outputs; ++output) {
    const int block = output / kTileOutputs, row = output % kTileOutputs;
    float* spread = bias.get() + static_cast<size_t>(output) * kTilePositions;
    std::fill_n(spread, kTilePositions, bias_[output]);
    for (int k = 0; k < depth; ++k) {
      const size_t tile = (static_cast<size_t>(block / together) * depth + k) * together + block % together;
      Cell* cells = tiles.get() + tile * kWeightTile + row * kTilePositions;
      for (int pair = 0; pair < kTilePairs; ++pair) {
        const int channel = 2 * (k * kTilePairs + pair);
        cells[pair] = rounded(matrix(output, channel)) |
                      static_cast<Cell>(rounded(matrix(output, channel + 1))) << 16;
      }
    }
  }
}

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
  convolution.count = count;
  convolution.kernels.assign(static_cast<size_t>(kChannels) * count * 9, 0.0f);
  for (const RawConvolution::Block& block : raw.blocks)
    for (int m = 0; m < kBlock; ++m) {
      const int output = block.outputs[m];
      convolution.bias[output] = block.bias[m];
      for (int k = 0; k < block.depth; ++k) {
        const int input = raw.inputs[block.first + k] - first;
        std::copy_n(block.kernels + (m * block.depth + k) * 9, 9,
                    &convolution.kernels[(static_cast<size_t>(output) * count + input) * 9]);
      }
    }
  convolution.lay_out(count / 2, count / 2);
  return convolution;
}

void Convolution::lay_out(int pairs, int read) {
  // Rows of a section: three phases of `pairs` pairs each. Tiles that reach beyond what is read have
  // zero weights there.
  tile_rows.clear();
  if (read == pairs) {
    for (int row = 0; row < 3 * pairs; row += kTilePairs) tile_rows.push_back(row);
  } else {
    for (int column = 0; column < 3; ++column)
      for (int row = 0; row < read; row += kTilePairs) tile_rows.push_back(column * pairs + row);
  }
  const int tiles = static_cast<int>(tile_rows.size());
  const auto weight = [&](int output, int k) {
    const int tile = k / (2 * kTilePairs), pair = k % (2 * kTilePairs) / 2;
    const int row = tile_rows[tile % tiles] + pair;
    const int channel = 2 * (row % pairs) + k % 2, column = row / pairs;
    if (column > 2 || channel >= count) return 0.0f;
    return kernels[(static_cast<size_t>(output) * count + channel) * 9 + tile / tiles * 3 + column];
  };
  weights.fill(kChannels, 3 * tiles, weight, bias);
}

}  // namespace vsr::bfloat16
