// What a bin of a mask target reads, and what is made of it: one rule for the CPU and a GPU. In
// float64: the result decides, and the weights of float32 boxes have exact products there.
#pragma once

#include "roiops/array.h"
#include "roiops/geometry.h"

namespace roiops {

// As many samples per bin as its side asks for.
template <class T>
ROIOPS_INLINE RoiAxes<T> crop_axes(const T* box, bool aligned, int64_t bins_y, int64_t bins_x) {
  return make_axes(box, T(1), aligned ? Placement::aligned : Placement::align, bins_y, bins_x, -1);
}
template <class T>
ROIOPS_INLINE double samples_of_bin(const RoiAxes<T>& axes) {
  const double samples = static_cast<double>(axes.y.grid) * static_cast<double>(axes.x.grid);
  return samples > 1.0 ? samples : 1.0;
}

// Calls visit(cell, weight) for the cells of an axis that bin p reads, ascending: the summed
// weights of its samples. None has weight 0: whatever such a cell holds, also NaN, is not read.
template <class T, class Visit>
ROIOPS_INLINE void each_cell(const RoiAxis<T>& axis, int64_t p, int64_t bins, int64_t size,
                             const Visit& visit) {
  const SampleRange range = visited_samples(axis, p, size);
  int64_t cell = -1;
  double here = 0.0, next = 0.0;  // of this cell and the one after it: samples ascend
  for (int64_t i = 0; i < range.count; ++i) {
    const AxisSample<T> s = sample_axis(axis, p, range.first + static_cast<double>(i), bins, size);
    if (!s.valid) continue;
    if (s.low != cell) {
      if (here != 0) visit(cell, here);
      if (s.low != cell + 1) {
        if (next != 0) visit(cell + 1, next);
        next = 0.0;
      }
      here = next;
      next = 0.0;
      cell = s.low;
    }
    here += s.weight_low;
    (s.high == s.low ? here : next) += s.weight_high;
  }
  if (here != 0) visit(cell, here);
  if (next != 0) visit(cell + 1, next);
}

ROIOPS_INLINE double value_of(uint8_t cell) { return cell; }
template <class Cell>
ROIOPS_INLINE double value_of(Cell cell) {
  return static_cast<double>(widen(cell));
}

// A bin's mean, soft or decided.
ROIOPS_INLINE void write_target(void* out, DType dtype, int64_t at, double mean) {
  if (dtype == DType::uint8)
    static_cast<uint8_t*>(out)[at] = mean >= 0.5;
  else if (dtype == DType::float64)
    static_cast<double*>(out)[at] = mean;
  else
    static_cast<float*>(out)[at] = static_cast<float>(mean);
}

}  // namespace roiops
