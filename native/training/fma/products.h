// Products with vectors of float32: some pixels by up to three vectors of outputs at a time.
#pragma once

#include <type_traits>

#include "../joins.h"
#include "../memory.h"

namespace vsr::training {

constexpr int kWidthMultiple = kLanes / 8;  // `over` takes whole runs of pixels
constexpr int kRows = 32;                   // pixels that a product's result is handed over for
constexpr int kMostOutputs = 144;

inline bool unit_is_allowed() { return true; }
// Nothing has to be set up.
struct Unit {
  Unit() {}
};

// Pixels, or inputs, that go with N vectors of outputs. With three, twelve sums hide the latency of
// two multiply-add units of four cycles, and fill AVX2's registers with the weights and an input.
template <int N>
constexpr int kMostBeside = N == 3 ? 4 : N == 2 ? 6 : 8;

// How many of `left` vectors of outputs go together: rather 2 and 2 than 3 and 1.
inline int vectors_of(int left) { return left == 4 ? 2 : left < 3 ? left : 3; }

// Calls body(std::integral_constant<int, n>); 1 <= n <= kMost.
template <int kMost, class Body>
inline __attribute__((always_inline)) void with_constant(int n, Body&& body) {
  if constexpr (kMost > 1) {
    if (n < kMost) return with_constant<kMost - 1>(n, body);
  }
  body(std::integral_constant<int, kMost>{});
}

// Calls body(std::integral_constant<int, n>, at) for all of `count`, kMost at a time or nearly.
template <int kMost, class Body>
inline void evenly(int count, Body&& body) {
  int parts = (count + kMost - 1) / kMost;
  for (int at = 0; at < count; --parts) {
    const int n = (count - at + parts - 1) / parts;
    with_constant<kMost>(n, [&](auto constant) { body(constant, at); });
    at += n;
  }
}

// 3x3 convolutions of float32 are multiplied in Winograd's form F(2x2, 3x3): 16 products for four
// pixels in place of 36.
constexpr bool kWinograd = sizeof(Cell) == 4;
constexpr int kPlanes = kWinograd ? 16 : 1;

// Weights of a product over `stretches` of some contiguous pixels' inputs each: for each join, for
// each block of up to three vectors of its outputs, a row of them for each input.
struct Packed {
  const Cell* data = nullptr;
  int stretches, pixels, channels, outputs;
  Packed(int stretches, int pixels, int channels, int outputs, const Way* way)
      : stretches(stretches), pixels(pixels), channels(channels), outputs(outputs), way_(way) {}

  bool winograd() const { return kWinograd && stretches == 3; }
  // Rows of weights for a vector of outputs that reads so many inputs of a stretch.
  int rows(int reads) const { return winograd() ? kPlanes * reads / 3 : stretches * reads; }
  long size() const {
    long all = 0;
    each_join([&](const int*, int reads, const int*, int writes, int) {
      all += static_cast<long>(rows(reads)) * ((writes + kLanes - 1) / kLanes) * kLanes;
    });
    return all;
  }
  // body(reads, how many, writes, how many, column); reads are places in a stretch.
  template <class Body>
  void each_join(Body&& body) const {
    if (!way_) {
      static const Indices numbers = counted(3 * kMostOutputs);
      return body(numbers.data(), pixels * channels, numbers.data(), outputs, 0);
    }
    int column = 0;
    for (const Join& join : way_->joins) {
      body(join.reads.data(), static_cast<int>(join.reads.size()), join.writes.data(),
           static_cast<int>(join.writes.size()), column);
      column += join.vectors() * kLanes;
    }
  }
  // From columns to the outputs' order, in place; `count` rows of kMostOutputs.
  void put_in_order(float* sums, int count) const {
    if (!way_ || way_->in_order) return;
    float row[kMostOutputs];
    const int* columns = way_->columns.data();
    for (; count > 0; --count, sums += kMostOutputs) {
      for (int o = 0; o < outputs; ++o) row[o] = columns[o] < 0 ? 0.0f : sums[columns[o]];
      std::memcpy(sums, row, 4 * outputs);
    }
  }

