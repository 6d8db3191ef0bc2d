// The trunk: blocks, the convolutions between them, and the order of the groups.
#pragma once

#include "block.h"

namespace vsr::bfloat16 {

// The maps of a run. `input` holds the features that enter the trunk and, in the end, leave it.
struct Maps {
  explicit Maps(const Geometry& geometry)
      : input(geometry), m{Map(geometry), Map(geometry), Map(geometry), Map(geometry), Map(geometry), Map(geometry)} {}
  Map input, m[6];
};

class Trunk : public Stages {
 public:
  Trunk(Worker& worker, Maps& maps) : Stages(worker), maps_(maps) {}

  void run(const Network& network) {
    Moments moments = measure(maps_.input);
    bool first = true;
    for (int group : network.order) {
      moments = fswg(network.groups[group], moments, !first);
      first = false;
    }
  }

 private:
  static constexpr At kBoth{0, 2 * kPairs};

  // A group; the result, plus what the group read if `residual`, takes its place.
  Moments fswg(const Fswg& group, const Moments& in_moments, bool residual) {
    Map &in = maps_.input, (&m)[6] = maps_.m;
    const Gate gate1 = wdib(group.wdib[0], {&in}, in_moments, {m[0], m[1], m[2], m[3]});
    Map& o1 = m[0];
    const Gate gate2 = wdib(group.wdib[1], {&o1, &gate1}, {}, {m[1], m[2], m[3], m[4]});
    Map& y2 = m[1];
    Map &c1 = o1, &x3 = y2;
    const Moments moments3 = between(group, o1, y2, gate2, c1, x3);
    const Gate gate3 = wdib(group.wdib[2], {&x3}, moments3, {m[2], m[3], m[4], m[5]});
    Map &y3 = m[2], &unit = m[3];
    const Gate unit_gate = wide<1>({&group.wirw.wide}, {&unit}, {&in, &unit}, [&](int y, bool) {
      return std::array{samples_of(geometry_, in.line(y))};
    })[0];
    return merge(group, c1, y3, gate3, unit, unit_gate, residual);
  }

  // o2 = gate(y2); x3 = o2 + skip(o1), c1 = merge1(o1, o2).
  Moments between(const Fswg& group, Map& o1, Map& y2, const Gate& gate, Map& c1, Map& x3) {
    worker_.convolutions(
        {&o1, &y2},
        [&](int y, Cell* line, bool) { fill_both(line, y, o1, y2, gate); },
        [&](int y, const Window& window) {
          const auto value = [&](const Spot& spot, Pair skip, Pair merged) {
            const Pair sum = skip + load_pair(kBoth.sample(window, geometry_, spot, kPairs + spot.pair));
            store_pair(c1.at(y, spot.pair) + spot.place, merged);
            return std::array{store_pair(x3.at(y, spot.pair) + spot.place, sum)};
          };
          compute_line<1>(worker_, y, value, product_of(group.skip, window, kBoth, geometry_),
                          product_of(group.merge1, window, kBoth, geometry_));
        });
    return worker_.moments();
  }

  // o3 = gate(y3); the group's result = (merge2(c1, o3) + o3) * body scale + wirw(in) * skip scale.
  Moments merge(const Fswg& group, Map& c1, Map& y3, const Gate& gate, Map& unit,
                const Gate& unit_gate, bool residual) {
    const float keep = group.skip_scale * group.wirw.skip + (residual ? 1.0f : 0.0f);
    const PairGates unit_gates(unit_gate);
    worker_.convolutions(
        {&c1, &y3, &unit, &maps_.input},
        [&](int y, Cell* line, bool) { fill_both(line, y, c1, y3, gate); },
        [&](int y, const Window& window) {
          // o3's channels are stored in another order than the result's.
          const auto o3 = [&](const Spot& spot, int channel) {
            const int stored = group.natural[channel];
            return load_half(kBoth.sample(window, geometry_, spot, kPairs + stored / 2), stored % 2 != 0);
          };
          const auto value = [&](const Spot& spot, Pair merged) {
            const int pair = spot.pair;
            Cell* to = maps_.input.at(y, pair) + spot.place;
            const Pair body = merged + Pair{o3(spot, 2 * pair), o3(spot, 2 * pair + 1)};
            const Pair beside = unit_gates[pair](load_pair(unit.at(y, pair) + spot.place));
            const Pair sum = body * group.body_scale + beside * group.skip_scale + load_pair(to) * keep;
            return std::array{store_pair(to, sum)};
          };
          compute_line<1>(worker_, y, value, product_of(group.merge2, window, kBoth, geometry_));
        });
    return worker_.moments();
  }

  // A line of one map and, gated, of another.
  void fill_both(Cell* line, int y, Map& plain, Map& gated, const Gate& gate) {
    fill_section(geometry_, kBoth.in(line, geometry_), [&](int pair) {
      const bool is_gated = pair >= kPairs;
      const int of_map = is_gated ? pair - kPairs : pair;
      const Cell* from = (is_gated ? gated : plain).at(y, of_map);
      const PairGate pair_gate(gate, of_map);
      return [=](int i) {
        return is_gated ? cells_of(pair_gate(load_pair(from + i))) : _mm512_loadu_si512(from + i);
      };
    });
  }

  Maps& maps_;
};

}  // namespace vsr::bfloat16
