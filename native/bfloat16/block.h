// A block's stages; ../trunk.h has the same in float32.
//
// What counts here, on AMX above all, is memory: a map is read from it in every stage, and written back. So a stage
// overwrites maps that it reads wherever it can, and what several stages need is computed where its
// inputs are at hand: a WCRW's shortcut and the distilled half's convolution, for one, in the stage
// that sums the WCRW up; a block's last gate in the first stage of what follows.
#pragma once

#include "lines.h"

namespace vsr::bfloat16 {

// A map that may have to be gated where it is read next.
struct Pending {
  Map* map;
  const Gate* gate = nullptr;
};

// One thread's way through a stage. All threads make the same calls in the same order.
class Stages {
 public:
  explicit Stages(Worker& worker) : worker_(worker), geometry_(worker.geometry) {}

  // Moments of a map that is already there.
  Moments measure(Map& map) {
    worker_.samples([&](int y) {
      sample_line<1>(worker_, y, 0, [&](int pair) {
        const Cell* from = map.at(y, pair);
        return [=](int i) { return std::array{load_pair(from + i)}; };
      });
    });
    return worker_.moments();
  }

  // to = conv(reduce(relu(expand(source)))) for each unit, before its gate, whose values are
  // returned. source(y, own) gives the line's samples for each.
  template <size_t N, class Source>
  std::array<Gate, N> wide(const std::array<const Wide*, N>& units, const std::array<Map*, N>& to,
                           std::initializer_list<Map*> maps, Source&& source) {
    const int pairs = units[0]->reduce.outputs / 2;
    const auto reduced = [=](size_t unit) {
      return At{static_cast<int>(unit) * section_rows(pairs), pairs};
    };
    const auto store = [&](int y) {
      return [&, y](const Spot& spot, auto... products) {
        std::array<Pair, N> values{products...};
        for (size_t unit = 0; unit < N; ++unit)
          values[unit] = store_pair(to[unit]->at(y, spot.pair) + spot.place, values[unit]);
        return values;
      };
    };
    worker_.convolutions(
        maps,
        [&](int y, Cell* line, bool own) {
          const std::array<Samples, N> samples = source(y, own);
          for (size_t unit = 0; unit < N; ++unit)
            reduce_line(worker_, *units[unit], samples[unit], reduced(unit).in(line, geometry_));
        },
        [&](int y, const Window& window) {
          const auto product = [&](size_t unit) {
            return product_of(units[unit]->convolution, window, reduced(unit), geometry_);
          };
          if constexpr (N == 1)
            compute_line<1>(worker_, y, store(y), product(0));
          else
            compute_line<2>(worker_, y, store(y), product(0), product(1));
        });
    std::array<Gate, N> gates;
    for (size_t unit = 0; unit < N; ++unit)
      gates[unit] = units[unit]->gate.at(worker_.moments(static_cast<int>(unit)));
    return gates;
  }

  // A WCRW's wide path, before its gate, whose values are returned: to = wide(remaining half of p),
  // p = leaky(gate(t) + base * skip). p takes t's place, distilled half first.
  // base(y, channel) gives a function from a place to samples, of `maps`.
  template <class Base>
  Gate distil(const DistilledWcrw& unit, const Gate& gate, float skip, Map& t, Map& to,
              std::initializer_list<Map*> maps, Base&& base) {
    const auto half = [&](int y, int channel) {
      const ChannelGate gated(gate, channel);
      const auto rest = base(y, channel);
      const Cell* from = t.at(y, channel / 2);
      const bool odd = channel % 2 != 0;
      return [=](int i) { return vsr::leaky_relu(gated(load_half(from + i, odd)) + rest(i) * skip, kLeak); };
    };
    const auto source = [&](int y, bool own) {
      Cell* p = worker_.scratch();
      fill_line(geometry_, p, [&](int pair) {
        const auto even = half(y, unit.order[2 * pair]), odd = half(y, unit.order[2 * pair + 1]);
        return [=](int i) { return cells_of({even(i), odd(i)}); };
      });
      if (own) keep(p, t, y);
      return std::array{samples_of(geometry_, p, kPairs / 2)};
    };
    return wide<1>({&unit.wide}, {&to}, maps, source)[0];
  }