 private:
  const Way* way_;  // null: all inputs reach all outputs
};

// A kernel's line, or column, of three in Winograd's form.
inline void winograd_weights(const float* g, int step, float* to, int to_step) {
  const float outer = 0.5f * (g[0] + g[2 * step]), middle = 0.5f * g[step];
  to[0] = g[0];
  to[to_step] = outer + middle;
  to[2 * to_step] = outer - middle;
  to[3 * to_step] = g[2 * step];
}

// value(stretch, input, output) is float32.
template <class Value>
inline void pack(const Packed& p, Cell* to, Value value) {
  p.each_join([&](const int* reads, int inputs, const int* writes, int outputs, int) {
    const int vectors = (outputs + kLanes - 1) / kLanes, rows = p.rows(inputs);
    for (int v = 0; v < vectors;) {
      const int n = vectors_of(vectors - v);
      for (int j = 0; j < n; ++j)
        for (int lane = 0; lane < kLanes; ++lane) {
          const int out = (v + j) * kLanes + lane;
          Cell* column = to + j * kLanes + lane;
          auto put = [&](int row, float weight) {
            store_first(column + static_cast<long>(row) * n * kLanes, weight);
          };
          if (out >= outputs) {
            for (int row = 0; row < rows; ++row) put(row, 0);
          } else if (!p.winograd()) {
            for (int s = 0; s < p.stretches; ++s)
              for (int k = 0; k < inputs; ++k) put(s * inputs + k, value(s, reads[k], writes[out]));
          } else {
            const int channels = inputs / 3;
            for (int k = 0; k < channels; ++k) {
              float g[9], lines[12], planes[16];
              for (int tap = 0; tap < 9; ++tap)
                g[tap] = value(tap / 3, reads[tap % 3 * channels + k], writes[out]);
              for (int x = 0; x < 3; ++x) winograd_weights(g + x, 3, lines + x, 3);
              for (int y = 0; y < 4; ++y) winograd_weights(lines + 3 * y, 1, planes + 4 * y, 1);
              for (int plane = 0; plane < kPlanes; ++plane)
                put(plane * channels + k, planes[plane]);
            }
          }
        }
      to += static_cast<long>(rows) * n * kLanes;
      v += n;
    }
  });
}

// M pixels, N vectors of outputs: sums[M][line]. rows: where the first pixel's inputs are, for each
// stretch; reads: which of them.
template <int M, int N>
inline void multiply_block(const Cell* const* rows, int stretches, long pitch, const int* reads,
                           int inputs, const Cell* weights, float* sums, int line) {
  Vec s[M][N] = {};
  for (int stretch = 0; stretch < stretches; ++stretch) {
    const Cell* row = rows[stretch];
#pragma GCC unroll 2
    for (int k = 0; k < inputs; ++k) {
      const Cell* x = row + reads[k];
      Vec b[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) b[n] = load(weights + n * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const Vec a = broadcast(value_of(x[m * pitch]));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) s[m][n] += a * b[n];
      }
      weights += N * kLanes;
    }
  }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) store(sums + m * line + n * kLanes, s[m][n]);
}

// sums[count][kMostOutputs] of all outputs.
inline void multiply(const Cell* const* rows, int count, const Packed& w, float* sums) {
  const Cell* weights = w.data;
  w.each_join([&](const int* reads, int inputs, const int*, int outputs, int column) {
    const int vectors = (outputs + kLanes - 1) / kLanes;
    for (int v = 0; v < vectors;) {
      const int n = vectors_of(vectors - v);
      with_constant<3>(n, [&](auto constant) {
        constexpr int N = constant.value;
        evenly<kMostBeside<N>>(count, [&](auto some, int at) {
          const Cell* from[3];
          for (int s = 0; s < w.stretches; ++s) from[s] = rows[s] + 1L * at * w.channels;
          multiply_block<some.value, N>(from, w.stretches, w.channels, reads, inputs, weights,
                                        sums + at * kMostOutputs + column + v * kLanes,
                                        kMostOutputs);
        });
      });
      weights += static_cast<long>(w.stretches) * inputs * n * kLanes;
      v += n;
    }
  });
  w.put_in_order(sums, count);
}

// Of a padded map, with a line and a pixel to spare, elements.
inline long padded_cells(Size size, int channels) {
  return (size.padded() + size.line() + 1) * channels;
}

// The map with a border of one zero pixel; `to` has had zeros in its border since it was made.
inline void pad(Size size, const Cell* x, int channels, Cell* to) {
  for (int y = 0; y < size.height; ++y)
    std::memcpy(to + ((y + 1L) * size.line() + 1) * channels, x + 1L * y * size.width * channels,
                sizeof(Cell) * size.width * channels);
}

// done(pixel, count, sums): `count` pixels from `pixel` on, `kMostOutputs` floats each.
template <class Done>
inline void pointwise(Size size, const Cell* x, const Packed& w, Done done) {
  alignas(64) float sums[kRows * kMostOutputs];
  for (int p = 0; p < size.pixels(); p += kRows) {
    const int count = size.pixels() - p < kRows ? size.pixels() - p : kRows;
    const Cell* row = x + static_cast<long>(p) * w.channels;
    multiply(&row, count, w, sums);
    done(p, count, sums);
  }
}

// 3x3 over a padded map; the weights' stretches are the kernel's lines, three pixels each.
template <class Done>
inline void convolve_directly(Size size, const Cell* padded, const Packed& w, Done done) {
  alignas(64) float sums[kRows * kMostOutputs];
  const long line = static_cast<long>(size.line()) * w.channels;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0, parts = (size.width + kRows - 1) / kRows; x < size.width; --parts) {
      const int count = (size.width - x + parts - 1) / parts;
      const Cell* rows[3];
      for (int dy = 0; dy < 3; ++dy) rows[dy] = padded + (y + dy) * line + x * w.channels;
      multiply(rows, count, w, sums);
      done(y * size.width + x, count, sums);
      x += count;
    }
}

}  // namespace vsr::training
