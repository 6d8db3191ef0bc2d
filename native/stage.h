// What a thread of the float32 engine has to itself, and how it goes through a stage.
#pragma once

#include "gates.h"
#include "member.h"
#include "pointwise.h"
#include "winograd.h"

namespace vsr {

constexpr int kMaxLineChannels = 2 * kChannels + kChannels;  // SCF: both branches and its reduction

class Worker : public Member {
 public:
  Worker(Shared& shared, int number)
      : Member(shared, number),
        size(shared.size),
        scratch(2 * kChannels),
        line(static_cast<size_t>(2 * kChannels) * kTile * size.pitch),
        line_size_(static_cast<size_t>(kMaxLineChannels) * kTile * size.pitch),
        lines_(line_size_ * (kReach + 2)) {}

  const Size& size;
  WinogradScratch scratch;
  Buffer<float> line;  // for what only the line itself needs
  RowSums sums[kMomentSets];

  // Runs a stage of convolutions.
  //
  // produce(y, line, own) computes the channels of line y that convolutions read. It may also write
  // maps at y if `own`: the line is this thread's. emit(tile_row, window) then convolves a row of
  // tiles; it may overwrite the maps that produce reads. The lines just outside a thread's part are
  // therefore produced before any thread writes.
  template <class Produce, class Emit>
  void convolutions(Produce&& produce, Emit&& emit) {
    const int begin = first_row() * kTile;
    const int end = std::min(end_row() * kTile, size.height);
    const bool any = begin < end;
    start();
    if (any && begin > 0) produce(begin - 1, ring(begin - 1), false);
    if (any && end < size.height) produce(end, below(), false);
    wait();
    int next = begin;
    for (int row = first_row(); row < end_row(); ++row) {
      const int top = row * kTile - 1;
      for (; next < std::min(top + kReach, end); ++next) produce(next, ring(next), true);
      Window window;
      for (int i = 0; i < kReach; ++i) {
        const int y = top + i;
        window.line[i] = y < 0 || y >= size.height ? zeros() : y >= end ? below() : ring(y);
      }
      emit(row, window);
    }
    finish();
  }

  // Runs a stage that works sample by sample: each(tile_row).
  template <class Each>
  void samples(Each&& each) {
    start();
    for (int row = first_row(); row < end_row(); ++row) each(row);
    finish();
  }

  int lines_of(int tile_row) const { return std::min(kTile, size.height - tile_row * kTile); }

  void sum_up(int tile_row, int set = 0) {
    const double count = static_cast<double>(lines_of(tile_row)) * size.width;
    sums[set].finish(count, moments_of(tile_row, set));
  }

  // Convolves a row of tiles and hands each(channel, line, phase, position, value, valid) what is
  // inside the picture, `valid` lanes at a time; with `set` >= 0, what it returns is summed.
  template <class Each>
  void convolve_row(const Convolution& convolution, const Window& window, int tile_row, int set,
                    Each&& each) {
    const int lines = lines_of(tile_row), first = tile_row * kTile;
    RowSums* moments = set < 0 ? nullptr : &sums[set];
    convolve(convolution, window, size, scratch, [&](int c, int position, Vec(&out)[kTile][kTile]) {
      const bool whole = size.valid_lanes(kTile - 1, position) == kLanes;
      for (int y = 0; y < lines; ++y)
        for (int phase = 0; phase < kTile; ++phase) {
          const int valid = whole ? kLanes : size.valid_lanes(phase, position);
          const Vec inside = whole ? out[y][phase] : first_lanes(out[y][phase], valid);
          const Vec value = each(c, first + y, phase, position, inside, valid);
          if (moments == nullptr) continue;
          if (position == 0 && y == 0 && phase == 0) moments->begin_channel(c, value[0]);
          if (whole)
            moments->add(c, value);
          else
            moments->add(c, value, valid);
        }
    });
    if (moments != nullptr) sum_up(tile_row, set);
  }

 private:
  float* ring(int y) { return lines_.get() + line_size_ * ((y + 1) % kReach); }
  float* below() { return lines_.get() + line_size_ * kReach; }
  float* zeros() { return lines_.get() + line_size_ * (kReach + 1); }

  size_t line_size_;
  Buffer<float> lines_;  // a ring of six, the line below this thread's part, and a line of zeros
};

}  // namespace vsr
