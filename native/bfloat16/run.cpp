// The runs of the engine that computes in bfloat16.
#include "../run.h"

#include "trunk.h"

namespace vsr {
namespace bfloat16 {
namespace {

struct Bfloat16Model final : Model {
  explicit Bfloat16Model(Reader& reader) : network(Parameters<Layers>::read_network(reader)) {
    // The only convolution that reads a part of its section: o1, of o1 and o2.
    for (Fswg& group : network.groups) group.skip.lay_out(2 * kPairs, kPairs);
  }
  Network network;
};

__m512i every_fourth() {
  return _mm512_set_epi32(60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0);
}

// Sixty-four neighbouring columns are sixteen positions of four phases.
constexpr int kSpan = kTile * kLanes;

Vec phase_of(const float* columns, int phase) {
  return reinterpret_cast<Vec>(_mm512_i32gather_ps(every_fourth(), columns + phase, sizeof(float)));
}
void put_phase(float* columns, int phase, Vec values) {
  _mm512_i32scatter_ps(columns + phase, every_fourth(), reinterpret_cast<__m512>(values), sizeof(float));
}

class Bfloat16Run final : public Run {
 public:
  Bfloat16Run(int height, int width, int threads)
      : geometry_(height, width),
        shared_(geometry_, std::min(threads, geometry_.tile_rows)),
        maps_(std::make_unique<Maps>(geometry_)) {
    for (int member = 0; member < shared_.members; ++member)
      workers_.push_back(std::make_unique<Worker>(shared_, geometry_, member));
  }

  void write(const float* planes, int top, int lines) override {
    alignas(64) float columns[2][kSpan];
    for_spans(top, lines, [&](Cell* to, size_t even, size_t odd, int count) {
      int half = 0;
      for (const size_t from : {even, odd}) {
        std::fill(std::copy_n(planes + from, count, columns[half]), columns[half] + kSpan, 0.0f);
        ++half;
      }
      for (int f = 0; f < kTile; ++f)
        store_pair(to + f * geometry_.positions, {phase_of(columns[0], f), phase_of(columns[1], f)});
    });
  }

  void read(float* planes, int top, int lines) override {
    alignas(64) float columns[2][kSpan];
    for_spans(top, lines, [&](Cell* from, size_t even, size_t odd, int count) {
      for (int f = 0; f < kTile; ++f) {
        const Pair here = load_pair(from + f * geometry_.positions);
        put_phase(columns[0], f, here.even);
        put_phase(columns[1], f, here.odd);
      }
      std::copy_n(columns[0], count, planes + even);
      std::copy_n(columns[1], count, planes + odd);
    });
  }

  void trunk(const Model& model) override {
    const Network& network = static_cast<const Bfloat16Model&>(model).network;
    in_parallel(shared_.members, [&](int member) {
      const Core core;
      Trunk(*workers_[member], *maps_).run(network);
    });
    // Only the result is needed from here on.
    workers_.clear();
    for (Map& map : maps_->m) map.release();
  }

  void stage(const std::string& name, Reader& parameters, double* said) override {
    using Read = Parameters<Layers>;
    Maps& maps = *maps_;
    Moments moments{};
    Gate gate{};
    if (name == "moments") {
      together([&](Trunk& trunk) { return trunk.measure(maps.input); }, moments);
      std::copy_n(moments.mean, kChannels, said);
      std::copy_n(moments.variance, kChannels, said + kChannels);
    } else if (name == "convolution") {
      const Convolution layer = Layers::convolution(RawConvolution(parameters));
      together([&](Trunk& trunk) {
        trunk.convolution(layer, maps.input, maps.m[0]);
        return moments;
      }, moments);
      std::swap(maps.input, maps.m[0]);
    } else if (name == "wide") {
      const Wide unit = Read::read_wide(parameters);
      together([&](Trunk& trunk) {
        return trunk.wide<1>({&unit}, {&maps.m[0]}, {&maps.input, &maps.m[0]}, [&](int y, bool own) {
          return std::array{trunk.ready({&maps.input}, y, own)};
        })[0];
      }, gate);
      std::copy_n(gate.slope, kChannels, said);
      std::copy_n(gate.offset, kChannels, said + kChannels);
      std::swap(maps.input, maps.m[0]);
    } else if (name == "wcrw") {  // of features that are not negative; then "next": the distilled half
      const DistilledWcrw unit = Read::read_wcrw(parameters);
      const Gate shut{};
      together([&](Trunk& trunk) {
        const auto input = [&](int y, int channel) { return channel_of(maps.input, y, channel); };
        const Gate own = trunk.distil(unit, shut, 1, maps.input, maps.m[0], {}, input);
        trunk.sum_up<1>(unit, own, maps.input, maps.m[0], {}, [](int, const Spot&, Pair a) { return a; });
        return moments;
      }, moments);
      std::swap(maps.input, maps.m[0]);
    } else if (name == "next") {
      std::swap(maps.input, maps.m[0]);
    } else if (name == "wdib") {
      Wdib block;
      Read::read_wdib(parameters, block);
      together([&](Trunk& trunk) {
        Map(&m)[6] = maps.m;
        const Moments before = trunk.measure(maps.input);
        return trunk.wdib(block, {&maps.input}, before, {m[0], m[1], m[2], m[3]});
      }, gate);
      // What reads a block gates it; here that is nobody.
      together([&](Trunk& trunk) {
        trunk.gate(maps.m[0], gate);
        return moments;
      }, moments);
      std::swap(maps.input, maps.m[0]);
    } else {
      throw std::runtime_error("there is no stage called " + name);
    }
    parameters.finish();
  }

 private:
  // Calls body(cells, even, odd, count) for every 64 columns of every pair in [24][lines][width]
  // planes: where they lie in the map, where in the planes, and how many are in the picture.
  template <class Body>
  void for_spans(int top, int lines, Body&& body) {
    const size_t plane = static_cast<size_t>(lines) * geometry_.width;
    for (int pair = 0; pair < kPairs; ++pair)
      for (int y = 0; y < lines; ++y)
        for (int x = 0; x < geometry_.width; x += kSpan) {
          const size_t even = 2 * pair * plane + static_cast<size_t>(y) * geometry_.width + x;
          body(maps_->input.at(top + y, pair) + x / kTile, even, even + plane,
               std::min(kSpan, geometry_.width - x));
        }
  }

  template <class Work, class Result>
  void together(Work&& work, Result& result) {
    in_parallel(shared_.members, [&](int member) {
      const Core core;
      Trunk trunk(*workers_[member], *maps_);
      const Result mine = work(trunk);
      if (member == 0) result = mine;
    });
  }

  const Geometry geometry_;
  Shared shared_;
  std::unique_ptr<Maps> maps_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace
}  // namespace bfloat16

std::unique_ptr<Model> make_model(Reader& parameters) { return std::make_unique<bfloat16::Bfloat16Model>(parameters); }

std::unique_ptr<Run> make_run(int height, int width, int threads, bool) {
  return std::make_unique<bfloat16::Bfloat16Run>(height, width, threads);
}

const char* obstacle() { return bfloat16::Core::obstacle(); }

}  // namespace vsr
