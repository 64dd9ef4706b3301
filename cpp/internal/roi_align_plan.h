// From RoIs to stencils: which map each RoI reads, in what order, and its weights per bin.
// Internal to the CPU kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "internal/channel_blocks.h"
#include "internal/roi_groups.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"
#include "roiops/roi_align.h"

namespace roiops {

constexpr int64_t kChunk = 64;  // RoIs whose stencils share memory
constexpr uint64_t kBand = 32;  // rows of cells that RoIs of one band lie in, from left to right

// The stencils of up to kChunk RoIs. Offsets instead of pointers while the vectors grow.
template <class Acc>
struct StencilChunk {
  struct Axis {
    int64_t ranges;     // first of this axis' bins in `ranges`
    int32_t low, high;  // cells it touches: [low, high]; empty if low > high
    int32_t even;       // see AxisStencil
  };
  std::vector<BinRange> ranges;
  std::vector<int32_t> cells;
  std::vector<Acc> weights, start_weights, end_weights;
  std::vector<SampleTaps<Acc>> samples;
  std::vector<Axis> axes;  // y, x of each RoI
  struct Merged {
    Acc weight, start, end;
    bool touched;
  };
  std::vector<Merged> merged;  // of the bin at hand
};

template <class Acc>
class Plan {
 public:
  Plan(const std::string& op, const RoiAlignArgs& args, int64_t bins_y, int64_t bins_x,
       bool gradients)
      : args_(args),
        bins_y_(bins_y),
        bins_x_(bins_x),
        gradients_(gradients),
        op_(op),
        groups_(op, args.rois, args.levels, args.inputs[0].shape[0],
                static_cast<int64_t>(args.inputs.size())) {
    dispatch_float(args.rois.dtype, [&](auto zero) {
      using T = decltype(zero);
      const int64_t rois = args.rois.shape[0];
      chunks_.resize((rois + kChunk - 1) / kChunk);
      parallel_for(chunks_.size(), args.execution.threads, [&] {
        return [&](int64_t c) {
          for (int64_t k = c * kChunk; k < std::min(rois, (c + 1) * kChunk); ++k)
            add_roi<T>(chunks_[c], k);
        };
      });
    });
    // RoIs that read or write the same cells follow each other: a block of a large map does not fit
    // the nearest caches, the surroundings of an object do.
    groups_.sort([&](int64_t k) {
      const Patch patch = this->patch(k, this->bins(0));
      const auto row = static_cast<uint64_t>(patch.top + patch.rows / 2),
                 col = static_cast<uint64_t>(patch.left + patch.cols / 2);
      return row / kBand << 32 | col;
    });
  }

  const RoiGroups& groups() const { return groups_; }

  // What is pooled from the same channels: all bins, or, position-sensitive, each bin by itself.
  int64_t parts() const { return args_.position_sensitive ? bins_y_ * bins_x_ : 1; }
  Patch bins(int64_t part) const {
    if (!args_.position_sensitive) return {0, 0, bins_y_, bins_x_};
    return {part / bins_x_, part % bins_x_, 1, 1};
  }
  // A map's channels that a part reads or writes.
  template <class T>
  Array channels(Array map, int64_t part) const {
    map.data = map.at<T>() + part * map.stride[1];
    map.shape[1] /= parts();
    map.stride[1] *= parts();
    return map;
  }

