// The trunk, stage by stage. vsr/models/fdiwn_inference.py says what it computes and names its
// parts; here is when, and where it lies.
//
// A block has ten stages, and five maps besides what it reads and leaves. That suffices because a
// stage of convolutions may overwrite what it reads: it has read a line, and the lines below it
// that a tile needs, before it writes one.
#pragma once

#include "layers.h"
#include "stage.h"

namespace vsr {

// The maps of a run. `input` holds the features that enter the trunk and, in the end, leave it.
template <class Stored>
struct Maps {
  explicit Maps(const Size& size)
      : input(size), first(size), second(size), m{Map<Stored>(size), Map<Stored>(size),
        Map<Stored>(size), Map<Stored>(size), Map<Stored>(size)} {}
  Map<Stored> input, first, second, m[5];
};

// One thread's way through the trunk. All threads make the same calls in the same order.
template <class Stored>
class Trunk {
 public:
  using M = Map<Stored>;

  Trunk(Worker& worker, Maps<Stored>& maps) : worker_(worker), size_(worker.size), maps_(maps) {}

  void run(const Network& network) {
    Moments moments = measure(maps_.input);
    bool first = true;
    for (int group : network.order) {
      moments = fswg(network.groups[group], moments, !first);
      first = false;
    }
  }

  // Moments of a map that is already there.
  Moments measure(M& map) {
    worker_.samples([&](int row) {
      sample_row<1>(row, [&](int y, int c) {
        const Stored* from = map.at(y, c);
        return [=](int i, Vec(&out)[1]) { out[0] = load(from + i); };
      });
    });
    return worker_.moments();
  }

  // to = conv(reduce(relu(expand(source)))), before its gate, whose values are returned.
  // source(y, c) gives a function from a sample's place in the line to its value.
  template <class Source>
  Gate wide(const Wide& unit, M& to, Source&& source) {
    worker_.convolutions(
        [&](int y, float* line, bool) {
          float* z = worker_.line.get();
          fill(z, y, source);
          reduce_line(unit, z, line);
        },
        [&](int row, const Window& window) { convolve_to(unit.convolution, window, row, 0, to); });
    return unit.gate.at(worker_.moments());
  }

  // The wide path and the shortcut of a WCRW, and the distilled half's convolution. `wide_to` may
  // be a map that source reads.
  template <class Source>
  Gate wcrw(const DistilledWcrw& unit, M& wide_to, M& shortcut_to, M& distil_to, Source&& source) {
    worker_.convolutions(
        [&](int y, float* line, bool) {
          fill(line, y, [&](int at, int place) { return source(at, unit.order[place]); });
          reduce_line(unit.wide, channel(line, kChannels / 2), line);
        },
        [&](int row, const Window& window) {
          convolve_to(unit.wide.convolution, window, row, 0, wide_to);
          convolve_to(unit.shortcut, window, row, -1, shortcut_to);
          convolve_to(unit.distil, window, row, -1, distil_to);
        });
    return unit.wide.gate.at(worker_.moments());
  }

  // to = convolution(from), for tests.
  void convolution(const Convolution& layer, M& from, M& to) {
    worker_.convolutions(
        [&](int y, float* line, bool) { fill(line, y, [&](int at, int c) { return plain(from, at, c); }); },
        [&](int row, const Window& window) { convolve_to(layer, window, row, -1, to); });
  }

