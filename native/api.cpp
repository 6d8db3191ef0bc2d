// The C interface; vsr/engine/native/library.py is its caller.
//
// A network holds the parameters. A run holds the maps of one frame and exists only while that frame
// is computed: lines of features go in, the trunk runs, lines of features come out.

#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "run.h"
#include "simd.h"

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

}  // namespace
}  // namespace vsr

VSR_API int vsr_interface() { return 2; }  // of this file; the caller knows one

VSR_API int vsr_lanes() { return vsr::kLanes; }

VSR_API const char* vsr_error() { return vsr::last_error.c_str(); }

VSR_API vsr::Model* vsr_network_new(const float* parameters, size_t count) {
  return vsr::guarded<vsr::Model*>(nullptr, [&] {
    vsr::Reader reader(parameters, count);
    return vsr::make_model(reader).release();
  });
}

VSR_API void vsr_network_free(vsr::Model* network) { delete network; }

// Why this library cannot run here, or nullptr.
VSR_API const char* vsr_obstacle() { return vsr::obstacle(); }

// half: keep maps in half precision rather than float32. The engines that compute in bfloat16 keep it in any case.
VSR_API vsr::Run* vsr_run_new(int height, int width, int threads, int half) {
  return vsr::guarded<vsr::Run*>(
      nullptr, [&] { return vsr::make_run(height, width, threads, half != 0).release(); });
}

// planes: [24][lines][width] float32.
VSR_API void vsr_run_write(vsr::Run* run, const float* planes, int top, int lines) {
  run->write(planes, top, lines);
}

// Replaces the features by the trunk's result. 0, or -1 with vsr_error().
VSR_API int vsr_run_trunk(vsr::Run* run, const vsr::Model* network) {
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