  RoiStencil<Acc> stencil(int64_t k, const Patch& bins) const {
    const StencilChunk<Acc>& chunk = chunks_[k / kChunk];
    const auto* axes = &chunk.axes[2 * (k % kChunk)];
    return {axis(chunk, axes[0], bins.top, bins.rows), axis(chunk, axes[1], bins.left, bins.cols)};
  }
  // The piece of the map that an RoI's bins read or write; no cells if none.
  Patch patch(int64_t k, const Patch& bins) const {
    const StencilChunk<Acc>& chunk = chunks_[k / kChunk];
    const auto* axes = &chunk.axes[2 * (k % kChunk)];
    if (args_.position_sensitive) {
      const BinRange& y = chunk.ranges[axes[0].ranges + bins.top];
      const BinRange& x = chunk.ranges[axes[1].ranges + bins.left];
      if (!y.count || !x.count) return {0, 0, 0, 0};
      const int32_t* rows = &chunk.cells[y.begin];
      const int32_t* cols = &chunk.cells[x.begin];
      return {rows[0], cols[0], rows[y.count - 1] - rows[0] + 1, cols[x.count - 1] - cols[0] + 1};
    }
    if (axes[0].low > axes[0].high || axes[1].low > axes[1].high) return {0, 0, 0, 0};
    return {axes[0].low, axes[1].low, axes[0].high - axes[0].low + 1,
            axes[1].high - axes[1].low + 1};
  }
  // An enormous bin has few samples: of the patch, a mean reads only these rows.
  bool reads_every_row(int64_t k, const Patch& bins) const {
    return rows_read(k, bins) == patch(k, bins).rows;
  }
  // Calls visit(row) once for each. Bins follow each other up or down the map, so those that were
  // visited before lie between two marks.
  template <class Visit>
  static void each_row(const AxisStencil<Acc>& y, Visit visit) {
    int32_t least = std::numeric_limits<int32_t>::max(), most = -1;
    for (int64_t p = 0; p < y.bins; ++p) {
      const int32_t* rows = y.cells + y.ranges[p].begin;
      const int32_t count = y.ranges[p].count;
      for (int32_t i = 0; i < count; ++i)
        if (rows[i] < least || rows[i] > most) visit(rows[i]);
      if (!count) continue;
      least = std::min(least, rows[0]);
      most = std::max(most, rows[count - 1]);
    }
  }
  // Cells that the RoIs of a group read, each RoI for itself.
  int64_t cells(const RoiGroup& group, const Patch& bins) const {
    double cells = 0;  // many RoIs may each be as large as the largest map
    for (int64_t i = 0; i < group.count; ++i)
      cells += static_cast<double>(rows_read(group.rois[i], bins)) *
               static_cast<double>(patch(group.rois[i], bins).cols);
    return static_cast<int64_t>(std::min(cells, 9e18));
  }

 private:
  int64_t rows_read(int64_t k, const Patch& bins) const {
    const Patch p = patch(k, bins);
    if (args_.max) return p.rows;
    const AxisStencil<Acc> y = stencil(k, bins).y;
    int64_t taps = 0;
    for (int64_t b = 0; b < y.bins; ++b) taps += y.ranges[b].count;
    return std::min(p.rows, taps);
  }
  static AxisStencil<Acc> axis(const StencilChunk<Acc>& chunk,
                               const typename StencilChunk<Acc>::Axis& a, int64_t first,
                               int64_t bins) {
    return {bins,
            chunk.ranges.data() + a.ranges + first,
            chunk.cells.data(),
            chunk.weights.data(),
            chunk.start_weights.data(),
            chunk.end_weights.data(),
            chunk.samples.data(),
            a.even};
  }

  template <class T>
  void add_roi(StencilChunk<Acc>& chunk, int64_t k) {
    const int64_t level = groups_.level(k);
    const Array& input = args_.inputs[level];
    const T scale = static_cast<T>(args_.spatial_scales[level]);
    const T roi[4] = {args_.rois.at<T>(k, 1), args_.rois.at<T>(k, 2), args_.rois.at<T>(k, 3),
                      args_.rois.at<T>(k, 4)};
    if (args_.placement == Placement::cells) {
      // Other ends that are not finite leave their axis empty, but a high end of -inf would not.
      add_cells(chunk, roi[1], std::isfinite(roi[3]) ? roi[3] : NAN, scale, bins_y_,
                input.shape[2]);
      add_cells(chunk, roi[0], std::isfinite(roi[2]) ? roi[2] : NAN, scale, bins_x_,
                input.shape[3]);
      return;
    }
    const RoiAxes<T> axes =
        make_axes(roi, scale, args_.placement, bins_y_, bins_x_, args_.sampling_ratio);
    // The mean's 1/n rides on the row weights. The maximum takes one sample: its weight is 1.
    add_axis(chunk, axes.y, bins_y_, input.shape[2], scale,
             static_cast<Acc>(args_.max ? 1.0 : axes.inverse));
    add_axis(chunk, axes.x, bins_x_, input.shape[3], scale, Acc(1));
    if (args_.max)
      check_samples(chunk, k);
    else
      even_out(chunk);
  }

