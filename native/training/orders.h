// The orders in which channels are stored: none is ever shuffled, what reads them is permuted.
#pragma once

#include <vector>

#include "layout.h"

namespace vsr::training {

typedef std::vector<int> Indices;  // which of a parameter's channels each stored one is, or -1

inline Indices counted(int n) {
  Indices all(n);
  for (int i = 0; i < n; ++i) all[i] = i;
  return all;
}
inline Indices joined(const Indices& a, const Indices& b, int shift) {
  Indices all(a);
  for (int i : b) all.push_back(i + shift);
  return all;
}

struct Orders {
  Indices stored, both, before, after;
  explicit Orders(const Indices& order) : stored(order), both(joined(order, order, C)) {
    Indices inverse(C);
    for (int j = 0; j < C; ++j) inverse[j % 2 * (C / 2) + j / 2] = j;
    for (int c : order) {
      before.push_back(c % 2 * (C / 2) + c / 2);
      after.push_back(inverse[c]);
    }
  }
};

// Of a group's blocks, of what its merging convolutions read, and of what they give.
struct GroupOrders {
  std::vector<Orders> blocks;
  Indices merge1, merge2, last;
  GroupOrders() : blocks{Orders(counted(C))} {
    while (blocks.size() < 3) blocks.emplace_back(blocks.back().after);
    last = blocks[2].after;
    merge1 = joined(blocks[0].after, blocks[1].after, C);
    merge2 = joined(last, last, C);
  }
};

// A merging convolution has four groups, after a channel shuffle: where a channel is then.
constexpr int kMergeGroups = 4, kMergeInputs = 2 * C / kMergeGroups;
inline int merge_place(int channel) {
  return channel % kMergeInputs * kMergeGroups + channel / kMergeInputs;
}

}  // namespace vsr::training