  // Sums a WCRW up: what it gives, gate(wide) + shortcut(remaining half), takes the place of `wide`
  // and is summed in set 0; the distilled half's convolution takes that of p. second(y, spot, result)
  // is summed in set 1 if there are two.
  template <int Sets, class Second>
  void sum_up(const DistilledWcrw& unit, const Gate& gate, Map& p, Map& wide,
              std::initializer_list<Map*> maps, Second&& second) {
    constexpr At kDistilled{0, kPairs / 2}, kRemaining{section_rows(kPairs / 2), kPairs / 2};
    const PairGates gates(gate);
    worker_.convolutions(
        maps,
        [&](int y, Cell* line, bool) {
          fill_section(geometry_, kDistilled.in(line, geometry_),
                       [&](int pair) { return copy_of(p.at(y, pair)); });
          fill_section(geometry_, kRemaining.in(line, geometry_),
                       [&](int pair) { return copy_of(p.at(y, kPairs / 2 + pair)); });
        },
        [&](int y, const Window& window) {
          const auto value = [&](const Spot& spot, Pair shortcut, Pair distilled) {
            store_pair(p.at(y, spot.pair) + spot.place, distilled);
            Cell* to = wide.at(y, spot.pair) + spot.place;
            const Pair sum = store_pair(to, gates[spot.pair](load_pair(to)) + shortcut);
            if constexpr (Sets == 2)
              return std::array{sum, second(y, spot, sum)};
            else
              return std::array{sum};
          };
          compute_line<Sets>(worker_, y, value,
                             product_of(unit.shortcut, window, kRemaining, geometry_),
                             product_of(unit.distil, window, kDistilled, geometry_));
        });
  }

  // to = convolution(from), for tests.
  void convolution(const Convolution& layer, Map& from, Map& to) {
    constexpr At kAll{0, kPairs};
    worker_.convolutions(
        {&from, &to},
        [&](int y, Cell* line, bool) {
          fill_section(geometry_, kAll.in(line, geometry_),
                       [&](int pair) { return copy_of(from.at(y, pair)); });
        },
        [&](int y, const Window& window) {
          const auto store = [&](const Spot& spot, Pair value) {
            return std::array{store_pair(to.at(y, spot.pair) + spot.place, value)};
          };
          compute_line<1>(worker_, y, store, product_of(layer, window, kAll, geometry_));
        });
  }

  // A map's line as samples. If it is to be gated, that happens here, and it is summed in set 1.
  Samples ready(const Pending& x, int y, bool own) {
    if (x.gate == nullptr) return samples_of(geometry_, x.map->line(y));
    Cell* line = worker_.scratch();
    const auto gated = [&](int pair) {
      const PairGate gate(*x.gate, pair);
      const Cell* from = x.map->at(y, pair);
      return [=](int i) { return gate(load_pair(from + i)); };
    };
    if (!own) {
      fill_line(geometry_, line, [&](int pair) {
        const auto value = gated(pair);
        return [=](int i) { return cells_of(value(i)); };
      });
    } else {
      sample_line<1>(worker_, y, 1, [&](int pair) {
        const auto value = gated(pair);
        Cell* to = line + static_cast<long>(pair) * geometry_.map_pitch;
        return [=](int i) { return std::array{store_pair(to + i, value(i))}; };
      });
      keep(line, *x.map, y);
    }
    return samples_of(geometry_, line);
  }

  // map = gate(map), for tests.
  void gate(Map& map, const Gate& gate) {
    worker_.samples([&](int y) {
      fill_line(geometry_, map.line(y), [&](int pair) {
        const PairGate of_pair(gate, pair);
        const Cell* from = map.at(y, pair);
        return [=](int i) { return cells_of(of_pair(load_pair(from + i))); };
      });
    });
  }

  // What a block works in.
  struct Room {
    Map &t1, &t2, &u1, &u2;
  };

