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

constexpr int kTaps = 320;  // of an axis in a tile of bins, in shared memory

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

// One of them: its map, its samples along both axes. One whose image or level does not exist is as
// one that is not finite: it has no samples.
template <class C>
struct Region {
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
  const bool there = is_image(index, all.images) && is_level(level, all.level_count);
  r.level = there ? static_cast<int>(level) : 0;
  r.image = there ? static_cast<int64_t>(index) : 0;
  for (int s = 0; s < 4; ++s)
    r.side[s] = there ? roi[(1 + s) * all.side_stride] : static_cast<C>(NAN);
  r.scale = static_cast<C>(all.scale[r.level]);
  r.axes = make_axes(r.side, r.scale, all.placement, all.bins_y, all.bins_x, all.sampling_ratio);
  return r;
}

// How many taps a tile of bins of `bin` cells can have: so many that every kernel answers alike.
ROIOPS_HD inline double most_taps(int64_t bins, double bin, double grid, int64_t size,
                                  bool descending) {
  const double in_tile = bins < kBins ? static_cast<double>(bins) : kBins;
  // Neighbouring bins share cells; where samples descend, a cell comes twice.
  const double cells = std::fmin(in_tile * (bin + 4), static_cast<double>(size) + 3 * in_tile);
  return std::fmin(descending ? 2 * cells : cells, 2 * in_tile * grid);
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

  // Whether the taps of any tile of bins fit into a table.
  __device__ bool fits() const {
    return most_taps(bins, std::fabs(static_cast<double>(axis.bin)),
                     cells ? INFINITY : static_cast<double>(axis.grid), size,
                     axis.bin < C(0)) <= kTaps;
  }

  // Calls visit(Tap) for the taps of bin p, ascending (descending where an aligned RoI is
  // inverted); a cell comes once for each sample beside it. None has neither weight nor slope: what
  // such a cell holds, also NaN, is not read. Cells outside [begin, end) may be left out.
  template <class Visit>
  __device__ void each_part(int64_t p, int64_t begin, int64_t end, const Visit& visit) const {
    if (cells) {
      int32_t from, to;
      pool_cells(low, high, scale, false, p, bins, size, &from, &to);
      const Acc weight = Acc(1) / static_cast<Acc>(to > from ? to - from : 1);
      from = from < begin ? static_cast<int32_t>(begin) : from;
      to = to > end ? static_cast<int32_t>(end) : to;
      for (int32_t cell = from; cell < to; ++cell) visit(Tap<Acc>{cell, weight, Acc(0), Acc(0)});
      return;
    }
    // Coordinates are rounded: by a part in a million at most.
    const double rounding = 1e-6 * (std::fabs(static_cast<double>(axis.start)) +
                                    std::fabs(static_cast<double>(axis.length)));
    const int64_t margin =
        1 + (rounding < static_cast<double>(size) ? static_cast<int64_t>(rounding) : size);
    const SampleRange range = visited_samples(axis, p, begin > margin ? begin - margin : 0,
                                              end + margin < size ? end + margin : size);
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
    each_tap(p, 0, size, visit);
  }
  template <class Visit>
  __device__ void each_tap(int64_t p, int64_t begin, int64_t end, const Visit& visit) const {
    Tap<Acc> older{-1, 0, 0, 0}, newer{-1, 0, 0, 0};
    const auto add = [](Tap<Acc>& to, const Tap<Acc>& part) {
      to.weight += part.weight;
      to.start += part.start;
      to.end += part.end;
    };
    each_part(p, begin, end, [&](const Tap<Acc>& part) {
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

// Which of the two, value by value: a reference to one of them would keep both in memory.
template <class T>
__device__ RoiAxis<T> choose_axis(bool second, const RoiAxis<T>& a, const RoiAxis<T>& b) {
  return {second ? b.start : a.start,
          second ? b.length : a.length,
          second ? b.bin : a.bin,
          second ? b.grid : a.grid,
          second ? b.clamped : a.clamped,
          second ? b.inset : a.inset,
          second ? b.low_limit : a.low_limit,
          second ? b.high_margin : a.high_margin};
}

template <class Acc, class C>
__device__ TapAxis<C, Acc> tap_axis(const Regions<C>& all, const Region<C>& r, bool along_x,
                                    int64_t height, int64_t width, bool gradients) {
  const bool cells = all.placement == Placement::cells;
  // Other ends that are not finite leave their axis empty, but a high end of -inf would not.
  const C high = along_x ? r.side[2] : r.side[3];
  return {choose_axis(along_x, r.axes.y, r.axes.x),
          along_x ? r.side[0] : r.side[1],
          std::isfinite(high) ? high : static_cast<C>(NAN),
          r.scale,
          along_x || cells ? Acc(1) : static_cast<Acc>(r.axes.inverse),
          along_x ? all.bins_x : all.bins_y,
          along_x ? width : height,
          cells,
          gradients};
}

// The taps of the bins [first, first + kBins) of both axes, found once for all channels, in shared
// memory: y in front, then x. Both axes must fit.
template <class Acc>
struct TapTable {
  Tap<Acc>* taps;  // 2 * kTaps
  int32_t* begin;  // 2 * (kBins + 1): of each bin
  int64_t first[2];

  // All threads of the block call, and may read the table after it. axis_of(along_x): a TapAxis.
  template <class AxisOf>
  __device__ void find(const AxisOf& axis_of, int64_t first_y, int64_t first_x) {
    first[0] = first_y;
    first[1] = first_x;
    __syncthreads();  // nobody reads the table before any more
    const int warp = threadIdx.x / 32;
    if (warp < 2) fill(axis_of(warp == 1), warp, warp == 0 ? first_y : first_x);
    __syncthreads();
  }

  template <class Visit>
  __device__ void each_y(int64_t p, const Visit& visit) const {
    each(0, p - first[0], visit);
  }
  template <class Visit>
  __device__ void each_x(int64_t p, const Visit& visit) const {
    each(1, p - first[1], visit);
  }

 private:
  template <class Visit>
  __device__ void each(int which, int64_t bin, const Visit& visit) const {
    const int32_t* of = begin + which * (kBins + 1) + bin;
    const int32_t end = of[1];
    for (int32_t i = of[0]; i < end; ++i) visit(taps[which * kTaps + i]);
  }
  template <class C>
  __device__ void fill(const TapAxis<C, Acc>& axis, int which, int64_t first_bin) {
    constexpr unsigned kAll = 0xffffffffu;
    const int lane = threadIdx.x % 32;
    const int64_t p = first_bin + lane;
    int32_t count = 0;
    if (p < axis.bins) axis.each_tap(p, [&](const Tap<Acc>&) { ++count; });
    int32_t end = count;
    for (int step = 1; step < 32; step *= 2) {
      const int32_t before = __shfl_up_sync(kAll, end, step);
      if (lane >= step) end += before;
    }
    int32_t* of = begin + which * (kBins + 1);
    if (lane == 0) of[0] = 0;
    of[lane + 1] = end;
    if (p >= axis.bins) return;
    Tap<Acc>* to = taps + which * kTaps + end - count;
    axis.each_tap(p, [&](const Tap<Acc>& tap) { *to++ = tap; });
  }
};

// The same without a table, for axes that do not fit: taps are found again at every visit.
template <class C, class Acc>
struct TapSearch {
  const TapAxis<C, Acc>&y, &x;

  template <class Visit>
  __device__ void each_y(int64_t p, const Visit& visit) const {
    y.each_tap(p, visit);
  }
  template <class Visit>
  __device__ void each_x(int64_t p, const Visit& visit) const {
    x.each_tap(p, visit);
  }
};

// Calls visit(tile, taps) for the tiles of all bins, `taps` being where they read: in a table,
// which lies in `taps` and `begin`, or by search.
template <bool tabled, class C, class Acc, class AxisOf, class Visit>
__device__ void each_tile_with_taps(const Regions<C>& all, bool channels_last,
                                    const AxisOf& axis_of, Tap<Acc>* taps, int32_t* begin,
                                    const Visit& visit) {
  const auto y = axis_of(false), x = axis_of(true);
  each_tile(all.bins_y, all.bins_x, channels_last, [&](const Tile& tile) {
    if constexpr (tabled) {
      TapTable<Acc> table{taps, begin, {0, 0}};
      table.find(axis_of, tile.top, tile.left);
      visit(tile, table);
    } else {
      visit(tile, TapSearch<C, Acc>{y, x});
    }
  });
}

}  // namespace roiops::cuda
