// A run: the maps of one frame while its trunk is computed. What an engine implements.
#pragma once

#include <memory>
#include <string>

#include "parameters.h"

namespace vsr {

// A network inside an engine.
class Model {
 public:
  virtual ~Model() = default;
};

class Run {
 public:
  virtual ~Run() = default;
  // planes: [24][lines][width] float32.
  virtual void write(const float* planes, int top, int lines) = 0;
  virtual void read(float* planes, int top, int lines) = 0;
  // Replaces the features by the trunk's result, which can then only be read.
  virtual void trunk(const Model& model) = 0;
  // Runs one stage by name on the features, for tests; said: room for 48 numbers.
  virtual void stage(const std::string& name, Reader& parameters, double* said) = 0;
};

// Of the engine that is compiled into this library.
std::unique_ptr<Model> make_model(Reader& parameters);
std::unique_ptr<Run> make_run(int height, int width, int threads, bool half);
// Why it cannot run here, or nullptr.
const char* obstacle();

}  // namespace vsr
