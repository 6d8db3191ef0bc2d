// Effective weights of a group from its parameters, and back: weight normalisation, the scalars
// that multiply convolutions, and the order in which channels are stored. The same as
// `vsr.models.training.trunk` does with torch, in a hundredth of the time.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "orders.h"

namespace vsr::training {

// Takes a group's parameters in turn, each as torch has it; gradients, if wanted, beside them.
class Parameters {
 public:
  struct One {
    const float* value;
    float* gradient;  // null on the way forward
  };
  Parameters(const float* const* values, float* const* gradients)
      : values_(values), gradients_(gradients) {}
  One take() {
    const int i = count_++;
    return {values_[i], gradients_ ? gradients_[i] : nullptr};
  }
  int count() const { return count_; }

 private:
  const float* const* values_;
  float* const* gradients_;
  int count_ = 0;
};

// A number that weights are multiplied by; its gradient is summed up.
struct Factor {
  float value = 1;
  float* gradient = nullptr;
};
inline Factor factor(Parameters::One p) { return {*p.value, p.gradient}; }

// One side is the effective weights, the other the parameters: `forward` writes the former from the
// latter, else their gradients go the other way.
struct Copier {
  bool forward;

  // to[taps][ins][stride] from kernel[outputs][inputs][taps], times a factor for each stored input
  // and one for all.
  void kernel(float* to, int stride, const float* from, float* gradient, int inputs, int taps,
              const Indices& ins, const Indices& outs, const std::vector<Factor>& input_factors,
              Factor whole) const {
    for (size_t i = 0; i < ins.size(); ++i) {
      const Factor by = input_factors.empty() ? Factor{} : input_factors[i];
      float of_input = 0, of_whole = 0;
      for (int t = 0; t < taps; ++t) {
        float* row = to + (t * ins.size() + i) * stride;
        for (size_t o = 0; o < outs.size(); ++o) {
          if (ins[i] < 0) {
            if (forward) row[o] = 0;
            continue;
          }
          const long at = (static_cast<long>(outs[o]) * inputs + ins[i]) * taps + t;
          if (forward) {
            row[o] = from[at] * by.value * whole.value;
          } else {
            gradient[at] += row[o] * by.value * whole.value;
            of_input += row[o] * from[at] * whole.value;
            of_whole += row[o] * from[at] * by.value;
          }
        }
      }
      if (by.gradient) *by.gradient += of_input;
      if (whole.gradient) *whole.gradient += of_whole;
    }
  }

  void vector(float* to, Parameters::One p, const Indices& order, Factor whole = {}) const {
    for (size_t c = 0; c < order.size(); ++c) {
      if (forward) {
        to[c] = p.value[order[c]] * whole.value;
      } else {
        p.gradient[order[c]] += to[c] * whole.value;
        if (whole.gradient) *whole.gradient += to[c] * p.value[order[c]];
      }
    }
  }

  void number(float* to, Factor a, Factor b = {}) const {
    if (forward) {
      *to = a.value * b.value;
    } else {
      *a.gradient += *to * b.value;
      if (b.gradient) *b.gradient += *to * a.value;
    }
  }
};

// A weight-normalised kernel, g v / |v|, while it is copied.
class Normed {
 public:
  Normed(const Copier& copier, Parameters& p, int outputs, int fan_in)
      : forward_(copier.forward), v_(p.take()), g_(p.take()), outputs_(outputs), fan_in_(fan_in),
        weight(static_cast<size_t>(outputs) * fan_in) {
    if (!forward_) gradient.assign(weight.size(), 0);
    for (int o = 0; o < outputs; ++o) {
      const float* v = v_.value + static_cast<long>(o) * fan_in;
      double square = 0;
      for (int i = 0; i < fan_in; ++i) square += static_cast<double>(v[i]) * v[i];
      const float scale = g_.value[o] / static_cast<float>(std::sqrt(square));
      scales_.push_back(scale);
      for (int i = 0; i < fan_in; ++i) weight[static_cast<long>(o) * fan_in + i] = scale * v[i];
    }
  }
  // The parameters' gradients, from the kernel's.
  void finish() {
    if (forward_) return;
    for (int o = 0; o < outputs_; ++o) {
      const long at = static_cast<long>(o) * fan_in_;
      const float g = g_.value[o], scale = scales_[o];
      float along = 0;  // gradient times v / |v|
      for (int i = 0; i < fan_in_; ++i) along += gradient[at + i] * weight[at + i];
      along /= g;
      g_.gradient[o] += along;
      for (int i = 0; i < fan_in_; ++i)
        v_.gradient[at + i] += scale * (gradient[at + i] - along * weight[at + i] / g);
    }
  }

