// The float32 engine's convolutions, and the network made of them.
#pragma once

#include "parameters.h"
#include "pointwise.h"
#include "winograd.h"

namespace vsr {

struct FloatLayers {
  using Pointwise = vsr::Pointwise;
  using Convolution = vsr::Convolution;
  static Pointwise pointwise(const RawPointwise& raw);
  static Convolution convolution(const RawConvolution& raw);
};

using Wide = WideOf<FloatLayers>;
using DistilledWcrw = DistilledWcrwOf<FloatLayers>;
using Wdib = WdibOf<FloatLayers>;
using Fswg = FswgOf<FloatLayers>;
using Network = NetworkOf<FloatLayers>;

}  // namespace vsr
