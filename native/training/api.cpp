// The C interface; vsr/models/trunk_native is its caller.
//
// A group's effective weights are a row of float32 (layout.h), made from its parameters (prepare.h)
// and then packed (packed.h). One call runs a group forward and fills a tape for each image, one
// runs it backward. Memory is the caller's, except for the threads' scratch.
#include <new>
#include <vector>

#include "prepare.h"
#include "trunk.h"
#include "workers.h"

#define VSR_API extern "C" __attribute__((visibility("default")))

namespace vsr::training {
namespace {

long tape_bytes(Size size) {
  Arena arena;
  GroupTape tape(arena, size);
  return arena.used();
}

// What forward and backward are called with: images, their height and width, the widths of the
// expanding convolutions, threads.
struct Call {
  int images, threads;
  Size size;
  Widths widths;
  explicit Call(const int* shape)
      : images(shape[0]), threads(shape[6]), size{shape[1], shape[2]},
        widths{shape[3], shape[4], shape[5]} {}
  long elements() const { return static_cast<long>(size.pixels()) * C; }  // of an image
};

// Runs body; 0 if there was room for it, else 1.
template <class Body>
int with_room(Body&& body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace vsr::training

using namespace vsr::training;

// Whether what it computes with may be used; the system is asked once.
VSR_API int vsr_training_ready() {
  static const bool allowed = unit_is_allowed();
  return allowed;
}

// Bytes of a number in maps and packed weights: 2, bfloat16; 4, float32.
VSR_API int vsr_training_cell() { return sizeof(Cell); }

// What widths of images must be a multiple of.
VSR_API int vsr_training_multiple() { return kWidthMultiple; }

// How many numbers a group's effective weights are.
VSR_API long vsr_training_weights(int wirw, int wcrw, int fuse) {
  Cursor c(nullptr);
  Group w(c, {wirw, wcrw, fuse});
  return c.used();
}

// How many parameters a group has, as torch counts them.
VSR_API int vsr_training_parameters(int wirw, int wcrw, int fuse) {
  const long count = vsr_training_weights(wirw, wcrw, fuse);
  std::vector<float> row(count), ones(count, 1.0f);
  const std::vector<const float*> values(count, ones.data());
  Cursor c(row.data());
  Parameters parameters(values.data(), nullptr);
  Preparation(parameters, true).group(Group(c, {wirw, wcrw, fuse}));
  return parameters.count();
}

// Effective weights from parameters; with `gradients`, their gradients from the row's, added.
VSR_API void vsr_training_prepare(int wirw, int wcrw, int fuse, const float* const* values,
                                  float* const* gradients, float* row) {
  Cursor c(row);
  Parameters parameters(values, gradients);
  Preparation(parameters, gradients == nullptr).group(Group(c, {wirw, wcrw, fuse}));
}

// How many numbers a group's packed weights are.
VSR_API long vsr_training_packed(int wirw, int wcrw, int fuse) {
  Cursor c(nullptr);
  Group w(c, {wirw, wcrw, fuse});
  Room room(nullptr);
  PackedGroup p(room, w, false, GroupJoins(wcrw));
  return room.used();
}

VSR_API void vsr_training_pack(int wirw, int wcrw, int fuse, float* weights, Cell* packed) {
  Cursor c(weights);
  Group w(c, {wirw, wcrw, fuse});
  Room room(packed);
  PackedGroup p(room, w, true, GroupJoins(wcrw));
}

// Bytes of an image's tape.
VSR_API long vsr_training_tape(int height, int width) { return tape_bytes({height, width}); }

// 0, or 1 if there is no room.
VSR_API int vsr_training_forward(const int* shape, const int* natural, float base, float* weights,
                                 Cell* packed, char* tape, const float* x, float* out) {
  return with_room([&] {
    const Call call(shape);
    Cursor c(weights);
    const Group w(c, call.widths);
    Room room(packed);
    const GroupJoins joins(call.widths.wcrw);
    const PackedGroup p(room, w, false, joins);
    const long bytes = tape_bytes(call.size), image = call.elements();
    share(call.size, call.images, call.threads, [&](int i, int, Scratch& s) {
      Arena m(tape + i * bytes);
      GroupTape t(m, call.size);
      group_forward(s, w, p, t, natural, base, x + i * image, out + i * image);
    });
  });
}

// Adds the weights' gradients to `of_weights`, which has a row for each thread. 0, or 1 if there is
// no room.
VSR_API int vsr_training_backward(const int* shape, const int* natural, float base, float* weights,
                                  Cell* packed, char* tape, const float* g, float* dx,
                                  float* of_weights) {
  return with_room([&] {
    const Call call(shape);
    Cursor c(weights);
    const Group w(c, call.widths);
    const long count = c.used();
    Room room(packed);
    const GroupJoins joins(call.widths.wcrw);
    const PackedGroup p(room, w, false, joins);
    const long bytes = tape_bytes(call.size), image = call.elements();
    share(call.size, call.images, call.threads, [&](int i, int part, Scratch& s) {
      Cursor at(of_weights + part * count);
      const Group d(at, call.widths);
      Arena m(tape + i * bytes);
      const GroupTape t(m, call.size);
      group_backward(s, w, d, p, t, joins, natural, base, g + i * image, dx + i * image);
    });
  });
}
