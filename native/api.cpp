// The C interface; vsr/engine/native/library.py is its caller.
//
// A network holds the parameters. A run holds the maps of one frame and exists only while that frame
// is computed: lines of features go in, the trunk runs, lines of features come out.

#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "trunk.h"

#define VSR_API extern "C" __attribute__((visibility("default")))

namespace vsr {
namespace {

thread_local std::string last_error;

// Calls body; on an exception keeps its message and returns `failed`.
template <class Result, class Body>
Result guarded(Result failed, Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    last_error = "out of memory";
  } catch (const std::exception& error) {
    last_error = error.what();
  }
  return failed;
}

class Run {
 public:
  virtual ~Run() = default;
  virtual void write(const float* planes, int top, int lines) = 0;
  virtual void trunk(const Network& network) = 0;
  virtual void read(float* planes, int top, int lines) = 0;
  virtual void stage(const std::string& name, Reader& parameters, double* said) = 0;
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

  void trunk(const Network& network) override {
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
      const Convolution layer = read_convolution(parameters);
      together([&](Trunk<Stored>& trunk) {
        trunk.convolution(layer, maps.input, maps.m[0]);
        return moments;
      }, moments);
      std::swap(maps.input, maps.m[0]);
    } else if (name == "wide" || name == "wcrw") {
      const bool distils = name == "wcrw";
      const DistilledWcrw wcrw = distils ? read_wcrw(parameters) : DistilledWcrw{};
      const Wide wide = distils ? Wide{} : read_wide(parameters);
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
      read_wdib(parameters, block);
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
}  // namespace vsr

VSR_API int vsr_interface() { return 1; }  // of this file; the caller knows one

VSR_API int vsr_lanes() { return vsr::kLanes; }

VSR_API const char* vsr_error() { return vsr::last_error.c_str(); }

VSR_API vsr::Network* vsr_network_new(const float* parameters, size_t count) {
  return vsr::guarded<vsr::Network*>(nullptr, [&] {
    vsr::Reader reader(parameters, count);
    return new vsr::Network(vsr::read_network(reader));
  });
}

VSR_API void vsr_network_free(vsr::Network* network) { delete network; }

// half: keep maps in half precision rather than float32.
VSR_API vsr::Run* vsr_run_new(int height, int width, int threads, int half) {
  return vsr::guarded<vsr::Run*>(nullptr, [&]() -> vsr::Run* {
    const vsr::Size size(height, width);
    if (half != 0) return new vsr::RunOf<vsr::Half>(size, threads);
    return new vsr::RunOf<float>(size, threads);
  });
}

// planes: [24][lines][width] float32.
VSR_API void vsr_run_write(vsr::Run* run, const float* planes, int top, int lines) {
  run->write(planes, top, lines);
}

// Replaces the features by the trunk's result. 0, or -1 with vsr_error().
VSR_API int vsr_run_trunk(vsr::Run* run, const vsr::Network* network) {
  return vsr::guarded(-1, [&] {
    run->trunk(*network);
    return 0;
  });
}

VSR_API void vsr_run_read(vsr::Run* run, float* planes, int top, int lines) {
  run->read(planes, top, lines);
}

// Runs one stage by name on the features, for tests; said: room for 48 numbers. 0, or -1.
VSR_API int vsr_run_stage(vsr::Run* run, const char* name, const float* parameters, size_t count,
                          double* said) {
  return vsr::guarded(-1, [&] {
    vsr::Reader reader(parameters, count);
    run->stage(name, reader, said);
    return 0;
  });
}

VSR_API void vsr_run_free(vsr::Run* run) { delete run; }