  template <class T>
  void add_axis(StencilChunk<Acc>& chunk, const RoiAxis<T>& axis, int64_t bins, int64_t size,
                T scale, Acc factor) {
    typename StencilChunk<Acc>::Axis touched{static_cast<int64_t>(chunk.ranges.size()),
                                             std::numeric_limits<int32_t>::max(), -1, 0};
    for (int64_t p = 0; p < bins; ++p) {
      const SampleRange range = visited_samples(axis, p, size);
      int32_t low = std::numeric_limits<int32_t>::max(), high = -1;
      const int64_t begin = chunk.samples.size();
      // The maximum must know that samples were skipped: each of them is worth 0.
      const SampleTaps<Acc> outside{};
      if (args_.max && range.first > 0) chunk.samples.push_back(outside);
      for (int64_t m = 0; m < range.count; ++m) {
        const AxisSample<T> s =
            sample_axis(axis, p, range.first + static_cast<double>(m), bins, size);
        const EndSlopes<T> slopes = end_slopes(axis, s, scale);
        chunk.samples.push_back({s.low, s.high, static_cast<Acc>(s.weight_low),
                                 static_cast<Acc>(s.weight_high), static_cast<Acc>(slopes.start),
                                 static_cast<Acc>(slopes.end), s.valid});
        if (!s.valid) continue;
        low = std::min(low, s.low);
        high = std::max(high, s.high);
      }
      touched.low = std::min(touched.low, low);
      touched.high = std::max(touched.high, high);
      if (!args_.max) {
        merge_samples(chunk, begin, low, high, factor);
        continue;
      }
      if (range.first + static_cast<double>(range.count) < axis.grid)
        chunk.samples.push_back(outside);
      chunk.ranges.push_back({static_cast<int32_t>(chunk.samples.size() - begin), begin});
    }
    chunk.axes.push_back(touched);
  }

  // The maximum numbers a bin's samples with 31 bits, and rounds one axis up to a power of two.
  void check_samples(const StencilChunk<Acc>& chunk, int64_t k) const {
    const auto* axes = &chunk.axes[2 * (k % kChunk)];
    const auto most = [&](int64_t first, int64_t bins) {
      int64_t count = 0;
      for (int64_t p = 0; p < bins; ++p)
        count = std::max<int64_t>(count, chunk.ranges[first + p].count);
      return count;
    };
    const int64_t rows = most(axes[0].ranges, bins_y_), cols = most(axes[1].ranges, bins_x_);
    if (rows > 0 && cols > (int64_t{1} << 30) / rows)
      throw std::invalid_argument(message(op_, ": boxes[", k,
                                          "] must take at most 2^30 samples per bin ",
                                          "for reduction=\"max\"; got ", rows, " x ", cols));
  }

