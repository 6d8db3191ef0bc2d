// How a line is computed: 1x1 convolutions into a section, products with what is done to them, and
// what works sample by sample.
//
// A tile's result is there dozens of cycles after it was asked for. So a block's products are started
// before what the block before it left is looked at, always by 1x1 convolutions, by 3x3 ones where
// kAhead says so.
#pragma once

#include <utility>

#include "stage.h"

namespace vsr::bfloat16 {

// ReLU of an expansion's 24 outputs, as samples of the reduction.
inline void pack_hidden(const float* products, Cell* hidden) {
  for (int pair = 0; pair < kTilePairs; ++pair)
    for (int n = 0; n < kColumns; n += kLanes) {
      const float* even = products + 2 * pair * kColumns + n;
      store_cells(hidden + pair * kColumns + n, relu_cells(cells_of({load(even), load(even + kColumns)})));
    }
}

inline void pack_reduced(const Geometry& geometry, const float* products, const Block& block,
                         const Section& to) {
  for (int n = 0; n < 2; ++n) {
    const __mmask16 mask = geometry.mask(block.place(geometry, n));
    for (int pair = 0; pair < to.pairs; ++pair) {
      const float* even = products + 2 * pair * kColumns + n * kLanes;
      to.store(geometry, pair, block.phase + n, block.position,
               cells_of({load_masked(mask, even), load_masked(mask, even + kColumns)}));
    }
  }
}

// to = reduce(relu(expand(in))) for a line. Three blocks are on their way: one is expanded while the
// one before it is reduced and the one before that is packed.
template <int ReducedBlocks>
inline void expand_and_reduce(Worker& worker, const Wide& unit, const Samples& in, const Section& to) {
  const Geometry& geometry = worker.geometry;
  const Weights &expand = unit.expand.weights, &reduce = unit.reduce.weights;
  const int groups = expand.blocks / 2;
  const auto reduce_block = [&](int slot) {
    const Cell* hidden = worker.hidden[slot][0];
    multiply<ReducedBlocks>(reduce, 0, hidden, hidden + kLanes, kColumns, kTilePairs * kColumns,
                            worker.products[slot][1]);
  };
  Block before{}, reduced{};
  int count = 0, unit_count = 0;
  for_blocks(geometry, [&](const Block& block) {
    const int slot = count & 1;
    const Cell* samples = in.at(block);
    for (int group = 0; group < groups; ++group, ++unit_count) {
      multiply<2>(expand, group, samples, samples + in.phase_pitch, in.pair_pitch,
                  kTilePairs * in.pair_pitch, worker.products[unit_count & 1][0]);
      const float* done = worker.products[(unit_count & 1) ^ 1][0];
      if (group > 0) {
        pack_hidden(done, worker.hidden[slot][group - 1]);
      } else if (count > 0) {
        pack_hidden(done, worker.hidden[slot ^ 1][groups - 1]);
        reduce_block(slot ^ 1);
        if (count > 1) pack_reduced(geometry, worker.products[slot][1], reduced, to);
        reduced = before;
      }
    }
    before = block;
    ++count;
  });
  const int slot = (count - 1) & 1;
  pack_hidden(worker.products[(unit_count & 1) ^ 1][0], worker.hidden[slot][groups - 1]);
  reduce_block(slot);
  if (count > 1) pack_reduced(geometry, worker.products[slot ^ 1][1], reduced, to);
  pack_reduced(geometry, worker.products[slot][1], before, to);
}

inline void reduce_line(Worker& worker, const Wide& unit, const Samples& in, const Section& to) {
  if (to.pairs == kPairs)
    expand_and_reduce<2>(worker, unit, in, to);
  else
    expand_and_reduce<1>(worker, unit, in, to);
  to.finish(worker.geometry);
}

// Where a section lies in every line of a stage.
struct At {
  int first_row, pairs;
  Section in(Cell* line, const Geometry& geometry) const {
    return section_of(line, geometry, first_row, pairs);
  }
  // What was stored there, in a window, to be read.
  Samples samples(const Window& window, const Geometry& geometry) const {
    return in(const_cast<Cell*>(window.line[1]), geometry).samples(geometry);
  }
  const Cell* sample(const Window& window, const Geometry& geometry, const Spot& spot, int pair) const {
    const Samples all = samples(window, geometry);
    return all.cells + spot.phase * all.phase_pitch + pair * all.pair_pitch + spot.position;
  }
};

// The products of a convolution that reads a section, as compute_line wants them.
inline auto product_of(const Convolution& convolution, const Window& window, const At& at,
                       const Geometry& geometry) {
  return [=, &convolution, &window, &geometry](const Patch& patch, float* to) {
    multiply(convolution, window, geometry, at.first_row, at.pairs, patch, to);
  };
}

// The same of a 1x1 convolution to 24 channels, at the line itself.
inline auto product_of(const Pointwise& layer, const Window& window, const At& at,
                       const Geometry& geometry) {
  const Samples in = at.samples(window, geometry);
  return [=, &layer](const Patch& patch, float* to) { multiply(layer, in, patch, to); };
}

// Computes products for every patch of line y and hands them, pair by pair, to
// value(spot, product...), whose std::array<Pair, Sets> is summed. What lies beyond the picture is
// zero in the products.
template <int Sets, class Value, class... Products>
inline void compute_line(Worker& worker, int y, Value&& value, Products&&... products) {
  constexpr int kRow = kPatchColumns * kTilePositions;  // of an output's products
  const Geometry& geometry = worker.geometry;
  const auto look_at = [&]<size_t... k>(const Patch& patch, int slot, std::index_sequence<k...>) {
    const bool begins = Worker::begins_row(y) && patch.begins();
    for (int i = 0; i < kPatchPairs; ++i) {
      const int pair = patch.first_pair + i;
      Sums::Channel sums[Sets > 0 ? Sets : 1][2];
      for (int n = 0; n < patch.columns(); ++n) {
        const Spot spot = patch.spot(geometry, pair, n);
        const __mmask16 mask = geometry.mask(spot.place);
        const auto product = [&](size_t which) -> Pair {
          const float* even = worker.products[slot][which] + 2 * i * kRow + n * kLanes;
          return {load_masked(mask, even), load_masked(mask, even + kRow)};
        };
        const auto values = value(spot, product(k)...);
        for (int set = 0; set < Sets; ++set) {
          if (n == 0) {
            if (begins) {
              worker.sums(set).begin_channel(2 * pair, values[set].even[0]);
              worker.sums(set).begin_channel(2 * pair + 1, values[set].odd[0]);
            }
            sums[set][0] = worker.sums(set).get(2 * pair);
            sums[set][1] = worker.sums(set).get(2 * pair + 1);
          }
          sums[set][0].add(values[set].even, mask);
          sums[set][1].add(values[set].odd, mask);
        }
      }
      for (int set = 0; set < Sets; ++set) {
        worker.sums(set).put(2 * pair, sums[set][0]);
        worker.sums(set).put(2 * pair + 1, sums[set][1]);
      }
    }
  };
  constexpr auto kAll = std::index_sequence_for<Products...>{};
  Patch before{};
  int count = 0;
  for_patches(geometry, [&](const Patch& patch) {
    const int slot = count & kAhead;
    size_t which = 0;
    (products(patch, worker.products[slot][which++]), ...);
    worker.prefetcher.step();
    if constexpr (kAhead == 0)
      look_at(patch, slot, kAll);
    else if (count > 0)
      look_at(before, slot ^ 1, kAll);
    before = patch;
    ++count;
  });
  if constexpr (kAhead == 1) look_at(before, (count - 1) & 1, kAll);
  for (int set = 0; set < Sets; ++set) worker.sum_up(y, set);
}

// Computes line y sample by sample: of(pair) gives a function from a place in a stored line to a
// std::array<Pair, Sets>, which is summed into the sets from `first_set` on.
template <int Sets, class Of>
inline void sample_line(Worker& worker, int y, int first_set, Of&& of) {
  const Geometry& geometry = worker.geometry;
  for (int pair = 0; pair < kPairs; ++pair) {
    const auto compute = of(pair);
    Sums::Channel sums[Sets > 0 ? Sets : 1][2];
    for (int place = 0; place < geometry.line(); place += kLanes) {
      const auto values = compute(place);
      const __mmask16 mask = geometry.mask(place);
      for (int set = 0; set < Sets; ++set) {
        if (place == 0) {
          Sums& all = worker.sums(first_set + set);
          if (Worker::begins_row(y)) {
            all.begin_channel(2 * pair, values[set].even[0]);
            all.begin_channel(2 * pair + 1, values[set].odd[0]);
          }
          sums[set][0] = all.get(2 * pair);
          sums[set][1] = all.get(2 * pair + 1);
        }
        sums[set][0].add(values[set].even, mask);
        sums[set][1].add(values[set].odd, mask);
      }
    }
    for (int set = 0; set < Sets; ++set) {
      worker.sums(first_set + set).put(2 * pair, sums[set][0]);
      worker.sums(first_set + set).put(2 * pair + 1, sums[set][1]);
    }
  }
  for (int set = 0; set < Sets; ++set) worker.sum_up(y, first_set + set);
}

// Writes a section sample by sample: of(pair) gives a function from a place to cells.
template <class Of>
inline void fill_section(const Geometry& geometry, const Section& to, Of&& of) {
  for (int pair = 0; pair < to.pairs; ++pair) {
    const auto cells = of(pair);
    for (int phase = 0; phase < kTile; ++phase)
      for (int position = 0; position < geometry.positions; position += kLanes)
        to.store(geometry, pair, phase, position, cells(phase * geometry.positions + position));
  }
  to.finish(geometry);
}

// The same for a stored line of 24 channels.
template <class Of>
inline void fill_line(const Geometry& geometry, Cell* to, Of&& of) {
  for (int pair = 0; pair < kPairs; ++pair, to += geometry.map_pitch) {
    const auto cells = of(pair);
    for (int place = 0; place < geometry.line(); place += kLanes) store_cells(to + place, cells(place));
  }
}

inline auto copy_of(const Cell* from) {
  return [=](int place) { return _mm512_loadu_si512(from + place); };
}

}  // namespace vsr::bfloat16
