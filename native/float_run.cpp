// The float32 engine's runs.
#include "run.h"
#include "trunk.h"

namespace vsr {
namespace {

struct FloatModel final : Model {
  explicit FloatModel(Reader& reader) : network(Parameters<FloatLayers>::read_network(reader)) {}
  Network network;
};

template <class Stored>
class RunOf final : public Run {
 public:
  RunOf(const Size& size, int threads)
      : shared_(size, std::min(threads, size.tile_rows)), maps_(std::make_unique<Maps<Stored>>(size)) {
    for (int member = 0; member < shared_.members; ++member)
      workers_.push_back(std::make_unique<Worker>(shared_, member));
  }

  void write(const float* planes, int top, int lines) override {
    const Size& size = shared_.size;
    for (int c = 0; c < kChannels; ++c)
      for (int y = 0; y < lines; ++y) {
        const float* from = planes + (static_cast<size_t>(c) * lines + y) * size.width;
        Stored* to = maps_->input.at(top + y, c);
        for (int x = 0; x < size.width; ++x)
          store_one(to + x % kTile * size.positions + x / kTile, from[x]);
      }
  }

  void trunk(const Model& model) override {
    const Network& network = static_cast<const FloatModel&>(model).network;
    in_parallel(shared_.members, [&](int member) {
      Trunk<Stored>(*workers_[member], *maps_).run(network);
    });
    // Only the result is needed from here on.
    workers_.clear();
    for (Map<Stored>* map : {&maps_->first, &maps_->second}) map->release();
    for (Map<Stored>& map : maps_->m) map.release();
  }

  void read(float* planes, int top, int lines) override {
    const Size& size = shared_.size;
    for (int c = 0; c < kChannels; ++c)
      for (int y = 0; y < lines; ++y) {
        float* to = planes + (static_cast<size_t>(c) * lines + y) * size.width;
        const Stored* from = maps_->input.at(top + y, c);
        for (int x = 0; x < size.width; ++x)
          to[x] = load_one(from + x % kTile * size.positions + x / kTile);
      }
  }

  void stage(const std::string& name, Reader& parameters, double* said) override {
    Maps<Stored>& maps = *maps_;
    Moments moments{};
    Gate gate{};
    if (name == "moments") {
      together([&](Trunk<Stored>& trunk) { return trunk.measure(maps.input); }, moments);
      std::copy_n(moments.mean, kChannels, said);
      std::copy_n(moments.variance, kChannels, said + kChannels);
    } else if (name == "convolution") {
      const Convolution layer = FloatLayers::convolution(RawConvolution(parameters));
      together([&](Trunk<Stored>& trunk) {
        trunk.convolution(layer, maps.input, maps.m[0]);
        return moments;
      }, moments);
      std::swap(maps.input, maps.m[0]);
    } else if (name == "wide" || name == "wcrw") {
      const bool distils = name == "wcrw";
      const DistilledWcrw wcrw = distils ? Read::read_wcrw(parameters) : DistilledWcrw{};
      const Wide wide = distils ? Wide{} : Read::read_wide(parameters);
      together([&](Trunk<Stored>& trunk) {
        const auto source = [&](int y, int c) {
          const Stored* from = maps.input.at(y, c);
          return [=](int i) { return load(from + i); };
        };
        if (!distils) return trunk.wide(wide, maps.m[0], source);
        return trunk.wcrw(wcrw, maps.m[0], maps.m[1], maps.m[2], source);
      }, gate);
      std::copy_n(gate.slope, kChannels, said);
      std::copy_n(gate.offset, kChannels, said + kChannels);
      std::swap(maps.input, maps.m[0]);
    } else if (name == "next") {  // the other maps of a wcrw stage
      std::swap(maps.input, maps.m[1]);
      std::swap(maps.m[1], maps.m[2]);
    } else if (name == "wdib") {
      Wdib block;
      Read::read_wdib(parameters, block);
      together([&](Trunk<Stored>& trunk) {
        const Moments before = trunk.measure(maps.input);
        return trunk.wdib(block, maps.input, before, maps.input);
      }, moments);
    } else {
      throw std::runtime_error("there is no stage called " + name);
    }
    parameters.finish();
  }

 private:
  using Read = Parameters<FloatLayers>;

  // Runs work on every thread's trunk; all give the same result.
  template <class Work, class Result>
  void together(Work&& work, Result& result) {
    in_parallel(shared_.members, [&](int member) {
      Trunk<Stored> trunk(*workers_[member], *maps_);
      const Result mine = work(trunk);
      if (member == 0) result = mine;
    });
  }

  Shared shared_;
  std::unique_ptr<Maps<Stored>> maps_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace

std::unique_ptr<Model> make_model(Reader& parameters) { return std::make_unique<FloatModel>(parameters); }

std::unique_ptr<Run> make_run(int height, int width, int threads, bool half) {
  const Size size(height, width);
  if (half) return std::make_unique<RunOf<Half>>(size, threads);
  return std::make_unique<RunOf<float>>(size, threads);
}

const char* obstacle() { return nullptr; }

}  // namespace vsr