  // If no bin of the newest axis has many cells, or none, all of them get equally many: the weight
  // of a bin's last cell is shared out, by halves, which loses nothing but bits of subnormals.
  void even_out(StencilChunk<Acc>& chunk) {
    BinRange* ranges = &chunk.ranges[chunk.axes.back().ranges];
    int32_t least = kMostEven + 1, most = 0;
    for (int64_t p = 0; p < bins_x_; ++p) {
      least = std::min(least, ranges[p].count);
      most = std::max(most, ranges[p].count);
    }
    if (least == 0 || most > kMostEven) return;
    const int64_t first = ranges[0].begin, end = first + bins_x_ * most;
    chunk.cells.resize(end);
    chunk.weights.resize(end);
    if (gradients_) {
      chunk.start_weights.resize(end);
      chunk.end_weights.resize(end);
    }
    for (int64_t p = bins_x_ - 1; p >= 0; --p) {  // from the end: they move up
      const BinRange old = ranges[p];
      ranges[p] = {most, first + p * most};
      spread_out(chunk.weights, old, ranges[p]);
      if (gradients_) {
        spread_out(chunk.start_weights, old, ranges[p]);
        spread_out(chunk.end_weights, old, ranges[p]);
      }
      for (int32_t i = most - 1; i >= 0; --i)
        chunk.cells[ranges[p].begin + i] = chunk.cells[old.begin + std::min(i, old.count - 1)];
    }
    chunk.axes.back().even = most;
  }
  static void spread_out(std::vector<Acc>& weights, BinRange from, BinRange to) {
    Acc last = weights[from.begin + from.count - 1];
    for (int32_t i = to.count - 1; i >= from.count; --i) weights[to.begin + i] = last /= 2;
    weights[to.begin + from.count - 1] = last;
    for (int32_t i = from.count - 2; i >= 0; --i) weights[to.begin + i] = weights[from.begin + i];
  }

  // The mean over whole cells: they share the weight.
  template <class T>
  void add_cells(StencilChunk<Acc>& chunk, T low, T high, T scale, int64_t bins, int64_t size) {
    chunk.axes.push_back({static_cast<int64_t>(chunk.ranges.size()), 0, -1, 0});
    for (int64_t p = 0; p < bins; ++p) {
      int32_t begin, end;
      pool_cells(low, high, scale, false, p, bins, size, &begin, &end);
      const int32_t cells = end - begin;
      const int64_t at = chunk.weights.size();
      chunk.ranges.push_back({cells, at});
      chunk.weights.resize(at + cells, Acc(1) / static_cast<Acc>(std::max(cells, 1)));
      for (int32_t cell = begin; cell < end; ++cell) chunk.cells.push_back(cell);
    }
  }

  // Adds up a bin's samples to one weight per cell, and forgets them. A cell to which none gives a
  // weight is left out: whatever it holds, also NaN, is not read.
  void merge_samples(StencilChunk<Acc>& chunk, int64_t begin, int32_t low, int32_t high,
                     Acc factor) {
    auto& merged = chunk.merged;
    merged.assign(high < low ? 0 : high - low + 1, {});
    for (size_t i = begin; i < chunk.samples.size(); ++i) {
      const SampleTaps<Acc>& s = chunk.samples[i];
      if (!s.valid) continue;
      const bool sloped = gradients_ && (s.slope_start != 0 || s.slope_end != 0);
      auto& a = merged[s.low - low];
      a.weight += factor * s.weight_low;
      a.start -= factor * s.slope_start;
      a.end -= factor * s.slope_end;
      a.touched |= s.weight_low != 0 || sloped;
      auto& b = merged[s.high - low];
      b.weight += factor * s.weight_high;
      b.start += factor * s.slope_start;
      b.end += factor * s.slope_end;
      b.touched |= s.weight_high != 0 || sloped;
    }
    chunk.samples.resize(begin);
    const int64_t at = chunk.weights.size();
    for (size_t i = 0; i < merged.size(); ++i) {
      if (!merged[i].touched) continue;
      chunk.cells.push_back(low + static_cast<int32_t>(i));
      chunk.weights.push_back(merged[i].weight);
      if (!gradients_) continue;
      chunk.start_weights.push_back(merged[i].start);
      chunk.end_weights.push_back(merged[i].end);
    }
    chunk.ranges.push_back({static_cast<int32_t>(chunk.weights.size() - at), at});
  }

  const RoiAlignArgs& args_;
  const int64_t bins_y_, bins_x_;
  const bool gradients_;
  const std::string op_;
  RoiGroups groups_;
  std::vector<StencilChunk<Acc>> chunks_;
};

}  // namespace roiops
