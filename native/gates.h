// What statistics decide: the gates of the shuffle attentions, and the coefficients between the
// branches. Tiny; every thread computes them for itself.
#pragma once

#include <cmath>

#include "statistics.h"

namespace vsr {

// t * sigmoid(a t + b) per channel.
struct Gate {
  float slope[kChannels], offset[kChannels], constant[kChannels];

  // The gate of a stored channel, ready for a line of it.
  struct Channel {
    float slope, offset, constant;
    Vec operator()(Vec t) const {
      if (slope == 0) return t * constant;  // half of the channels: gated by their mean alone
      return t * sigmoid(t * slope + offset);
    }
  };
  Channel channel(int c) const { return {slope[c], offset[c], constant[c]}; }
};

struct GateParameters {
  float slope[kChannels], offset[kChannels], by_mean[kChannels], epsilon;

  Gate at(const Moments& moments) const {
    Gate gate;
    for (int c = 0; c < kChannels; ++c) {
      const double a = slope[c] / std::sqrt(moments.variance[c] + epsilon);
      const double b = offset[c] + (by_mean[c] - a) * moments.mean[c];
      gate.slope[c] = static_cast<float>(a);
      gate.offset[c] = static_cast<float>(b);
      gate.constant[c] = static_cast<float>(1 / (1 + std::exp(-b)));
    }
    return gate;
  }
};

// Half the sum of two gates, of the means and of the deviations; see vsr.models.fdiwn.Coefficient.
struct CoefficientParameters {
  static constexpr int kSqueezed = kChannels / 8;
  struct Mlp {
    float squeeze[kSqueezed][kChannels], squeeze_bias[kSqueezed];
    float excite[kChannels][kSqueezed], excite_bias[kChannels];
  } from_mean, from_deviation;

  struct Values {
    float of[kChannels];
  };

  Values at(const Moments& moments) const {
    constexpr double kMinVariance = 1e-12;
    double deviation[kChannels];
    for (int c = 0; c < kChannels; ++c)
      deviation[c] = std::sqrt(std::max(moments.variance[c], kMinVariance));
    Values values{};
    add(from_mean, moments.mean, values);
    add(from_deviation, deviation, values);
    return values;
  }

 private:
  static void add(const Mlp& mlp, const double* in, Values& values) {
    double hidden[kSqueezed];
    for (int j = 0; j < kSqueezed; ++j) {
      double sum = mlp.squeeze_bias[j];
      for (int c = 0; c < kChannels; ++c) sum += mlp.squeeze[j][c] * in[c];
      hidden[j] = std::max(sum, 0.0);
    }
    for (int c = 0; c < kChannels; ++c) {
      double sum = mlp.excite_bias[c];
      for (int j = 0; j < kSqueezed; ++j) sum += mlp.excite[c][j] * hidden[j];
      values.of[c] += static_cast<float>(0.5 / (1 + std::exp(-std::max(sum, 0.0))));
    }
  }
};

}  // namespace vsr