  // One block; its input's moments are known. Its result may lie where its input did.
  Moments wdib(const Wdib& block, M& x, const Moments& x_moments, M& out) {
    M(&m)[5] = maps_.m;

    // Branch a: p = leaky(wirw1(x)); a = wcrw1(p).
    const Gate gate1 = wide(block.wirw[0].wide, m[0], [&](int y, int c) { return plain(x, y, c); });
    const float skip1 = block.wirw[0].skip;
    const Gate gate_a = wcrw(block.wcrw[0], m[0], m[1], m[2], [&](int y, int c) {
      const Stored *t = m[0].at(y, c), *from = x.at(y, c);
      const Gate::Channel gate = gate1.channel(c);
      return [=](int i) {
        return leaky_relu(gate(load(t + i)) + load(from + i) * skip1, kLeak);
      };
    });
    const auto b1 = block.b1.at(x_moments);
    worker_.samples([&](int row) {
      sample_row<2>(row, [&](int y, int c) {
        Stored* a = m[0].at(y, c);
        const Stored *shortcut = m[1].at(y, c), *from = x.at(y, c);
        const Gate::Channel gate = gate_a.channel(c);
        const float by = b1.of[c];
        return [=](int i, Vec(&out_)[2]) {
          out_[0] = gate(load(a + i)) + load(shortcut + i);
          store(a + i, out_[0]);
          out_[1] = out_[0] + load(from + i) * by;
        };
      });
    });
    M& a = m[0];
    const auto a1 = block.a1.at(worker_.moments(0)), a2 = block.a2.at(worker_.moments(1));

    // Branch b: q = leaky(wirw2(x + A1(a) a)); b = wcrw2(q).
    const Gate gate2 = wide(block.wirw[1].wide, m[1], [&](int y, int c) {
      const Stored *from = x.at(y, c), *other = a.at(y, c);
      const float by = a1.of[c];
      return [=](int i) { return load(from + i) + load(other + i) * by; };
    });
    const float skip2 = block.wirw[1].skip;
    const Gate gate_b = wcrw(block.wcrw[1], m[1], m[3], m[4], [&](int y, int c) {
      const Stored *t = m[1].at(y, c), *from = x.at(y, c), *other = a.at(y, c);
      const Gate::Channel gate = gate2.channel(c);
      const float by = a1.of[c];
      return [=](int i) {
        const Vec in = load(from + i) + load(other + i) * by;
        return leaky_relu(gate(load(t + i)) + in * skip2, kLeak);
      };
    });
    worker_.samples([&](int row) {
      sample_row<1>(row, [&](int y, int c) {
        Stored* b = m[1].at(y, c);
        const Stored* shortcut = m[3].at(y, c);
        const Gate::Channel gate = gate_b.channel(c);
        return [=](int i, Vec(&out_)[1]) {
          out_[0] = gate(load(b + i)) + load(shortcut + i);
          store(b + i, out_[0]);
        };
      });
    });
    const auto b2 = block.b2.at(worker_.moments());

    const Interaction mix{x, a, m[1], m[2], m[4], b1.of, a2.of, b2.of};
    Gate gate3, gate4;
    interact(block, mix, gate3, gate4);
    return fuse(block, x, gate3, gate4, out);
  }

 private:
  static constexpr float kLeak = 0.05f;

  // What the two branches exchange: maps a, b and the distilled halves become a2 and b2.
  struct Interaction {
    M &x, &a, &b, &distilled_p, &distilled_q;
    const float *b1, *a2, *b2;
  };

  float* channel(float* line, int c) const {
    return line + static_cast<size_t>(c) * kTile * size_.pitch;
  }

  // Calls body(place in a stored line, place in a line that convolutions read).
  template <class Body>
  void along(Body&& body) const {
    for (int phase = 0; phase < kTile; ++phase)
      for (int position = 0; position < size_.positions; position += kLanes)
        body(phase * size_.positions + position, phase * size_.pitch + kLanes + position);
  }

  auto plain(M& map, int y, int c) const {
    const Stored* from = map.at(y, c);
    return [=](int i) { return load(from + i); };
  }

  template <class Source>
  void fill(float* line, int y, Source&& source, int channels = kChannels) const {
    for (int c = 0; c < channels; ++c) {
      float* to = channel(line, c);
      const auto value = source(y, c);
      along([&](int i, int place) { store(to + place, value(i)); });
    }
  }

  void reduce_line(const Wide& unit, const float* z, float* line) const {
    float* reduced = channel(line, unit.first_reduced());
    expand_and_reduce(unit.expand, unit.reduce, z, reduced, size_);
    clear_beyond(reduced, unit.reduce.outputs, size_);
  }

  void convolve_to(const Convolution& convolution, const Window& window, int row, int set, M& to) {
    worker_.convolve_row(convolution, window, row, set,
                         [&](int c, int y, int phase, int position, Vec value, int) {
                           store(to.at(y, c) + phase * size_.positions + position, value);
                           return value;
                         });
  }