  // One block. Its input's moments are known, or come of the pending gate. What it leaves in t1 is
  // to be gated by what it returns.
  Gate wdib(const Wdib& block, const Pending& input, Moments x_moments, Room m) {
    Map& x = *input.map;
    const Gate gate1 = wide<1>({&block.wirw[0].wide}, {&m.t1}, {&x, &m.t1}, [&](int y, bool own) {
      return std::array{ready(input, y, own)};
    })[0];
    if (input.gate != nullptr) x_moments = worker_.moments(1);

    // Branch a: p = leaky(wirw1(x)); a = wcrw1(p), in u1.
    const Gate gate_a = distil(block.wcrw[0], gate1, block.wirw[0].skip, m.t1, m.u1, {&m.t1, &m.u1, &x}, [&](int y, int channel) {
      return channel_of(x, y, channel);
    });
    const auto b1 = block.b1.at(x_moments);
    sum_up<2>(block.wcrw[0], gate_a, m.t1, m.u1, {&m.t1, &m.u1, &x}, [&](int y, const Spot& spot, Pair a) {
      return a + load_pair(x.at(y, spot.pair) + spot.place) * PairScale(b1.of, spot.pair);
    });
    const auto a1 = block.a1.at(worker_.moments(0)), a2 = block.a2.at(worker_.moments(1));

    // Branch b: q = leaky(wirw2(x + A1(a) a)); b = wcrw2(q), in u2.
    const Gate gate2 = wide<1>({&block.wirw[1].wide}, {&m.t2}, {&x, &m.u1, &m.t2}, [&](int y, bool) {
      fill_line(geometry_, worker_.scratch(), [&](int pair) {
        const Cell *from = x.at(y, pair), *other = m.u1.at(y, pair);
        const PairScale by(a1.of, pair);
        return [=](int i) { return cells_of(load_pair(from + i) + load_pair(other + i) * by); };
      });
      return std::array{samples_of(geometry_, worker_.scratch())};
    })[0];
    const Gate gate_b = distil(block.wcrw[1], gate2, block.wirw[1].skip, m.t2, m.u2, {&m.t2, &m.u2, &x, &m.u1}, [&](int y, int channel) {
      const auto from = channel_of(x, y, channel), other = channel_of(m.u1, y, channel);
      const float by = a1.of[channel];
      return [=](int i) { return from(i) + other(i) * by; };
    });
    sum_up<1>(block.wcrw[1], gate_b, m.t2, m.u2, {&m.t2, &m.u2}, [](int, const Spot&, Pair b) { return b; });
    const auto b2 = block.b2.at(worker_.moments());

    const auto gates = interact(block, x, m, Coefficients{b1.of, a2.of, b2.of});
    return fuse(block, x, m, gates);
  }

 protected:
  Worker& worker_;
  const Geometry& geometry_;

  // The gates of all pairs.
  class PairGates {
   public:
    explicit PairGates(const Gate& gate) : PairGates(gate, std::make_index_sequence<kPairs>{}) {}
    const PairGate& operator[](int pair) const { return gates_[pair]; }

   private:
    template <size_t... pair>
    PairGates(const Gate& gate, std::index_sequence<pair...>) : gates_{PairGate(gate, pair)...} {}
    std::array<PairGate, kPairs> gates_;
  };

  // Writes a line that this thread has computed into a map.
  void keep(const Cell* line, Map& to, int y) const {
    std::memcpy(to.line(y), line, sizeof(Cell) * kPairs * geometry_.map_pitch);
  }

 private:
  static constexpr float kLeak = 0.05f;

  struct Coefficients {
    const float *b1, *a2, *b2;
  };

