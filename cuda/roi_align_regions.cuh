// The RoIs of RoIAlign and its kin inside a kernel, and the taps of a tile of their bins: which
// cells each bin reads along an axis, and with what weight. The rule is that of roiops/geometry.h.
#pragma once

#include "bin_tiles.cuh"
#include "compat.cuh"
#include "internal/roi_indices.h"
#include "maps.cuh"
#include "roiops/geometry.h"
#include "roiops/roi_align.h"

namespace roiops::cuda {

constexpr int kTaps =
    320;  // of an axis in a tile, in shared memory; more are found again each time

// All RoIs, C being the type of their coordinates.
template <class C>
struct Regions {
  const C* rois;
  int64_t roi_stride, side_stride;
  const int64_t* levels;  // null: a single map
  int64_t level_stride;
  int64_t images, count;
  int level_count;
  Placement placement;
  bool position_sensitive;
  int64_t sampling_ratio, bins_y, bins_x;
  double scale[kMaxLevels];

  // Of output channel c and a bin: the channel of the map that it reads.
  __device__ int64_t channel(int64_t c, int64_t y, int64_t x) const {
    return position_sensitive ? (c * bins_y + y) * bins_x + x : c;
  }
};

// One of them: its map, its samples along both axes.
template <class C>
struct Region {
  bool usable;  // its image and level exist; others are worth 0
  int level;
  int64_t image;
  C side[4], scale;
  RoiAxes<C> axes;
};

template <class C>
__device__ Region<C> region_at(const Regions<C>& all, int64_t k) {
  Region<C> r;
  const C* roi = all.rois + k * all.roi_stride;
  const C index = roi[0];
  const int64_t level = all.levels ? all.levels[k * all.level_stride] : 0;
  r.usable = is_image(index, all.images) && is_level(level, all.level_count);
  r.level = r.usable ? static_cast<int>(level) : 0;
  r.image = r.usable ? static_cast<int64_t>(index) : 0;
  for (int s = 0; s < 4; ++s) r.side[s] = roi[(1 + s) * all.side_stride];
  r.scale = static_cast<C>(all.scale[r.level]);
  r.axes = make_axes(r.side, r.scale, all.placement, all.bins_y, all.bins_x, all.sampling_ratio);
  return r;
}

// A cell that a bin reads: its weight, and the weight's derivative by the RoI's low and high end.
template <class Acc>
struct Tap {
  int32_t cell;
  Acc weight, start, end;
};

// One axis of a region.
template <class C, class Acc>
struct TapAxis {
  RoiAxis<C> axis;
  C low, high, scale;
  Acc factor;  // on every weight
  int64_t bins, size;
  bool cells;      // Placement::cells
  bool gradients;  // whether slopes are asked for

  // Calls visit(Tap) for the taps of bin p, ascending (descending where an aligned RoI is
  // inverted); a cell comes once for each sample beside it. None has neither weight nor slope: what
  // such a cell holds, also NaN, is not read.
  template <class Visit>
  __device__ void each_part(int64_t p, const Visit& visit) const {
    if (cells) {
      int32_t begin, end;
      pool_cells(low, high, scale, false, p, bins, size, &begin, &end);
      const Acc weight = Acc(1) / static_cast<Acc>(end > begin ? end - begin : 1);
      for (int32_t cell = begin; cell < end; ++cell) visit(Tap<Acc>{cell, weight, Acc(0), Acc(0)});
      return;
    }
    const SampleRange range = visited_samples(axis, p, size);
    for (int64_t m = 0; m < range.count; ++m) {
      const AxisSample<C> s =
          sample_axis(axis, p, range.first + static_cast<double>(m), bins, size);
      if (!s.valid) continue;
      const EndSlopes<C> slopes = gradients ? end_slopes(axis, s, scale) : EndSlopes<C>{C(0), C(0)};
      const Acc start = factor * static_cast<Acc>(slopes.start),
                end = factor * static_cast<Acc>(slopes.end);
      const bool sloped = start != Acc(0) || end != Acc(0);
      if (s.weight_low != C(0) || sloped)
        visit(Tap<Acc>{s.low, factor * static_cast<Acc>(s.weight_low), -start, -end});
      if (s.weight_high != C(0) || sloped)
        visit(Tap<Acc>{s.high, factor * static_cast<Acc>(s.weight_high), start, end});
    }
  }

