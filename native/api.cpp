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

 private:
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

VSR_API void vsr_run_free(vsr::Run* run) { delete run; }
