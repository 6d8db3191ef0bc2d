// A group's weights as the products read them, for the forward and the backward pass.
#pragma once

#include "layout.h"
#include "products.h"

namespace vsr::training {

// Where packed weights are, one after the other.
class Room {
 public:
  // base: nullptr only counts them.
  explicit Room(Cell* base) : base_(base) {}
  const Cell* take(long count) {
    const Cell* found = base_ ? base_ + used_ : nullptr;
    used_ += count;
    return found;
  }
  long used() const { return used_; }

 private:
  Cell* base_;
  long used_ = 0;
};

// joins: which inputs reach which outputs; null: all do.
struct Pointwise {
  Packed forward, backward;
  Pointwise(Room& room, const float* w, int inputs, int outputs, const Joins* joins = nullptr)
      : forward(1, 1, inputs, outputs, joins ? &joins->forward : nullptr),
        backward(1, 1, outputs, inputs, joins ? &joins->backward : nullptr) {
    forward.data = room.take(forward.size());
    backward.data = room.take(backward.size());
    if (!w) return;
    pack(forward, const_cast<Cell*>(forward.data),
         [=](int, int in, int out) { return w[in * outputs + out]; });
    pack(backward, const_cast<Cell*>(backward.data),
         [=](int, int in, int out) { return w[out * outputs + in]; });
  }
};

struct Conv {
  Packed forward, backward;
  Conv(Room& room, const float* w, int inputs, int outputs, const Joins* joins = nullptr)
      : forward(3, 3, inputs, outputs, joins ? &joins->forward : nullptr),
        backward(3, 3, outputs, inputs, joins ? &joins->backward : nullptr) {
    forward.data = room.take(forward.size());
    backward.data = room.take(backward.size());
    if (!w) return;
    pack(forward, const_cast<Cell*>(forward.data), [=](int dy, int in, int out) {
      return w[((dy * 3 + in / inputs) * inputs + in % inputs) * outputs + out];
    });
    pack(backward, const_cast<Cell*>(backward.data), [=](int dy, int in, int out) {
      return w[(((2 - dy) * 3 + 2 - in / outputs) * inputs + out) * outputs + in % outputs];
    });
  }
};

struct PackedWide {
  Pointwise expand, reduce;
  Conv conv;
  PackedWide(Room& r, const Wide& w, bool fill, const Joins* joins = nullptr)
      : expand(r, fill ? w.expand : nullptr, w.inputs, w.wide + w.extra, joins),
        reduce(r, fill ? w.reduce : nullptr, w.wide, w.reduced),
        conv(r, fill ? w.conv : nullptr, w.reduced, C) {}
};

struct PackedWcrw {
  PackedWide wide;
  Conv both;
  PackedWcrw(Room& r, const Wcrw& w, bool fill, const WcrwJoins& joins)
      : wide(r, w.wide, fill, &joins.expand),
        both(r, fill ? w.both : nullptr, C, 2 * C, &joins.both) {}
};

struct PackedWdib {
  PackedWide wirw1, wirw2, wirw3, wirw4;
  PackedWcrw wcrw1, wcrw2;
  PackedWide fuse;
  Conv shortcut;
  PackedWdib(Room& r, const Wdib& w, bool fill, const WcrwJoins& joins)
      : wirw1(r, w.wirw1.wide, fill), wirw2(r, w.wirw2.wide, fill), wirw3(r, w.wirw3.wide, fill),
        wirw4(r, w.wirw4.wide, fill), wcrw1(r, w.wcrw1, fill, joins),
        wcrw2(r, w.wcrw2, fill, joins), fuse(r, w.fuse, fill),
        shortcut(r, fill ? w.shortcut : nullptr, 2 * C, C) {}
};

struct PackedGroup {
  PackedWdib block1, block2, block3;
  Conv skip, merge1, merge2;
  PackedWide wirw;
  PackedGroup(Room& r, const Group& w, bool fill, const GroupJoins& joins)
      : block1(r, w.block1, fill, joins.wcrw[0]), block2(r, w.block2, fill, joins.wcrw[1]),
        block3(r, w.block3, fill, joins.wcrw[2]), skip(r, fill ? w.skip : nullptr, C, C),
        merge1(r, fill ? w.merge1 : nullptr, 2 * C, C, &joins.merge1),
        merge2(r, fill ? w.merge2 : nullptr, 2 * C, C, &joins.merge2), wirw(r, w.wirw.wide, fill) {}
};

}  // namespace vsr::training
