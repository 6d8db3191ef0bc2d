// The threads of a call: each has a scratch and, where there is one, the tile unit to
// itself, and takes its own images.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "scratch.h"

namespace vsr::training {

inline long scratch_bytes(Size size) {
  Arena arena;
  Scratch scratch(arena, size);
  return arena.used();
}

// A scratch that is kept from call to call: fresh memory costs as much as the arithmetic.
class Kept {
 public:
  Scratch& of(Size size) {
    if (!scratch_ || scratch_->size.height != size.height || scratch_->size.width != size.width) {
      scratch_.reset();
      memory_.assign(scratch_bytes(size) + 64, 0);
      char* base = memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
      Arena arena(base);
      scratch_ = std::make_unique<Scratch>(arena, size);
    }
    return *scratch_;
  }

 private:
  std::vector<char> memory_;
  std::unique_ptr<Scratch> scratch_;
};

// each(image, part, scratch): every part takes its own images, in order, whichever thread it gets.
// One call at a time. Throws std::bad_alloc, before anything has run.
template <class Each>
void share(Size size, int images, int threads, Each&& each) {
  static std::mutex one_call;
  // Never destroyed: a thread may still be at a step when the process ends.
  static std::vector<Kept>& kept = *new std::vector<Kept>;
  const std::lock_guard<std::mutex> lock(one_call);
  const int parts = std::max(1, std::min(threads, images));
  if (kept.size() < static_cast<size_t>(parts)) kept.resize(parts);
  // Here and not in the threads, which an exception must not leave.
  for (int part = 0; part < parts; ++part) kept[part].of(size);
  auto work = [&](int part) {
    const Unit unit;
    Scratch& scratch = kept[part].of(size);
    for (int i = part; i < images; i += parts) each(i, part, scratch);
  };
  std::vector<std::thread> others;
  others.reserve(parts - 1);
  int next = 1;
  try {
    for (; next < parts; ++next) others.emplace_back(work, next);
  } catch (const std::system_error&) {
    // The system gives no more threads: the other parts are this one's too.
  } catch (const std::bad_alloc&) {
    // Nor is there memory for one.
  }
  work(0);
  for (; next < parts; ++next) work(next);
  for (std::thread& other : others) other.join();
}

}  // namespace vsr::training
