// The geometry every backend shares: THE sampling rule of RoIAlign, and the overlap of two boxes.
//
// Included only by files compiled without floating-point contraction: a fused multiply-add would
// move sample coordinates and flip IoU decisions between machines. Every function has internal
// linkage, so that a *.isa.cpp file may use it too.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "roiops/config.h"

namespace roiops {

constexpr int kMaxSamplingRatio = 4096;

// Cells along one side of a map: up to here a float32 coordinate inside it fits an int32.
constexpr int64_t kMaxMapSide = int64_t{1} << 30;

// The policy in which RoIAlign, RoIWarp and the position-sensitive poolings differ.
enum class Placement {
  align,    // RoIAlign, cell i centred at coordinate i; RoIs smaller than a cell are widened to it
  aligned,  // RoIAlign, and position-sensitive RoIAlign, cell i centred at i + 0.5
  warp,  // RoIWarp as the Mask R-CNN paper describes it: ends rounded as in RoIPool, then as align
  warp_mnc,  // RoIWarp as the MNC layer does it: ends rounded, one sample at each bin's corner
  cells,     // position-sensitive RoIPool: no samples, the whole cells of `pool_cells`
};

// One axis of one RoI: `bins` output cells, each with `grid` samples, along a map of `size` cells.
// Coordinates are in feature cells, cell i being centred at i. T is the boxes' own type.
template <class T>
struct RoiAxis {
  T start;                   // scaled low end of the RoI (half a cell less if aligned)
  T length;                  // after the clamp to 1 of aligned=False
  T bin;                     // length / bins
  T grid;                    // samples per bin, a whole number
  bool clamped;              // the clamp was active: the high end has no influence
  T inset;                   // where in its share of the bin a sample lies: 1/2, or 0 at the corner
  T low_limit, high_margin;  // a sample in [low_limit, size + high_margin] is read, else worth 0
};

// A bilinear sample's part on one axis: its two taps, and what the box gradient needs.
template <class T>
struct AxisSample {
  bool valid;   // inside the map and a little around it; otherwise the sample is worth 0
  bool sloped;  // moving the sample changes its value (not at the borders' clamp)
  int32_t low, high;
  T weight_low, weight_high;
  T position;  // where the sample lies in the RoI: 0 at the low end, 1 at the high end
};

template <class T>
ROIOPS_INLINE RoiAxis<T> make_axis(T low, T high, T scale, Placement placement, int64_t bins,
                                   int64_t sampling_ratio) {
  const bool mnc = placement == Placement::warp_mnc;
  const T offset = placement == Placement::aligned ? T(0.5) : T(0);
  T end = high * scale - offset;
  RoiAxis<T> axis;
  axis.start = low * scale - offset;
  if (mnc || placement == Placement::warp) {
    axis.start = std::round(axis.start);
    end = std::round(end);
  }
  const T shortest = mnc ? T(0) : T(1);
  axis.length = end - axis.start;
  axis.clamped = placement != Placement::aligned && axis.length < shortest;
  if (axis.clamped) axis.length = shortest;
  axis.bin = axis.length / T(bins);
  axis.grid = mnc ? T(1) : sampling_ratio > 0 ? T(sampling_ratio) : std::ceil(axis.bin);
  if (!(axis.grid > 0)) axis.grid = T(0);
  axis.inset = mnc ? T(0) : T(0.5);
  axis.low_limit = mnc ? T(-0.5) : T(-1);
  axis.high_margin = mnc ? T(-0.5) : T(0);
  return axis;
}

// Both axes of an RoI x1, y1, x2, y2 in image pixels, and one by the number of a bin's samples.
// That is a double: float64 features under float32 boxes are averaged to full precision. An RoI
// that is not finite, also after scaling, has no samples and no mean.
template <class T>
struct RoiAxes {
  RoiAxis<T> y, x;
  double inverse;
};

template <class T>
ROIOPS_INLINE RoiAxes<T> make_axes(const T* roi, T scale, Placement placement, int64_t bins_y,
                                   int64_t bins_x, int64_t sampling_ratio) {
  RoiAxes<T> axes{make_axis(roi[1], roi[3], scale, placement, bins_y, sampling_ratio),
                  make_axis(roi[0], roi[2], scale, placement, bins_x, sampling_ratio), 0.0};
  bool finite = std::isfinite(axes.y.start) && std::isfinite(axes.y.length) &&
                std::isfinite(axes.x.start) && std::isfinite(axes.x.length);
  for (int side = 0; side < 4; ++side) finite = finite && std::isfinite(roi[side]);
  if (finite) {
    const double samples = static_cast<double>(axes.y.grid) * static_cast<double>(axes.x.grid);
    axes.inverse = 1.0 / (samples > 1.0 ? samples : 1.0);
  } else {
    axes.y.grid = axes.x.grid = T(0);
  }
  return axes;
}

// Which samples of bin `p` can touch the cells [begin, end) of the map: [first, first + count). An
// enormous or far-away RoI costs no more than these are long. Found in double with a margin; each
// is then tested exactly.
struct SampleRange {
  double first;
  int64_t count;
};

template <class T>
ROIOPS_INLINE SampleRange visited_samples(const RoiAxis<T>& axis, int64_t p, int64_t begin,
                                          int64_t end) {
  const double grid = static_cast<double>(axis.grid);
  if (!(grid > 0)) return {0.0, 0};
  double first = 0.0, last = grid - 1.0;
  const double step = static_cast<double>(axis.bin) / grid;
  if (step > 0) {
    const double start = static_cast<double>(axis.start) + static_cast<double>(p) * axis.bin;
    const double low = static_cast<double>(begin) - 1.0, high = static_cast<double>(end);
    first = std::fmax(first, std::floor((low - start) / step - 0.5) - 1.0);
    last = std::fmin(last, std::ceil((high - start) / step - 0.5) + 1.0);
  }
  if (!(last >= first)) return {first, 0};
  // A chosen grid has at most kMaxSamplingRatio samples; an adaptive one has a step of 1/2 to 1.
  const double most =
      std::fmax(static_cast<double>(2 * (end - begin) + 8), double{kMaxSamplingRatio});
  return {first, static_cast<int64_t>(std::fmin(last - first + 1.0, most))};
}

template <class T>
ROIOPS_INLINE SampleRange visited_samples(const RoiAxis<T>& axis, int64_t p, int64_t size) {
  return visited_samples(axis, p, 0, size);
}

template <class T>
ROIOPS_INLINE AxisSample<T> sample_axis(const RoiAxis<T>& axis, int64_t p, double index,
                                        int64_t bins, int64_t size) {
  const T i = static_cast<T>(index) + axis.inset;
  T at = axis.start + static_cast<T>(p) * axis.bin + i * axis.bin / axis.grid;
  AxisSample<T> s;
  s.position = (static_cast<T>(p) + i / axis.grid) / static_cast<T>(bins);
  s.valid = at >= axis.low_limit && at <= static_cast<T>(size) + axis.high_margin;
  s.sloped = false;
  s.low = s.high = 0;
  s.weight_low = s.weight_high = T(0);
  if (!s.valid) return s;
  s.sloped = at > T(0);
  if (at < T(0)) at = T(0);
  s.low = static_cast<int32_t>(at);
  if (s.low >= size - 1) {
    s.low = s.high = static_cast<int32_t>(size - 1);
    s.weight_low = T(1);
    s.sloped = false;
  } else {
    s.high = s.low + 1;
    s.weight_high = at - static_cast<T>(s.low);
    s.weight_low = T(1) - s.weight_high;
  }
  return s;
}

// By how much a sample's coordinate moves with the RoI's low and high end, per image pixel; 0 where
// its value does not follow.
template <class T>
struct EndSlopes {
  T start, end;
};

template <class T>
ROIOPS_INLINE EndSlopes<T> end_slopes(const RoiAxis<T>& axis, const AxisSample<T>& sample,
                                      T scale) {
  const T slope = sample.sloped ? scale : T(0);
  const T end = axis.clamped ? T(0) : sample.position;
  return {slope * (T(1) - end), slope * end};
}

// A whole number as a cell of [0, limit]. Compared as an integer in the end: above 2^24 a float32
// limit may be rounded past the map.
template <class T>
ROIOPS_INLINE int32_t clamped_cell(T x, int64_t limit) {
  if (!(x > T(0))) return 0;
  if (x >= static_cast<T>(limit)) return static_cast<int32_t>(limit);
  const int64_t cell = static_cast<int64_t>(x);
  return static_cast<int32_t>(cell < limit ? cell : limit);
}

// The cells [begin, end) of bin `p` of RoIPool along one axis, clipped to the map; empty for a RoI
// that is not finite. `low` and `high` are the RoI's ends in image pixels. RoIPool reads the
// `last_cell` of the RoI, at its rounded high end, and of the map; torchvision's position-sensitive
// form reads neither.
template <class T>
ROIOPS_INLINE void pool_cells(T low, T high, T scale, bool last_cell, int64_t p, int64_t bins,
                              int64_t size, int32_t* begin, int32_t* end) {
  const T first = std::round(low * scale), last = std::round(high * scale);
  T length = last - first + (last_cell ? T(1) : T(0));
  if (length < T(1)) length = T(1);
  const T bin = length / static_cast<T>(bins);
  const T from = std::floor(static_cast<T>(p) * bin) + first;
  const T to = std::ceil(static_cast<T>(p + 1) * bin) + first;
  const int64_t limit = last_cell ? size : size - 1;
  const bool finite = std::isfinite(from) && std::isfinite(to);
  *begin = finite ? clamped_cell(from, limit) : 0;
  *end = finite ? clamped_cell(to, limit) : 0;
}

// The pyramid level of a box x1, y1, x2, y2: how many of the `smallest` areas, ascending, its area
// reaches. One that is not positive or not finite reaches none.
template <class T>
ROIOPS_INLINE int64_t levels_reached(const T* box, const T* smallest, int64_t count) {
  const T area = (box[2] - box[0]) * (box[3] - box[1]);
  int64_t reached = 0;
  if (area > 0 && std::isfinite(area))
    for (int64_t l = 0; l < count; ++l) reached += area >= smallest[l];
  return reached;
}

// What two boxes x1, y1, x2, y2 share and cover. `one` is 1 for the legacy convention in which a
// box includes its last pixel, else 0.
template <class T>
struct BoxOverlap {
  T common, joined;
};

template <class T>
ROIOPS_INLINE BoxOverlap<T> overlap_of_areas(const T* a, const T* b, T area_a, T area_b, T one) {
  const T left = a[0] > b[0] ? a[0] : b[0];
  const T top = a[1] > b[1] ? a[1] : b[1];
  const T right = a[2] < b[2] ? a[2] : b[2];
  const T bottom = a[3] < b[3] ? a[3] : b[3];
  const T width = right - left + one, height = bottom - top + one;
  const T overlap = (width > 0 ? width : T(0)) * (height > 0 ? height : T(0));
  return {overlap, area_a + area_b - overlap};
}

template <class T>
ROIOPS_INLINE T area_of(const T* a, T one) {
  return (a[2] - a[0] + one) * (a[3] - a[1] + one);
}

template <class T>
ROIOPS_INLINE BoxOverlap<T> box_overlap(const T* a, const T* b, T one) {
  return overlap_of_areas(a, b, area_of(a, one), area_of(b, one), one);
}

// Intersection over union. A union that is empty, overflows or is NaN (any non-finite coordinate
// makes it so) gives 0.
template <class T>
ROIOPS_INLINE T iou_of(const BoxOverlap<T>& pair) {
  return pair.joined > 0 && pair.joined < static_cast<T>(INFINITY) ? pair.common / pair.joined
                                                                   : T(0);
}

template <class T>
ROIOPS_INLINE T box_iou(const T* a, const T* b, T one) {
  return iou_of(box_overlap(a, b, one));
}

// Whether the IoU of a pair may be greater than a threshold: never false where it is, and almost
// never true where it is not. Most pairs are answered without a division.
template <class T>
ROIOPS_INLINE bool may_exceed(const BoxOverlap<T>& pair, T threshold) {
  // A quotient that is rounded to more than the threshold is more than it, so common > threshold *
  // joined; and that product is rounded to no more than common, which is a number of the type.
  return (pair.common > 0) & (pair.common >= threshold * pair.joined);
}

// The smallest box around two; sides are not negative.
template <class T>
struct BoxHull {
  T width, height;
};

template <class T>
ROIOPS_INLINE BoxHull<T> box_hull(const T* a, const T* b) {
  const T width = (a[2] > b[2] ? a[2] : b[2]) - (a[0] < b[0] ? a[0] : b[0]);
  const T height = (a[3] > b[3] ? a[3] : b[3]) - (a[1] < b[1] ? a[1] : b[1]);
  return {width > 0 ? width : T(0), height > 0 ? height : T(0)};
}

// From the centre of b to that of a, along axis 0 (x) or 1 (y).
template <class T>
ROIOPS_INLINE T centre_shift(const T* a, const T* b, int axis) {
  return (a[axis] + a[axis + 2]) / T(2) - (b[axis] + b[axis + 2]) / T(2);
}

// CIoU's v and alpha, for boxes whose atan(width / height) are `a` and `b`.
template <class T>
ROIOPS_INLINE T shape_difference(T a, T b) {
  return T(0.40528473456935109) * ((a - b) * (a - b));  // 4 / pi^2
}
template <class T>
ROIOPS_INLINE T shape_weight(T v, T iou, T eps) {
  return v / (T(1) - iou + v + eps);
}

}  // namespace roiops
