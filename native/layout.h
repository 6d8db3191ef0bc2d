// Where samples lie.
//
// A Winograd tile covers four columns. A line of a channel is therefore stored as its four phases:
// column x lies in phase x % 4 at position x / 4. A vector then holds the same column of as many
// neighbouring tiles as it has lanes, loaded without a shuffle, and what works sample by sample
// does not notice. The positions of a phase are rounded up to whole vectors; samples beyond the
// picture are zero, always: convolutions need that and statistics count on it.
#pragma once

#include <algorithm>
#include <cstddef>

#include "memory.h"
#include "simd.h"

namespace vsr {

constexpr int kChannels = 24;
constexpr int kTile = 4;  // outputs of a tile, each way
constexpr int kBlock = 6;  // output channels that parameters come in together
constexpr int kMaxHidden = 108;  // the widest expansion, SCF's at scale 4

struct Size {
  int height, width;
  int positions;  // of a phase, whole vectors
  int pitch;      // of a phase in a line that convolutions read: a vector of margin each side
  int tile_rows;

  Size(int height_, int width_) : height(height_), width(width_) {
    const int tiles = (width + kTile - 1) / kTile;
    positions = (tiles + kLanes - 1) / kLanes * kLanes;
    pitch = positions + 2 * kLanes;
    // Channels whose distance is a multiple of 4096 bytes evict each other from the cache.
    if (pitch * kTile * sizeof(float) % 4096 == 0) pitch += kLanes;
    tile_rows = (height + kTile - 1) / kTile;
  }

  int line() const { return kTile * positions; }  // samples of a stored line of one channel
  // Tiles that have a column in this phase.
  int valid(int phase) const { return (width - phase + kTile - 1) / kTile; }
  // How many lanes of the vector at `position` of `phase` are samples of the picture.
  int valid_lanes(int phase, int position) const {
    return std::clamp(valid(phase) - position, 0, kLanes);
  }
};

// A map of 24 channels between two stages: lines of channels, [height][24][line].
template <class Stored>
class Map {
 public:
  explicit Map(const Size& size)
      : line_(size.line()), data_(static_cast<size_t>(size.height) * kChannels * size.line()) {}

  Stored* at(int y, int channel) {
    return data_.get() + (static_cast<size_t>(y) * kChannels + channel) * line_;
  }
  void release() { data_ = Buffer<Stored>(); }

 private:
  size_t line_;
  Buffer<Stored> data_;
};

}  // namespace vsr
