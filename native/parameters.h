// The network's parameters, as the Python side writes them: one array of float32, integers among
// them, in the order in which the readers below take them. vsr/engine/native/pack.py is its mirror.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "gates.h"

namespace vsr {

class Reader {
 public:
  Reader(const float* values, size_t count) : next_(values), end_(values + count) {}

  float number() { return *take(1); }
  int integer() { return static_cast<int>(number()); }
  void numbers(float* to, size_t count) { std::copy_n(take(count), count, to); }
  void integers(int* to, int count) {
    for (int i = 0; i < count; ++i) to[i] = integer();
  }
  const float* take(size_t count) {
    if (static_cast<size_t>(end_ - next_) < count) throw std::runtime_error("parameters end early");
    const float* here = next_;
    next_ += count;
    return here;
  }
  void finish() const {
    if (next_ != end_) throw std::runtime_error("parameters are left over");
  }

 private:
  const float *next_, *end_;
};

GateParameters read_gate(Reader& reader);
CoefficientParameters read_coefficient(Reader& reader);

// A 1x1 convolution as it is written: matrix [outputs][inputs].
struct RawPointwise {
  int inputs, outputs;  // outputs are a multiple of kBlock
  const float *matrix, *bias;
  explicit RawPointwise(Reader& reader);
};

// A 3x3 convolution to 24 channels as it is written: six outputs at a time, each six reading a part
// of the inputs, kernels [6][depth][9].
struct RawConvolution {
  std::vector<int> inputs;  // their places in the line
  struct Block {
    int outputs[kBlock];
    int first, depth;  // which of `inputs`
    const float *kernels, *bias;
  };
  std::vector<Block> blocks;
  explicit RawConvolution(Reader& reader);
};

// Layers names an engine's convolutions, Pointwise and Convolution, and makes them from these:
// pointwise(const RawPointwise&), convolution(const RawConvolution&).

// Expand, ReLU, reduce, 3x3, gate; the 3x3 reads the reduced channels from the line.
template <class Layers>
struct WideOf {
  typename Layers::Pointwise expand, reduce;
  typename Layers::Convolution convolution;
  GateParameters gate;
  int first_reduced() const { return convolution.inputs.front(); }
};

template <class Layers>
struct WirwOf {
  WideOf<Layers> wide;
  float skip;
};

template <class Layers>
struct DistilledWcrwOf {
  int order[kChannels];  // the channel in each place of the line: distilled half, remaining half
  WideOf<Layers> wide;
  typename Layers::Convolution shortcut, distil;
};

template <class Layers>
struct WdibOf {
  WirwOf<Layers> wirw[4];
  DistilledWcrwOf<Layers> wcrw[2];
  CoefficientParameters a1, b1, a2, b2;
  WideOf<Layers> fuse;
  typename Layers::Convolution fuse_shortcut;
  typename Layers::Pointwise calibrate;
  GateParameters gate;
};

template <class Layers>
struct FswgOf {
  WdibOf<Layers> wdib[3];
  typename Layers::Convolution skip, merge1, merge2;
  WirwOf<Layers> wirw;
  int natural[kChannels];  // stored channel of the last block for each channel of the result
  float body_scale, skip_scale;
};

template <class Layers>
struct NetworkOf {
  std::vector<FswgOf<Layers>> groups;
  std::vector<int> order;  // which group each step of the trunk runs
};

// Readers of the above, in the order in which their parts are written.
template <class Layers>
struct Parameters {
  static WideOf<Layers> read_wide(Reader& reader) {
    WideOf<Layers> wide;
    wide.expand = Layers::pointwise(RawPointwise(reader));
    wide.reduce = Layers::pointwise(RawPointwise(reader));
    wide.convolution = Layers::convolution(RawConvolution(reader));
    wide.gate = read_gate(reader);
    return wide;
  }

  static WirwOf<Layers> read_wirw(Reader& reader) {
    WirwOf<Layers> unit;
    unit.wide = read_wide(reader);
    unit.skip = reader.number();
    return unit;
  }

  static DistilledWcrwOf<Layers> read_wcrw(Reader& reader) {
    DistilledWcrwOf<Layers> unit;
    reader.integers(unit.order, kChannels);
    unit.wide = read_wide(reader);
    unit.shortcut = Layers::convolution(RawConvolution(reader));
    unit.distil = Layers::convolution(RawConvolution(reader));
    return unit;
  }

  static void read_wdib(Reader& reader, WdibOf<Layers>& block) {
    for (auto& unit : block.wirw) unit = read_wirw(reader);
    for (auto& unit : block.wcrw) unit = read_wcrw(reader);
    for (auto* coefficient : {&block.a1, &block.b1, &block.a2, &block.b2})
      *coefficient = read_coefficient(reader);
    block.fuse = read_wide(reader);
    block.fuse_shortcut = Layers::convolution(RawConvolution(reader));
    block.calibrate = Layers::pointwise(RawPointwise(reader));
    block.gate = read_gate(reader);
  }

  static void read_fswg(Reader& reader, FswgOf<Layers>& group) {
    for (auto& block : group.wdib) read_wdib(reader, block);
    group.skip = Layers::convolution(RawConvolution(reader));
    group.merge1 = Layers::convolution(RawConvolution(reader));
    group.merge2 = Layers::convolution(RawConvolution(reader));
    group.wirw = read_wirw(reader);
    reader.integers(group.natural, kChannels);
    group.body_scale = reader.number();
    group.skip_scale = reader.number();
  }

  static NetworkOf<Layers> read_network(Reader& reader) {
    NetworkOf<Layers> network;
    network.groups.resize(reader.integer());
    for (auto& group : network.groups) read_fswg(reader, group);
    network.order.resize(reader.integer());
    reader.integers(network.order.data(), static_cast<int>(network.order.size()));
    reader.finish();
    return network;
  }
};

}  // namespace vsr
