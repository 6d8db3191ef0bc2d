// A group of FDIWN's trunk in training, one image: the forward pass, which keeps what its gradient
// needs on a tape, and the backward pass. The structure is `vsr.models.training.trunk`'s.
// Statistics are each image's own, so images never meet.
#pragma once

#include "packed.h"
#include "scratch.h"
#include "tape.h"

namespace vsr::training {

constexpr float kLeak = 0.05f;

// out = base * x + the group's result; natural[c]: the stored channel that is channel c.
void group_forward(Scratch& s, const Group& w, const PackedGroup& p, GroupTape& t,
                   const int* natural, float base, const float* x, float* out);

// From g, the result's gradient, dx, the input's; adds the weights' to d.
void group_backward(Scratch& s, const Group& w, const Group& d, const PackedGroup& p,
                    const GroupTape& t, const GroupJoins& joins, const int* natural, float base,
                    const float* g, float* dx);

}  // namespace vsr::training
