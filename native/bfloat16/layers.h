// The convolutions, and the network made of them.
#pragma once

#include "../parameters.h"
#include "convolution.h"

namespace vsr::bfloat16 {

struct Layers {
  using Pointwise = bfloat16::Pointwise;
  using Convolution = bfloat16::Convolution;
  static Pointwise pointwise(const RawPointwise& raw);
  static Convolution convolution(const RawConvolution& raw);
};

using Wide = WideOf<Layers>;
using DistilledWcrw = DistilledWcrwOf<Layers>;
using Wdib = WdibOf<Layers>;
using Fswg = FswgOf<Layers>;
using Network = NetworkOf<Layers>;

}  // namespace vsr::bfloat16