  // The same, samples added up: one tap per cell. They ascend and have two neighbouring cells each,
  // so only the two newest taps can still grow. (Where they descend, a cell comes twice.)
  template <class Visit>
  __device__ void each_tap(int64_t p, const Visit& visit) const {
    Tap<Acc> older{-1, 0, 0, 0}, newer{-1, 0, 0, 0};
    const auto add = [](Tap<Acc>& to, const Tap<Acc>& part) {
      to.weight += part.weight;
      to.start += part.start;
      to.end += part.end;
    };
    each_part(p, [&](const Tap<Acc>& part) {
      if (part.cell == newer.cell) {
        add(newer, part);
      } else if (part.cell == older.cell) {
        add(older, part);
      } else {
        if (older.cell >= 0) visit(older);
        older = newer;
        newer = part;
      }
    });
    if (older.cell >= 0) visit(older);
    if (newer.cell >= 0) visit(newer);
  }
};

template <class Acc, class C>
__device__ TapAxis<C, Acc> tap_axis(const Regions<C>& all, const Region<C>& r, bool along_x,
                                    int64_t size, bool gradients) {
  const bool cells = all.placement == Placement::cells;
  // Other ends that are not finite leave their axis empty, but a high end of -inf would not.
  const C high = r.side[along_x ? 2 : 3];
  return {along_x ? r.axes.x : r.axes.y,
          r.side[along_x ? 0 : 1],
          std::isfinite(high) ? high : static_cast<C>(NAN),
          r.scale,
          along_x || cells ? Acc(1) : static_cast<Acc>(r.axes.inverse),
          along_x ? all.bins_x : all.bins_y,
          size,
          cells,
          gradients};
}

// The taps of the bins [first, first + kBins) of both axes, found once for all channels, in shared
// memory: y in front, then x.
template <class Acc>
struct TapTable {
  Tap<Acc>* taps;  // 2 * kTaps
  int32_t* begin;  // 2 * (kBins + 1): of each bin; the last one more than kTaps: no table
  int64_t first[2];

  // All threads of the block call, and may read the table after it.
  template <class C>
  __device__ void find(const TapAxis<C, Acc>& y, const TapAxis<C, Acc>& x, int64_t first_y,
                       int64_t first_x) {
    first[0] = first_y;
    first[1] = first_x;
    __syncthreads();  // nobody reads the table before any more
    const int warp = threadIdx.x / 32;
    if (warp < 2) fill(warp == 0 ? y : x, warp);
    __syncthreads();
  }

  template <class C, class Visit>
  __device__ void each(const TapAxis<C, Acc>& axis, int which, int64_t p,
                       const Visit& visit) const {
    const int32_t* of = begin + which * (kBins + 1);
    if (of[kBins] > kTaps) {
      axis.each_tap(p, visit);
      return;
    }
    const int64_t bin = p - first[which];
    const int32_t end = of[bin + 1];
    for (int32_t i = of[bin]; i < end; ++i) visit(taps[which * kTaps + i]);
  }

 private:
  template <class C>
  __device__ void fill(const TapAxis<C, Acc>& axis, int which) {
    constexpr unsigned kAll = 0xffffffffu;
    const int lane = threadIdx.x % 32;
    const int64_t p = first[which] + lane;
    int32_t count = 0;
    if (p < axis.bins) axis.each_tap(p, [&](const Tap<Acc>&) { count += count <= kTaps; });
    int32_t end = count;
    for (int step = 1; step < 32; step *= 2) {
      const int32_t before = __shfl_up_sync(kAll, end, step);
      if (lane >= step) end += before;
    }
    int32_t* of = begin + which * (kBins + 1);
    if (lane == 0) of[0] = 0;
    of[lane + 1] = end;
    const int32_t total = __shfl_sync(kAll, end, 31);
    if (total > kTaps || p >= axis.bins) return;
    Tap<Acc>* to = taps + which * kTaps + end - count;
    axis.each_tap(p, [&](const Tap<Acc>& tap) { *to++ = tap; });
  }
};

}  // namespace roiops::cuda
