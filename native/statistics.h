// Mean and variance of every channel over the whole picture, while it is written.
//
// Each row of tiles is summed about a pivot of its own, a sample of it: sums of squares about zero
// would cancel on flat pictures. Rows of tiles are joined in order and in double precision (Chan,
// Golub and LeVeque, "Algorithms for computing the sample variance", 1983), so that the result does
// not depend on which thread summed which row.
#pragma once

#include <vector>

#include "layout.h"

namespace vsr {

struct Moments {
  double mean[kChannels], variance[kChannels];
};

// What a row of tiles contributes.
struct RowMoments {
  double count, mean[kChannels], squares[kChannels];  // squares of the deviations, summed
};

using MomentTable = std::vector<RowMoments>;  // one for each row of tiles

inline Moments join(const MomentTable& rows) {
  Moments total;
  for (int c = 0; c < kChannels; ++c) {
    double count = 0, mean = 0, squares = 0;
    for (const RowMoments& row : rows) {
      const double all = count + row.count, step = row.mean[c] - mean;
      mean += step * (row.count / all);
      squares += row.squares[c] + step * step * (count * row.count / all);
      count = all;
    }
    total.mean[c] = mean;
    total.variance[c] = squares / count;
  }
  return total;
}

// Sums of a row of tiles under way.
class RowSums {
 public:
  void begin_channel(int channel, float pivot) {
    pivot_[channel] = pivot;
    sum_[channel] = Vec{};
    squares_[channel] = Vec{};
  }
  void add(int channel, Vec value) {
    const Vec deviation = value - pivot_[channel];
    sum_[channel] += deviation;
    squares_[channel] += deviation * deviation;
  }
  void add(int channel, Vec value, int valid) {
    const Vec deviation = first_lanes(value - pivot_[channel], valid);
    sum_[channel] += deviation;
    squares_[channel] += deviation * deviation;
  }
  void finish(double count, RowMoments& out) const {
    out.count = count;
    for (int c = 0; c < kChannels; ++c) {
      double sum = 0, squares = 0;
      for (int i = 0; i < kLanes; ++i) {
        sum += sum_[c][i];
        squares += squares_[c][i];
      }
      out.mean[c] = pivot_[c] + sum / count;
      out.squares[c] = std::max(0.0, squares - sum * (sum / count));
    }
  }

 private:
  Vec sum_[kChannels], squares_[kChannels];
  float pivot_[kChannels];
};

}  // namespace vsr
