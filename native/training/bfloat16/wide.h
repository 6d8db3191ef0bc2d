// The wide path's pixel-by-pixel products, expand and reduce, sixteen pixels at a time from one to
// the other: what lies between them stays in the first-level cache.
#pragma once

#include "../maps.h"
#include "../packed.h"

namespace vsr::training {

// reduced: of relu(x * expand + bias); extra: the other outputs of `expand`, if there are any.
inline void wide_products(const ProductRoom&, Size size, const bf16* x, const Wide& w,
                          const PackedWide& p, bf16* reduced, bf16* extra) {
  alignas(64) float sums[kRows * kMostOutputs];
  alignas(64) bf16 lines[kRows * kMostOutputs], hidden[kRows * kMostOutputs] = {};
  const int pitch = slots(w.wide);
  for (int at = 0; at < size.pixels(); at += kRows) {
    put_lines(x + 1L * at * w.inputs, w.inputs, lines);
    multiply(lines, p.expand.forward, sums);
    over_channels(w.wide, [&](int c, Mask mask) {
      const Vec bias = load(w.expand_bias + c, mask);
      for (int r = 0; r < kRows; ++r)
        store(hidden + r * pitch + c, maximum(load(sums + r * kMostOutputs + c) + bias, Vec{}),
              mask);
    });
    if (w.extra) put_rows(at, kRows, sums, w.wide, w.extra, nullptr, extra);
    multiply(hidden, p.reduce.forward, sums);
    put_rows(at, kRows, sums, 0, w.reduced, w.reduce_bias, reduced);
  }
}

// Adds the gradients of both products' weights and of the first one's bias to d, and the input's to
// dx. narrow: the gradient of what wide_products gives; extra: of its extra outputs.
inline void wide_products_backward(const ProductRoom& room, Size size, const bf16* x,
                                   const Wide& w, const Wide& d, const PackedWide& p,
                                   const bf16* narrow, const bf16* extra, float* dx,
                                   const Joins*) {
  alignas(64) float sums[kRows * kMostOutputs], back[kRows * kMostOutputs];
  alignas(64) bf16 lines[kRows * kMostOutputs], gradient[kRows * kMostOutputs] = {};
  alignas(64) float bias_sums[kMostOutputs] = {};
  const int blocks = blocks_of(w.wide), all_outputs = w.wide + w.extra, pitch = slots(all_outputs);
  const long pairs = size.pixels() / 2;
  end_right(pairs, blocks, room.wide);
  end_right(pairs, blocks, room.wide_gradient);
  const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
  for (int at = 0; at < size.pixels(); at += kRows) {
    put_lines(x + 1L * at * w.inputs, w.inputs, lines);
    const bf16* from = lines;
    multiply(&from, slots(w.inputs), p.expand.forward, blocks, sums);
    put_lines(narrow + 1L * at * w.reduced, w.reduced, lines);
    multiply(lines, p.reduce.backward, back);
    for (int t = 0; t < blocks; ++t) {
      const Mask mask = first(w.wide - 16 * t);
      const Vec bias = load(w.expand_bias + 16 * t, mask);
      __m512 sum = load(bias_sums + 16 * t);
      const float *forth = sums + 16 * t, *over = back + 16 * t;
      bf16 *row = gradient + 16 * t, *hidden = room.wide + (at / 2L * blocks + t) * 32;
      bf16* pair = room.wide_gradient + (at / 2L * blocks + t) * 32;
      for (int r = 0; r < kRows; r += 2) {
        const Vec a = load(forth) + bias, b = load(forth + kMostOutputs) + bias;
        const Mask on_a = _mm512_cmp_ps_mask(a, Vec{}, _CMP_GT_OQ);
        const Mask on_b = _mm512_cmp_ps_mask(b, Vec{}, _CMP_GT_OQ);
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_mov_ps(on_b, b),
                                                          _mm512_maskz_mov_ps(on_a, a));
        _mm512_store_si512(hidden, interleave(both));
        const __m512i g = (__m512i)_mm512_cvtne2ps_pbh(
            _mm512_maskz_loadu_ps(on_b, over + kMostOutputs), _mm512_maskz_loadu_ps(on_a, over));
        _mm256_mask_storeu_epi16(row, mask, _mm512_castsi512_si256(g));
        _mm256_mask_storeu_epi16(row + pitch, mask, _mm512_extracti64x4_epi64(g, 1));
        const __m512i pair_of_g = interleave(g);
        _mm512_store_si512(pair, pair_of_g);
        sum = _mm512_dpbf16_ps(sum, (__m512bh)pair_of_g, ones);
        forth += 2 * kMostOutputs;
        over += 2 * kMostOutputs;
        row += 2 * pitch;
        hidden += 32L * blocks;
        pair += 32L * blocks;
      }
      store(bias_sums + 16 * t, sum);
    }
    if (w.extra)
      for (int r = 0; r < kRows; ++r)
        std::memcpy(gradient + r * pitch + w.wide, extra + (1L * at + r) * w.extra,
                    sizeof(bf16) * w.extra);
    multiply(gradient, p.expand.backward, sums);
    put_floats<true>(at, kRows, sums, w.inputs, dx);
  }
  over_channels(w.wide, [&](int c, Mask mask) {
    store(d.expand_bias + c, load(d.expand_bias + c, mask) + load(bias_sums + c), mask);
  });
  put_left(size, narrow, w.reduced, room.left);
  pixel_products(room, size, w.reduced, room.wide, w.wide,
                 [&](int column, int m, const float* tile) {
                   add_transposed(tile, w.wide - 16 * column, w.reduced - 16 * m,
                                  d.reduce + 16L * column * w.reduced + 16 * m, w.reduced);
                 });
  put_left(size, x, w.inputs, room.left);
  auto add_from = [&](int begin, int count) {
    return [&d, &w, all_outputs, begin, count](int column, int m, const float* tile) {
      add_tile(tile, w.inputs - 16 * m, count - 16 * column,
               d.expand + 16L * m * all_outputs + begin + 16 * column, all_outputs);
    };
  };
  pixel_products(room, size, w.inputs, room.wide_gradient, w.wide,
                 add_from(0, w.wide));
  if (w.extra) {
    put_right(size, extra, w.extra, room.extra_gradient);
    pixel_products(room, size, w.inputs, room.extra_gradient, w.extra,
                   add_from(w.wide, w.extra));
  }
}

}  // namespace vsr::training