  // What the branches exchange: a2 takes a's place in u1, b2 takes b's in u2. The wide paths of
  // wirw3(a2) and wirw4(b2) go where the distilled halves were, in t1 and t2.
  std::array<Gate, 2> interact(const Wdib& block, Map& x, Room m, const Coefficients& by) {
    const auto source = [&](int y, bool own) {
      Cell *into_a = worker_.scratch(), *into_b = into_a + static_cast<long>(kPairs) * geometry_.map_pitch;
      for (int pair = 0; pair < kPairs; ++pair) {
        const Cell *from = x.at(y, pair), *a = m.u1.at(y, pair), *b = m.u2.at(y, pair);
        const Cell *p = m.t1.at(y, pair), *q = m.t2.at(y, pair);
        Cell* to_a = into_a + static_cast<long>(pair) * geometry_.map_pitch;
        Cell* to_b = into_b + static_cast<long>(pair) * geometry_.map_pitch;
        const PairScale b1(by.b1, pair), a2(by.a2, pair), b2(by.b2, pair);
        for (int i = 0; i < geometry_.line(); i += kLanes) {
          const Pair a1 = load_pair(a + i) + load_pair(from + i) * b1, from_b = load_pair(b + i);
          store_pair(to_a + i, (from_b * b2 + a1) * sigmoid(load_pair(p + i)));
          store_pair(to_b + i, (a1 * a2 + from_b) * sigmoid(load_pair(q + i)));
        }
      }
      if (own) {
        keep(into_a, m.u1, y);
        keep(into_b, m.u2, y);
      }
      return std::array{samples_of(geometry_, into_a), samples_of(geometry_, into_b)};
    };
    return wide<2>({&block.wirw[2].wide, &block.wirw[3].wide}, {&m.t1, &m.t2}, {&x, &m.u1, &m.u2, &m.t1, &m.t2}, source);
  }

  // z = both branches; y = gate(wide(z)) + shortcut(z) + x + sigmoid(calibrate(z)) * branch b, in t1,
  // whose gate is returned.
  Gate fuse(const Wdib& block, Map& x, Room m, const std::array<Gate, 2>& gates) {
    constexpr At kBoth{0, 2 * kPairs}, kReduced{section_rows(2 * kPairs), kPairs};
    const float skips[2] = {block.wirw[2].skip, block.wirw[3].skip};
    worker_.convolutions(
        {&x, &m.u1, &m.u2, &m.t1, &m.t2},
        [&](int y, Cell* line, bool) {
          const Section both = kBoth.in(line, geometry_);
          fill_section(geometry_, both, [&](int pair_) {
            const int branch = pair_ / kPairs, pair = pair_ % kPairs;
            const PairGate gate(gates[branch], pair);
            const Cell* t = (branch == 0 ? m.t1 : m.t2).at(y, pair);
            const Cell* skipped = (branch == 0 ? m.u1 : m.u2).at(y, pair);
            const float skip = skips[branch];
            return [=](int i) { return cells_of(gate(load_pair(t + i)) + load_pair(skipped + i) * skip); };
          });
          reduce_line(worker_, block.fuse, both.samples(geometry_), kReduced.in(line, geometry_));
        },
        [&](int y, const Window& window) {
          const auto value = [&](const Spot& spot, Pair wide, Pair shortcut, Pair calibration) {
            const Pair b = load_pair(kBoth.sample(window, geometry_, spot, kPairs + spot.pair));
            const Pair rest = shortcut + load_pair(x.at(y, spot.pair) + spot.place) + sigmoid(calibration) * b;
            store_pair(m.t2.at(y, spot.pair) + spot.place, rest);
            return std::array{store_pair(m.t1.at(y, spot.pair) + spot.place, wide)};
          };
          compute_line<1>(worker_, y, value,
                          product_of(block.fuse.convolution, window, kReduced, geometry_),
                          product_of(block.fuse_shortcut, window, kBoth, geometry_),
                          product_of(block.calibrate, window, kBoth, geometry_));
        });
    const Gate gate_wide = block.fuse.gate.at(worker_.moments());
    worker_.samples([&](int y) {
      sample_line<1>(worker_, y, 0, [&](int pair) {
        Cell* t = m.t1.at(y, pair);
        const Cell* rest = m.t2.at(y, pair);
        const PairGate gate(gate_wide, pair);
        return [=](int i) {
          return std::array{store_pair(t + i, gate(load_pair(t + i)) + load_pair(rest + i))};
        };
      });
    });
    return block.gate.at(worker_.moments());
  }
};

}  // namespace vsr::bfloat16