  // Sums `Sets` values for every sample of a row of tiles: of(y, c) gives a function that computes
  // them from a sample's place.
  template <int Sets, class Of>
  void sample_row(int row, Of&& of) {
    const int lines = worker_.lines_of(row);
    for (int c = 0; c < kChannels; ++c)
      for (int y = 0; y < lines; ++y) {
        const auto compute = of(row * kTile + y, c);
        for (int phase = 0; phase < kTile; ++phase)
          for (int position = 0; position < size_.positions; position += kLanes) {
            const int valid = size_.valid_lanes(phase, position);
            Vec values[Sets];
            compute(phase * size_.positions + position, values);
            for (int set = 0; set < Sets; ++set) {
              RowSums& sums = worker_.sums[set];
              if (y == 0 && phase == 0 && position == 0) sums.begin_channel(c, values[set][0]);
              if (valid == kLanes)
                sums.add(c, values[set]);
              else
                sums.add(c, values[set], valid);
            }
          }
      }
    for (int set = 0; set < Sets; ++set) worker_.sum_up(row, set);
  }

  // m[2] = a2, m[4] = b2; m[0], m[3] = the wide paths of wirw3(a2) and wirw4(b2) before their gates.
  void interact(const Wdib& block, const Interaction& mix, Gate& gate3, Gate& gate4) {
    M(&m)[5] = maps_.m;
    worker_.convolutions(
        [&](int y, float* line, bool own) {
          float* z = worker_.line.get();
          for (int c = 0; c < kChannels; ++c) {
            const Stored *x = mix.x.at(y, c), *a = mix.a.at(y, c), *b = mix.b.at(y, c);
            Stored *p = mix.distilled_p.at(y, c), *q = mix.distilled_q.at(y, c);
            float *to_a = channel(z, c), *to_b = channel(z, kChannels + c);
            const float b1 = mix.b1[c], a2 = mix.a2[c], b2 = mix.b2[c];
            along([&](int i, int place) {
              const Vec a1 = load(a + i) + load(x + i) * b1, from_b = load(b + i);
              const Vec into_b = (a1 * a2 + from_b) * sigmoid(load(q + i));
              const Vec into_a = (from_b * b2 + a1) * sigmoid(load(p + i));
              store(to_a + place, into_a);
              store(to_b + place, into_b);
              if (own) {
                store(p + i, into_a);
                store(q + i, into_b);
              }
            });
          }
          reduce_line(block.wirw[2].wide, z, line);
          reduce_line(block.wirw[3].wide, channel(z, kChannels), line);
        },
        [&](int row, const Window& window) {
          convolve_to(block.wirw[2].wide.convolution, window, row, 0, m[0]);
          convolve_to(block.wirw[3].wide.convolution, window, row, 1, m[3]);
        });
    gate3 = block.wirw[2].wide.gate.at(worker_.moments(0));
    gate4 = block.wirw[3].wide.gate.at(worker_.moments(1));
  }

  // z = both branches; out = gate(wide(z) + shortcut(z) + x + sigmoid(calibrate(z)) * branch b).
  Moments fuse(const Wdib& block, M& x, const Gate& gate3, const Gate& gate4, M& out) {
    M(&m)[5] = maps_.m;
    const float skip3 = block.wirw[2].skip, skip4 = block.wirw[3].skip;
    worker_.convolutions(
        [&](int y, float* line, bool own) {
          const auto branch = [&](int at, int c_) {
            const bool is_b = c_ >= kChannels;
            const int c = is_b ? c_ - kChannels : c_;
            const Stored* t = m[is_b ? 3 : 0].at(at, c);
            const Stored* skipped = m[is_b ? 4 : 2].at(at, c);
            const Gate::Channel gate = (is_b ? gate4 : gate3).channel(c);
            const float skip = is_b ? skip4 : skip3;
            return [=](int i) { return gate(load(t + i)) + load(skipped + i) * skip; };
          };
          fill(line, y, branch, 2 * kChannels);
          reduce_line(block.fuse, line, line);
          if (own) calibrate(block.calibrate, line, x, y, m[1]);
        },
        [&](int row, const Window& window) {
          convolve_to(block.fuse.convolution, window, row, 0, m[0]);
          worker_.convolve_row(block.fuse_shortcut, window, row, -1,
                               [&](int c, int y, int phase, int position, Vec value, int) {
                                 Stored* to = m[1].at(y, c) + phase * size_.positions + position;
                                 store(to, load(to) + value);
                                 return value;
                               });
        });
    const Gate gate_wide = block.fuse.gate.at(worker_.moments());
    worker_.samples([&](int row) {
      sample_row<1>(row, [&](int y, int c) {
        Stored* t = m[0].at(y, c);
        const Stored* rest = m[1].at(y, c);
        const Gate::Channel gate = gate_wide.channel(c);
        return [=](int i, Vec(&out_)[1]) {
          out_[0] = gate(load(t + i)) + load(rest + i);
          store(t + i, out_[0]);
        };
      });
    });
    const Gate gate_out = block.gate.at(worker_.moments());
    worker_.samples([&](int row) {
      sample_row<1>(row, [&](int y, int c) {
        const Stored* t = m[0].at(y, c);
        Stored* to = out.at(y, c);
        const Gate::Channel gate = gate_out.channel(c);
        return [=](int i, Vec(&out_)[1]) {
          out_[0] = gate(load(t + i));
          store(to + i, out_[0]);
        };
      });
    });
    return worker_.moments();
  }

