// The network's parameters, as the Python side writes them: one array of float32, integers among
// them, in the order in which the readers below take them. vsr/engine/native/pack.py is its mirror.
#pragma once

#include <stdexcept>
#include <vector>

#include "gates.h"
#include "pointwise.h"
#include "winograd.h"

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

Pointwise read_pointwise(Reader& reader);
Convolution read_convolution(Reader& reader);
GateParameters read_gate(Reader& reader);
CoefficientParameters read_coefficient(Reader& reader);

// Expand, ReLU, reduce, 3x3, gate; the 3x3 reads the reduced channels from the line.
struct Wide {
  Pointwise expand, reduce;
  Convolution convolution;
  GateParameters gate;
  int first_reduced() const { return convolution.inputs.front(); }
};

struct Wirw {
  Wide wide;
  float skip;
};

struct DistilledWcrw {
  int order[kChannels];  // the channel in each place of the line: distilled half, remaining half
  Wide wide;
  Convolution shortcut, distil;
};

struct Wdib {
  Wirw wirw[4];
  DistilledWcrw wcrw[2];
  CoefficientParameters a1, b1, a2, b2;
  Wide fuse;
  Convolution fuse_shortcut;
  Pointwise calibrate;
  GateParameters gate;
};

struct Fswg {
  Wdib wdib[3];
  Convolution skip, merge1, merge2;
  Wirw wirw;
  int natural[kChannels];  // stored channel of the last block for each channel of the result
  float body_scale, skip_scale;
};

struct Network {
  std::vector<Fswg> groups;
  std::vector<int> order;  // which group each step of the trunk runs
};

Wide read_wide(Reader& reader);
DistilledWcrw read_wcrw(Reader& reader);
void read_wdib(Reader& reader, Wdib& block);
Network read_network(Reader& reader);

}  // namespace vsr
