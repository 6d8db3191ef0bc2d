#include "convolution.h"

namespace vsr::bfloat16 {

void Convolution::lay_out(int, int read_) {
  read = read_;
  weights = Buffer<Cell>(static_cast<size_t>(kPairs / kPatchPairs) * kReach * 3 * read * kTileOutputs);
  Cell* to = weights.get();
  const auto transformed = [&](int output, int input, int line, int point) {
    if (input >= kernels.count) return 0.0f;
    double kernel[3], points[kReach];
    std::copy_n(kernels.of(output, input) + 3 * line, 3, kernel);
    kernel_1d(kernel, 1, points, 1);
    return static_cast<float>(points[point]);
  };
  for (int output = 0; output < kChannels; output += kTileOutputs)
    for (int point = 0; point < kReach; ++point)
      for (int line = 0; line < 3; ++line)
        for (int pair = 0; pair < read; ++pair)
          for (int m = output; m < output + kTileOutputs; ++m)
            *to++ = cell_of(transformed(m, 2 * pair, line, point), transformed(m, 2 * pair + 1, line, point));
}

}  // namespace vsr::bfloat16