 private:
  bool forward_;
  Parameters::One v_, g_;
  int outputs_, fan_in_;
  std::vector<float> scales_;

 public:
  std::vector<float> weight, gradient;
};

class Preparation {
 public:
  Preparation(Parameters& parameters, bool forward) : p_(parameters), copy_{forward} {}

  // Parameters in the order of `vsr.models.trunk_native.parameters`.
  void group(const Group& to) {
    const GroupOrders orders;
    const Orders &first = orders.blocks[0], &second = orders.blocks[1], &third = orders.blocks[2];
    block(to.block1, first);
    block(to.block2, second);
    block(to.block3, third);
    plain(to.skip, C, C, second.stored, third.stored, {}, {});
    merge(to.merge1, orders.merge1, orders.last);
    merge(to.merge2, orders.merge2, orders.last);
    const Factor skip = factor(p_.take());
    wirw(to.wirw, first, skip);
    copy_.number(to.body_scale, factor(p_.take()));
  }

 private:
  void gate(const Gate& to, const Indices& order) {
    const Parameters::One mean_weight = p_.take(), mean_bias = p_.take(), norm_weight = p_.take(),
                          norm_bias = p_.take(), affine_weight = p_.take(),
                          affine_bias = p_.take();
    for (int s = 0; s < C; ++s) {
      const int entry = order[s] % 4, e = entry % 2;
      if (copy_.forward) {
        to.slope[s] = entry < 2 ? 0 : norm_weight.value[e] * affine_weight.value[e];
        to.offset[s] = entry < 2 ? mean_bias.value[e]
                                 : norm_weight.value[e] * affine_bias.value[e] + norm_bias.value[e];
        to.by_mean[s] = entry < 2 ? mean_weight.value[e] : 0;
      } else if (entry < 2) {
        mean_bias.gradient[e] += to.offset[s];
        mean_weight.gradient[e] += to.by_mean[s];
      } else {
        norm_weight.gradient[e] +=
            to.slope[s] * affine_weight.value[e] + to.offset[s] * affine_bias.value[e];
        affine_weight.gradient[e] += to.slope[s] * norm_weight.value[e];
        affine_bias.gradient[e] += to.offset[s] * norm_weight.value[e];
        norm_bias.gradient[e] += to.offset[s];
      }
    }
  }

  // ins: of the expanding convolution. `calibrate`, where there is one, follows its outputs.
  void wide(const Wide& to, int inputs, const Indices& ins, const Indices& before,
            const std::vector<Factor>& input_factors, Factor whole,
            const Indices* calibrate = nullptr) {
    const int outputs = to.wide + to.extra;
    Normed expand(copy_, p_, to.wide, inputs);
    copy_.kernel(to.expand, outputs, expand.weight.data(), expand.gradient.data(), inputs, 1, ins,
                 counted(to.wide), input_factors, {});
    expand.finish();
    copy_.vector(to.expand_bias, p_.take(), counted(to.wide));
    if (calibrate) {
      const Parameters::One kernel = p_.take();
      copy_.kernel(to.expand + to.wide, outputs, kernel.value, kernel.gradient, inputs, 1, ins,
                   *calibrate, input_factors, {});
    }
    Normed reduce(copy_, p_, to.reduced, to.wide);
    copy_.kernel(to.reduce, to.reduced, reduce.weight.data(), reduce.gradient.data(), to.wide, 1,
                 counted(to.wide), counted(to.reduced), {}, {});
    reduce.finish();
    copy_.vector(to.reduce_bias, p_.take(), counted(to.reduced));
    Normed conv(copy_, p_, C, 9 * to.reduced);
    copy_.kernel(to.conv, C, conv.weight.data(), conv.gradient.data(), to.reduced, 9,
                 counted(to.reduced), before, {}, {});
    conv.finish();
    copy_.vector(to.conv_bias, p_.take(), before);
    gate(to.gate, before);
    copy_.number(to.scale, factor(p_.take()), whole);
  }

