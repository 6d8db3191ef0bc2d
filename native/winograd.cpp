#include "winograd.h"

namespace vsr {

void Convolution::add_block(const int* outputs, int block_first, int depth, const float* kernels,
                            const float* bias) {
  Block block{};
  block.first = block_first;
  block.depth = depth;
  block.weights = blocks.empty() ? 0 : blocks.back().weights + static_cast<size_t>(kPoints) * blocks.back().depth * kBlock;
  Buffer<float> all(block.weights + static_cast<size_t>(kPoints) * depth * kBlock);
  if (block.weights != 0) std::memcpy(all.get(), weights.get(), block.weights * sizeof(float));
  for (int m = 0; m < kBlock; ++m) {
    block.outputs[m] = outputs[m];
    block.bias[m] = bias[m];
    for (int k = 0; k < depth; ++k) {
      double g[9], half[18], full[kPoints];
      for (int i = 0; i < 9; ++i) g[i] = kernels[(m * depth + k) * 9 + i];
      for (int x = 0; x < 3; ++x) kernel_1d(g + x, 3, half + x, 3);
      for (int y = 0; y < kReach; ++y) kernel_1d(half + 3 * y, 1, full + kReach * y, 1);
      for (int p = 0; p < kPoints; ++p)
        all.get()[block.weights + (static_cast<size_t>(p) * depth + k) * kBlock + m] = static_cast<float>(full[p]);
    }
  }
  weights = std::move(all);
  blocks.push_back(block);
}

}  // namespace vsr
