// Where samples lie. As in ../layout.h, a line is stored as its four phases: column x is at position
// x / 4 of phase x % 4. Neighbouring columns are then at the same position of neighbouring phases,
// and a 3x3 convolution, too, loads whole cache lines only.
#pragma once

#include <vector>

#include "../layout.h"
#include "pairs.h"

namespace vsr::bfloat16 {

struct Geometry : Size {
  // Cells from a pair of channels to the next. An odd number of cache lines, so that the rows of a
  // tile do not evict each other.
  int map_pitch;      // in a stored line: four phases and a margin
  int section_pitch;  // in a line that convolutions read: one phase and a margin

  Geometry(int height_, int width_) : Size(height_, width_) {
    map_pitch = odd_lines(line());
    section_pitch = odd_lines(positions);
    for (int phase = 0; phase < kTile; ++phase)
      for (int position = 0; position < positions; position += kLanes)
        masks_.push_back(static_cast<__mmask16>((1u << valid_lanes(phase, position)) - 1));
  }

  // Which of sixteen samples from a place in a stored line on are in the picture.
  __mmask16 mask(int place) const { return masks_[place / kLanes]; }

 private:
  static int odd_lines(int cells) {
    const int lines = cells / kTilePositions + 1;
    return (lines | 1) * kTilePositions;
  }
  std::vector<__mmask16> masks_;
};

// Sixteen positions in two neighbouring phases: what a 1x1 convolution gives at a time.
struct Block {
  int position, phase;
  int place(const Geometry& geometry, int column_group) const {
    return (phase + column_group) * geometry.positions + position;
  }
};

// Calls body(block) for all blocks of a line, from left to right.
template <class Body>
inline void for_blocks(const Geometry& geometry, Body&& body) {
  for (int position = 0; position < geometry.positions; position += kTilePositions)
    for (int phase = 0; phase < kTile; phase += 2) body(Block{position, phase});
}

// A place in a line: sixteen positions of a phase.
struct Spot {
  int pair, phase, position;
  int place;  // in a stored line
};

// A map of 24 channels between two stages: [height][12 pairs][map_pitch]. Samples beyond the picture
// are zero, always.
class Map {
 public:
  explicit Map(const Geometry& geometry)
      : pitch_(geometry.map_pitch),
        // Whoever computes a map writes all of a line that is ever computed with.
        data_(static_cast<size_t>(geometry.height) * kPairs * geometry.map_pitch, false) {}

  Cell* line(int y) { return data_.get() + static_cast<size_t>(y) * kPairs * pitch_; }
  Cell* at(int y, int pair) { return line(y) + static_cast<size_t>(pair) * pitch_; }
  void release() { data_ = Buffer<Cell>(); }

 private:
  size_t pitch_;
  Buffer<Cell> data_;
};

// A function from a place in line y to sixteen samples of one channel.
inline auto channel_of(Map& map, int y, int channel) {
  const Cell* from = map.at(y, channel / 2);
  const bool odd = channel % 2 != 0;
  return [=](int place) { return load_half(from + place, odd); };
}

// Where a product finds samples: of phase 0, position 0, first pair.
struct Samples {
  const Cell* cells;
  long pair_pitch, phase_pitch;
  const Cell* at(const Block& block) const {
    return cells + block.phase * phase_pitch + block.position;
  }
};

// Pairs from `first_pair` on of a stored line.
inline Samples samples_of(const Geometry& geometry, const Cell* line, int first_pair = 0) {
  return {line + static_cast<long>(first_pair) * geometry.map_pitch, geometry.map_pitch,
          geometry.positions};
}

}  // namespace vsr::bfloat16