  void wirw(const Wirw& to, const Orders& orders, Factor whole = {}) {
    wide(to.wide, C, orders.stored, orders.before, {}, whole);
    copy_.number(to.skip, factor(p_.take()), whole);
  }

  void plain(float* to, int stride, int inputs, const Indices& ins, const Indices& outs,
             const std::vector<Factor>& input_factors, Factor whole) {
    const Parameters::One kernel = p_.take();
    copy_.kernel(to, stride, kernel.value, kernel.gradient, inputs, 9, ins, outs, input_factors,
                 whole);
  }

  void wcrw(const Wcrw& to, const Orders& orders) {
    Indices remaining(C), distilled(C);
    for (int i = 0; i < C; ++i) {
      remaining[i] = orders.stored[i] - C / 2;
      distilled[i] = orders.stored[i] < C / 2 ? orders.stored[i] : -1;
    }
    for (int& i : remaining) i = i < 0 ? -1 : i;
    wide(to.wide, C / 2, remaining, orders.before, {}, {});
    const Factor k = factor(p_.take());
    plain(to.both, 2 * C, C / 2, remaining, orders.stored, {}, k);
    copy_.vector(to.both_bias, p_.take(), orders.stored, k);
    if (copy_.forward)
      for (int c = 0; c < C; ++c) to.both_bias[C + c] = 0;
    plain(to.both + C, 2 * C, C / 2, distilled, orders.stored, {}, {});
  }

  void mlp(const Mlp& to, const Indices& order) {
    const Parameters::One squeeze = p_.take(), squeeze_bias = p_.take(), excite = p_.take(),
                          excite_bias = p_.take();
    copy_.kernel(to.squeeze, 3, squeeze.value, squeeze.gradient, C, 1, order, counted(3), {}, {});
    copy_.vector(to.squeeze_bias, squeeze_bias, counted(3));
    copy_.kernel(to.excite, C, excite.value, excite.gradient, 3, 1, counted(3), order, {}, {});
    copy_.vector(to.excite_bias, excite_bias, order);
  }

  void block(const Wdib& to, const Orders& orders) {
    for (const Wirw* unit : {&to.wirw1, &to.wirw2, &to.wirw3, &to.wirw4}) wirw(*unit, orders);
    for (const Wcrw* unit : {&to.wcrw1, &to.wcrw2}) wcrw(*unit, orders);
    for (const Coefficient* c : {&to.a1, &to.b1, &to.a2, &to.b2}) {
      mlp(c->mean, orders.stored);
      mlp(c->deviation, orders.stored);
    }
    const Factor a = factor(p_.take()), b = factor(p_.take());
    std::vector<Factor> scales(2 * C, a);
    std::fill(scales.begin() + C, scales.end(), b);
    wide(to.fuse, 2 * C, orders.both, orders.before, scales, {}, &orders.stored);
    const Factor k = factor(p_.take());
    plain(to.shortcut, C, 2 * C, orders.both, orders.stored, scales, k);
    copy_.vector(to.shortcut_bias, p_.take(), orders.stored, k);
    gate(to.gate, orders.stored);
  }

  // A convolution of four groups after a channel shuffle, as a dense one.
  void merge(float* to, const Indices& ins, const Indices& outs) {
    constexpr int kOutputs = C / kMergeGroups;
    const Parameters::One kernel = p_.take();
    for (int i = 0; i < 2 * C; ++i) {
      const int place = merge_place(ins[i]);
      for (int o = 0; o < C; ++o)
        for (int t = 0; t < 9; ++t) {
          float& w = to[(t * 2 * C + i) * C + o];
          const long at = (1L * outs[o] * kMergeInputs + place % kMergeInputs) * 9 + t;
          const bool reads = place / kMergeInputs == outs[o] / kOutputs;
          if (copy_.forward) {
            w = reads ? kernel.value[at] : 0;
          } else if (reads) {
            kernel.gradient[at] += w;
          }
        }
    }
  }

  Parameters& p_;
  Copier copy_;
};

}  // namespace vsr::training
