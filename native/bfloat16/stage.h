// What a thread has to itself, and how it goes through a stage line by line.
#pragma once

#include <array>
#include <initializer_list>

#include "../member.h"
#include "layers.h"

namespace vsr::bfloat16 {

// Sums of a row of tiles under way; see RowSums.
class Sums {
 public:
  void begin_channel(int channel, float pivot) {
    pivot_[channel] = broadcast(pivot);
    sum_[channel] = Vec{};
    squares_[channel] = Vec{};
  }

  // A channel's sums, to be kept in registers for a while.
  struct Channel {
    Vec pivot, sum, squares;
    void add(Vec value, __mmask16 mask) {
      const Vec deviation = reinterpret_cast<Vec>(
          _mm512_maskz_sub_ps(mask, reinterpret_cast<__m512>(value), reinterpret_cast<__m512>(pivot)));
      sum += deviation;
      squares += deviation * deviation;
    }
  };
  Channel get(int channel) const { return {pivot_[channel], sum_[channel], squares_[channel]}; }
  void put(int channel, const Channel& sums) {
    sum_[channel] = sums.sum;
    squares_[channel] = sums.squares;
  }

  void finish(double count, RowMoments& out) const {
    out.count = count;
    for (int c = 0; c < kChannels; ++c) {
      const double sum = sum_of_lanes(sum_[c]);
      out.mean[c] = pivot_[c][0] + sum / count;
      out.squares[c] = std::max(0.0, sum_of_lanes(squares_[c]) - sum * (sum / count));
    }
  }

 private:
  static double sum_of_lanes(Vec value) {
    const auto all = reinterpret_cast<__m512>(value);
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(all));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(all, 1));
    return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
  }
  Vec pivot_[kChannels], sum_[kChannels], squares_[kChannels];
};

// Asks for lines of maps before they are needed, a part with every block. They come from far away:
// from the cache that all cores share, or from memory.
class Prefetcher {
 public:
  static constexpr int kMost = 6;

  void begin(size_t line_bytes, int steps) {
    count_ = 0;
    at_ = 0;
    end_ = line_bytes;
    step_ = (line_bytes / steps + 2 * kCacheLine - 1) / kCacheLine * kCacheLine;
  }
  void add(const Cell* line) {
    if (count_ < kMost) lines_[count_++] = reinterpret_cast<const char*>(line);
  }
  void step() {
    const size_t end = std::min(at_ + step_, end_);
    for (int i = 0; i < count_; ++i)
      for (size_t at = at_; at < end; at += kCacheLine) _mm_prefetch(lines_[i] + at, _MM_HINT_T1);
    at_ = end;
  }

 private:
  static constexpr size_t kCacheLine = 64;
  const char* lines_[kMost];
  int count_ = 0;
  size_t at_ = 0, end_ = 0, step_ = 0;
};

class Worker : public Member {
 public:
  Worker(Shared& shared, const Geometry& geometry_, int number)
      : Member(shared, number),
        geometry(geometry_),
        line_size_(static_cast<size_t>(kLineRows) * geometry.section_pitch),
        lines_(line_size_ * (kRing + 2)),
        scratch_(static_cast<size_t>(2 * kPairs + kTilePairs) * geometry.map_pitch) {}

  const Geometry& geometry;
  Prefetcher prefetcher;

  // Runs a stage of convolutions: produce(y, line, own) writes the sections of line y. It may also
  // write maps at y if `own`; emit(y, window) may overwrite at y what produce reads. The lines just
  // outside this thread's part are therefore produced before any thread writes.
  // `maps` are those that it reads or overwrites.
  template <class Produce, class Emit>
  void convolutions(std::initializer_list<Map*> maps, Produce&& produce, Emit&& emit) {
    const int begin = first_row() * kTile, end = std::min(end_row() * kTile, geometry.height);
    const bool any = begin < end;
    start();
    if (any && begin > 0) produce(begin - 1, ring(begin - 1), false);
    if (any && end < geometry.height) produce(end, below(), false);
    wait();
    if (any) produce(begin, ring(begin), true);
    for (int y = begin; y < end; ++y) {
      prefetcher.begin(sizeof(Cell) * kPairs * geometry.map_pitch, patches_of(geometry));
      if (y + 2 < end)
        for (Map* map : maps) prefetcher.add(map->line(y + 2));
      if (y + 1 < end) produce(y + 1, ring(y + 1), true);
      Window window;
      for (int i = 0; i < 3; ++i) {
        const int at = y - 1 + i;
        window.line[i] = at < 0 || at >= geometry.height ? zeros() : at >= end ? below() : ring(at);
      }
      emit(y, window);
    }
    finish();
  }

  // Runs a stage that works sample by sample: each(y).
  template <class Each>
  void samples(Each&& each) {
    const int end = std::min(end_row() * kTile, geometry.height);
    start();
    for (int y = first_row() * kTile; y < end; ++y) each(y);
    finish();
  }

  Sums& sums(int set) { return sums_[set]; }
  static bool begins_row(int y) { return y % kTile == 0; }
  // To be called when line y has been summed.
  void sum_up(int y, int set) {
    if ((y + 1) % kTile != 0 && y + 1 != geometry.height) return;
    const int row = y / kTile, lines = y - row * kTile + 1;
    sums_[set].finish(static_cast<double>(lines) * geometry.width, moments_of(row, set));
  }

  // A stored line of up to 48 channels that only this thread sees.
  Cell* scratch() { return scratch_.get(); }

  // Products on their way: of the block or patch at hand, and of the one before it.
  static constexpr int kOutputs =
      std::max(kChannels * kColumns, 2 * kPatchPairs * kPatchColumns * kTilePositions);
  alignas(64) float products[2][3][kOutputs];
  alignas(64) Cell hidden[2][kMaxHidden / kChannels + 1][kTilePairs * kColumns];

 private:
  static constexpr int kRing = 3;
  Cell* ring(int y) { return lines_.get() + line_size_ * (y % kRing); }
  Cell* below() { return lines_.get() + line_size_ * kRing; }
  Cell* zeros() { return lines_.get() + line_size_ * (kRing + 1); }

  size_t line_size_;
  Buffer<Cell> lines_;  // a ring of three, the line below this thread's part, and a line of zeros
  Buffer<Cell> scratch_;
  Sums sums_[kMomentSets];
};

}  // namespace vsr::bfloat16
