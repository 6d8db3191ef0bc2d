#include "convolution.h"

namespace vsr::bfloat16 {

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
    if (column > 2 || channel >= kernels.count) return 0.0f;
    return kernels.of(output, channel)[tile / tiles * 3 + column];
  };
  weights.fill(kChannels, 3 * tiles, weight, kernels.bias);
}

}  // namespace vsr::bfloat16
