// RoIAlign's maximum: the samples of a bin one by one, and the winner's place, by which its
// gradients go.
#pragma once

#include "bin_tiles.cuh"
#include "compat.cuh"
#include "maps.cuh"
#include "roi_align_regions.cuh"
#include "roi_sides.cuh"
#include "roiops/geometry.h"

namespace roiops::cuda {

// Where the maximum of a bin lies, for each output; y < 0: nowhere on the map.
template <class C>
struct Winner {
  int32_t y, x;      // the low taps
  C high_y, high_x;  // the weights of the high ones
};

// The part of a winner's gradient that cell (y, x) gets.
template <class Acc, class C>
__device__ Acc winners_weight(const Winner<C>& w, int64_t y, int64_t x) {
  if (w.y < 0) return Acc(0);
  const C along_y = y == w.y ? C(1) - w.high_y : y == w.y + 1 ? w.high_y : C(0);
  const C along_x = x == w.x ? C(1) - w.high_x : x == w.x + 1 ? w.high_x : C(0);
  return static_cast<Acc>(along_y) * static_cast<Acc>(along_x);
}

// A sample of a bin: one axis' part of it.
template <class C>
struct Sample {
  AxisSample<C> y, x;
};

// What a sample is worth in a channel, in the order of roi_align_max.isa.cpp and as there without
// contraction: the same one must win.
template <class Acc, class C, class T>
__device__ Acc interpolate(const Maps<const T>& map, const T* from, const AxisSample<C>& y,
                           const AxisSample<C>& x) {
  if (!y.valid || !x.valid) return Acc(0);
  const T *low = from + y.low * map.row, *high = from + y.high * map.row;
  const Acc yl = static_cast<Acc>(y.weight_low), yh = static_cast<Acc>(y.weight_high),
            xl = static_cast<Acc>(x.weight_low), xh = static_cast<Acc>(x.weight_high);
  Acc sum = yl * xl * read(low[x.low * map.cell]);
  sum += yl * xh * read(low[x.high * map.cell]);
  sum += yh * xl * read(high[x.low * map.cell]);
  sum += yh * xh * read(high[x.high * map.cell]);
  return sum;
}

// Calls visit(sample) for the samples of bin p along an axis; one that is not valid stands for all
// that are skipped before, or after.
template <class C, class Visit>
__device__ void each_sample(const RoiAxis<C>& axis, int64_t p, int64_t bins, int64_t size,
                            const Visit& visit) {
  const SampleRange range = visited_samples(axis, p, size);
  const AxisSample<C> outside{};
  if (range.first > 0) visit(outside);
  for (int64_t m = 0; m < range.count; ++m)
    visit(sample_axis(axis, p, range.first + static_cast<double>(m), bins, size));
  if (range.first + static_cast<double>(range.count) < static_cast<double>(axis.grid))
    visit(outside);
}

// The first of the greatest samples of a bin, or its first NaN. Without samples: not valid, 0.
template <class Acc, class C, class T>
__device__ Sample<C> best_sample(const Regions<C>& all, const Region<C>& region,
                                 const Maps<const T>& map, int64_t c, const Item& at, Acc* value) {
  const T* from = &map.at(region.image, c, 0, 0);
  Sample<C> best{};
  Acc most = 0;
  bool any = false;
  each_sample(region.axes.y, at.y, all.bins_y, map.height, [&](const AxisSample<C>& y) {
    each_sample(region.axes.x, at.x, all.bins_x, map.width, [&](const AxisSample<C>& x) {
      const Acc v = interpolate<Acc>(map, from, y, x);
      if (any && !(v > most || (v != v && most == most))) return;
      any = true;
      most = v;
      best = {y, x};
    });
  });
  *value = most;
  return best;
}

// values: null levels but for the derivative in their direction. winners: null, or where to note
// them; then there is no output.
template <class T, class Acc, class C>
__global__ void max_forward(Regions<C> all, Pyramid<const T> maps, Pyramid<const T> values,
                            Maps<T> output, int64_t channels, int64_t chunk, Winner<C>* winners) {
  const int64_t k = blockIdx.x, first = blockIdx.y * chunk;
  const int64_t count = channels - first < chunk ? channels - first : chunk;
  const Region<C> region = region_at(all, k);
  const Maps<const T> map = maps.level[region.level], other = values.level[region.level];
  each_tile(all.bins_y, all.bins_x, output.channel == 1, [&](const Tile& tile) {
    for (int64_t i = threadIdx.x; i < tile.items(count); i += kThreads) {
      const Item at = tile.item(i, count);
      const int64_t c = first + at.channel;
      Acc value;
      const Sample<C> best = best_sample(all, region, map, c, at, &value);
      if (winners) {
        const bool inside = best.y.valid && best.x.valid;
        winners[((k * channels + c) * all.bins_y + at.y) * all.bins_x + at.x] = {
            inside ? best.y.low : -1, best.x.low, best.y.weight_high, best.x.weight_high};
        continue;
      }
      if (other.data)
        value = interpolate<Acc>(other, &other.at(region.image, c, 0, 0), best.y, best.x);
      write(output.at(k, c, at.y, at.x), value);
    }
  });
}

template <class T, class Acc, class C>
__global__ void max_grad_rois(Regions<C> all, Pyramid<const T> maps, Maps<const T> grad_output,
                              int64_t channels, C* grad_rois, int64_t roi_stride,
                              int64_t side_stride) {
  ROIOPS_SHARED(Acc, shared, 4 * kThreads);
  const int64_t k = blockIdx.x;
  const Region<C> region = region_at(all, k);
  const Maps<const T> map = maps.level[region.level];
  Sides<Acc> sums;
  each_tile(all.bins_y, all.bins_x, false, [&](const Tile& tile) {
    for (int64_t i = threadIdx.x; i < tile.items(channels); i += kThreads) {
      const Item at = tile.item(i, channels);
      Acc value;
      const Sample<C> best = best_sample(all, region, map, at.channel, at, &value);
      if (!best.y.valid || !best.x.valid) continue;
      const T* from = &map.at(region.image, at.channel, 0, 0);
      const T *low = from + best.y.low * map.row, *high = from + best.y.high * map.row;
      const Acc v1 = read(low[best.x.low * map.cell]), v2 = read(low[best.x.high * map.cell]),
                v3 = read(high[best.x.low * map.cell]), v4 = read(high[best.x.high * map.cell]);
      const Acc by_x = static_cast<Acc>(best.y.weight_low) * (v2 - v1) +
                       static_cast<Acc>(best.y.weight_high) * (v4 - v3);
      const Acc by_y = static_cast<Acc>(best.x.weight_low) * (v3 - v1) +
                       static_cast<Acc>(best.x.weight_high) * (v4 - v2);
      const EndSlopes<C> y = end_slopes(region.axes.y, best.y, region.scale),
                         x = end_slopes(region.axes.x, best.x, region.scale);
      sums.add(read(grad_output.at(k, at.channel, at.y, at.x)), by_x * static_cast<Acc>(x.start),
               by_y * static_cast<Acc>(y.start), by_x * static_cast<Acc>(x.end),
               by_y * static_cast<Acc>(y.end));
    }
  });
  sums.add_up(shared);
  store_sides(grad_rois + k * roi_stride, side_stride, sums);
}

}  // namespace roiops::cuda
