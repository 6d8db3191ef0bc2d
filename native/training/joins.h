// Which inputs of a product reach which of its outputs, where that is not all of them all: the
// weights between the others are zero whatever is learnt. Products of bfloat16 include the
// zeros, which costs the tile unit less than going round them; float32's do not.
#pragma once

#include <vector>

#include "../simd.h"
#include "orders.h"

namespace vsr::training {

// Some inputs, as a product reads them, and the outputs that they reach.
struct Join {
  Indices reads, writes;
  int vectors() const { return (static_cast<int>(writes.size()) + kLanes - 1) / kLanes; }
};

// A product's, one way. Its results lie in columns, those of each join from a new vector on.
struct Way {
  std::vector<Join> joins;
  Indices columns;  // of each output; -1: nothing reaches it
  bool in_order = true;

  explicit Way(int outputs) : columns(outputs, -1) {}
  // pixels: that are read in a row, `channels` each.
  void add(const Indices& from, const Indices& to, int pixels, int channels) {
    Join join{{}, to};
    for (int p = 0; p < pixels; ++p)
      for (int i : from) join.reads.push_back(p * channels + i);
    int column = vectors() * kLanes;
    joins.push_back(join);
    for (int o : to) {
      in_order = in_order && o == column;
      columns[o] = column++;
    }
  }
  int vectors() const {
    int all = 0;
    for (const Join& join : joins) all += join.vectors();
    return all;
  }
};

// A product's and its gradient's. Empty: everything is joined.
struct Joins {
  Way forward, backward;

  Joins(int pixels, int inputs, int outputs)
      : forward(outputs), backward(inputs), pixels_(pixels), inputs_(inputs), outputs_(outputs) {}
  void add(const Indices& from, const Indices& to) {
    forward.add(from, to, pixels_, inputs_);
    backward.add(to, from, pixels_, outputs_);
  }
  int pixels() const { return pixels_; }

 private:
  int pixels_, inputs_, outputs_;
};

// A WCRW's: half of the channels are its input, the others are distilled.
struct WcrwJoins {
  Joins expand, both;
  WcrwJoins(const Orders& orders, int width) : expand(1, C, width), both(3, C, 2 * C) {
    Indices remaining, distilled;
    for (int i = 0; i < C; ++i) (orders.stored[i] < C / 2 ? distilled : remaining).push_back(i);
    expand.add(remaining, counted(width));
    both.add(remaining, counted(C));
    both.add(distilled, joined({}, counted(C), C));
  }
};

// A group's. One for all groups of a width.
struct GroupJoins {
  std::vector<WcrwJoins> wcrw;  // of each block
  Joins merge1, merge2;
  explicit GroupJoins(int wcrw_width) : merge1(3, 2 * C, C), merge2(3, 2 * C, C) {
    const GroupOrders orders;
    for (const Orders& block : orders.blocks) wcrw.emplace_back(block, wcrw_width);
    merge(merge1, orders.merge1, orders.last);
    merge(merge2, orders.merge2, orders.last);
  }

 private:
  static void merge(Joins& to, const Indices& ins, const Indices& outs) {
    for (int group = 0; group < kMergeGroups; ++group) {
      Indices from, reached;
      for (int i = 0; i < 2 * C; ++i)
        if (merge_place(ins[i]) / kMergeInputs == group) from.push_back(i);
      for (int o = 0; o < C; ++o)
        if (outs[o] / (C / kMergeGroups) == group) reached.push_back(o);
      to.add(from, reached);
    }
  }
};

}  // namespace vsr::training