  // to = x + sigmoid(calibrate(z)) * branch b, at line y.
  void calibrate(const Pointwise& layer, const float* z, M& x, int y, M& to) const {
    const long stride = static_cast<long>(kTile) * size_.pitch;
    for_samples(size_, [&](auto vectors, long offset) {
      constexpr int N = vectors.value;
      const int phase = static_cast<int>(offset / size_.pitch);
      const long stored = phase * size_.positions + offset - phase * size_.pitch - kLanes;
      pointwise_samples<N>(layer, z + offset, stride, [&](int first, Vec(&sums)[kBlock][N]) {
        for (int m = 0; m < kBlock; ++m)
          for (int n = 0; n < N; ++n) {
            const int c = first + m;
            const long i = stored + n * kLanes;
            const Vec b = load(z + (kChannels + c) * stride + offset + n * kLanes);
            store(to.at(y, c) + i, load(x.at(y, c) + i) + sigmoid(sums[m][n]) * b);
          }
      });
    });
  }

  // A group; the result, plus what the group read if `residual`, takes its place.
  Moments fswg(const Fswg& group, const Moments& in_moments, bool residual) {
    M &in = maps_.input, &o1 = maps_.first, &o2 = maps_.second;
    const Moments moments1 = wdib(group.wdib[0], in, in_moments, o1);
    wdib(group.wdib[1], o1, moments1, o2);

    // Both o1 and o2 are read here for the last time: x3 = o2 + skip(o1), c1 = merge1(o1, o2).
    const auto both = [&](int y, int c) {
      return c < kChannels ? plain(o1, y, c) : plain(o2, y, c - kChannels);
    };
    M &x3 = o1, &c1 = o2;
    worker_.convolutions(
        [&](int y, float* line, bool) { fill(line, y, both, 2 * kChannels); },
        [&](int row, const Window& window) {
          worker_.convolve_row(group.skip, window, row, 0,
                               [&](int c, int y, int phase, int position, Vec value, int) {
                                 const int i = phase * size_.positions + position;
                                 const Vec sum = load(o2.at(y, c) + i) + value;
                                 store(x3.at(y, c) + i, sum);
                                 return sum;
                               });
          convolve_to(group.merge1, window, row, -1, c1);
        });
    const Moments moments3 = worker_.moments();
    M& o3 = x3;
    wdib(group.wdib[2], x3, moments3, o3);

    M& t = maps_.m[0];
    const Gate gate = wide(group.wirw.wide, t, [&](int y, int c) { return plain(in, y, c); });
    const float keep = group.skip_scale * group.wirw.skip + (residual ? 1.0f : 0.0f);
    worker_.convolutions(
        [&](int y, float* line, bool) {
          fill(line, y, [&](int at, int c) {
            return c < kChannels ? plain(c1, at, c) : plain(o3, at, c - kChannels);
          }, 2 * kChannels);
        },
        [&](int row, const Window& window) {
          worker_.convolve_row(group.merge2, window, row, 0,
                               [&](int c, int y, int phase, int position, Vec value, int) {
                                 const int i = phase * size_.positions + position;
                                 Stored* to = in.at(y, c) + i;
                                 const Vec body = value + load(o3.at(y, group.natural[c]) + i);
                                 const Vec unit = gate.channel(c)(load(t.at(y, c) + i));
                                 const Vec sum = body * group.body_scale +
                                                 unit * group.skip_scale + load(to) * keep;
                                 store(to, sum);
                                 return sum;
                               });
        });
    return worker_.moments();
  }

  Worker& worker_;
  const Size& size_;
  Maps<Stored>& maps_;
};

}  // namespace vsr
