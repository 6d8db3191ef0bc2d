// The effective weights of a group, which are one row of numbers: where each of them is. Kernels
// are [taps][inputs][outputs]. Their gradients are in the same places of another row.
#pragma once

namespace vsr::training {

constexpr int C = 24;  // channels

// Where numbers are, in the weights or in their gradients.
class Cursor {
 public:
  // base: nullptr only counts them.
  explicit Cursor(float* base) : base_(base) {}
  float* take(long count) {
    float* found = base_ ? base_ + used_ : nullptr;
    used_ += count;
    return found;
  }
  long used() const { return used_; }

 private:
  float* base_;
  long used_ = 0;
};

struct Widths {
  int wirw, wcrw, fuse;  // of the expanding convolutions
};

struct Gate {
  float *slope, *offset, *by_mean;
  explicit Gate(Cursor& c) : slope(c.take(C)), offset(c.take(C)), by_mean(c.take(C)) {}
};

struct Wide {
  int inputs, wide, extra, reduced;  // extra: outputs of `expand` that are not for `reduce`
  float *expand, *expand_bias, *reduce, *reduce_bias, *conv, *conv_bias;
  Gate gate;
  float* scale;
  Wide(Cursor& c, int inputs, int wide, int extra, int reduced)
      : inputs(inputs), wide(wide), extra(extra), reduced(reduced),
        expand(c.take((wide + extra) * inputs)), expand_bias(c.take(wide)),
        reduce(c.take(reduced * wide)), reduce_bias(c.take(reduced)),
        conv(c.take(C * reduced * 9)), conv_bias(c.take(C)), gate(c), scale(c.take(1)) {}
};

struct Wirw {
  Wide wide;
  float* skip;
  Wirw(Cursor& c, int width) : wide(c, C, width, 0, C / 2), skip(c.take(1)) {}
};

struct Wcrw {
  Wide wide;
  float *both, *both_bias;
  Wcrw(Cursor& c, int width)
      : wide(c, C, width, 0, C / 2), both(c.take(2 * C * C * 9)), both_bias(c.take(2 * C)) {}
};

struct Mlp {
  float *squeeze, *squeeze_bias, *excite, *excite_bias;
  explicit Mlp(Cursor& c)
      : squeeze(c.take(3 * C)), squeeze_bias(c.take(3)), excite(c.take(3 * C)),
        excite_bias(c.take(C)) {}
};

struct Coefficient {
  Mlp mean, deviation;
  explicit Coefficient(Cursor& c) : mean(c), deviation(c) {}
};

struct Wdib {
  Wirw wirw1, wirw2, wirw3, wirw4;
  Wcrw wcrw1, wcrw2;
  Coefficient a1, b1, a2, b2;
  Wide fuse;
  float *shortcut, *shortcut_bias;
  Gate gate;
  Wdib(Cursor& c, Widths w)
      : wirw1(c, w.wirw), wirw2(c, w.wirw), wirw3(c, w.wirw), wirw4(c, w.wirw), wcrw1(c, w.wcrw),
        wcrw2(c, w.wcrw), a1(c), b1(c), a2(c), b2(c), fuse(c, 2 * C, w.fuse, C, C),
        shortcut(c.take(2 * C * C * 9)), shortcut_bias(c.take(C)), gate(c) {}
};

struct Group {
  Wdib block1, block2, block3;
  float *skip, *merge1, *merge2;
  Wirw wirw;
  float* body_scale;
  Group(Cursor& c, Widths w)
      : block1(c, w), block2(c, w), block3(c, w), skip(c.take(C * C * 9)),
        merge1(c.take(2 * C * C * 9)), merge2(c.take(2 * C * C * 9)), wirw(c, w.wirw),
        body_scale(c.take(1)) {}
};

}  // namespace vsr::training
