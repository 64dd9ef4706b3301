// The kin of IoU of two boxes, on the CPU and on a GPU, and the table of the CPU's inner loops: one
// box against a list, one array per coordinate.
#pragma once

#include <cmath>
#include <cstdint>

#include "roiops/geometry.h"
#include "roiops/isa.h"

namespace roiops {

template <class T>
ROIOPS_INLINE bool is_finite(T x) {
  return x > -static_cast<T>(INFINITY) && x < static_cast<T>(INFINITY);
}

// A term that is not finite (0 / 0, an overflow) counts nothing.
template <class T>
ROIOPS_INLINE T finite_or_zero(T x) {
  return is_finite(x) ? x : T(0);
}

// A pair whose union is not finite is worth 0, whatever the kind.
template <class T>
ROIOPS_INLINE T unless_infinite(T value, const BoxOverlap<T>& pair) {
  return is_finite(pair.joined) ? value : T(0);
}

template <class T>
ROIOPS_INLINE T generalized_iou(const T* a, const T* b) {
  const BoxOverlap<T> pair = box_overlap(a, b, T(0));
  const BoxHull<T> hull = box_hull(a, b);
  const T area = hull.width * hull.height;
  return unless_infinite(iou_of(pair) - finite_or_zero((area - pair.joined) / area), pair);
}

template <class T>
ROIOPS_INLINE T iou_less_distance(const T* a, const T* b, const BoxOverlap<T>& pair, T eps) {
  const BoxHull<T> hull = box_hull(a, b);
  const T diagonal = hull.width * hull.width + hull.height * hull.height + eps;
  const T x = centre_shift(a, b, 0), y = centre_shift(a, b, 1);
  return iou_of(pair) - finite_or_zero((x * x + y * y) / diagonal);
}

template <class T>
ROIOPS_INLINE T distance_iou(const T* a, const T* b, T eps) {
  const BoxOverlap<T> pair = box_overlap(a, b, T(0));
  return unless_infinite(iou_less_distance(a, b, pair, eps), pair);
}

// Of boxes whose atan(width / height) are given.
template <class T>
ROIOPS_INLINE T complete_iou(const T* a, const T* b, T angle_a, T angle_b, T eps) {
  const BoxOverlap<T> pair = box_overlap(a, b, T(0));
  const T v = shape_difference(angle_a, angle_b);
  const T alpha = shape_weight(v, iou_of(pair), eps);
  return unless_infinite(iou_less_distance(a, b, pair, eps) - finite_or_zero(alpha * v), pair);
}

template <class T>
struct BoxColumns {
  const T *x1, *y1, *x2, *y2;
  const T* angle;  // atan(width / height) of each box; read by `complete` alone
  int64_t count;
};

template <class T>
struct BoxIouKernels {
  void (*iou)(T* out, const T* box, const BoxColumns<T>& others, T one);
  void (*generalized)(T* out, const T* box, const BoxColumns<T>& others);
  void (*distance)(T* out, const T* box, const BoxColumns<T>& others, T eps);
  void (*complete)(T* out, const T* box, T angle, const BoxColumns<T>& others, T eps);
};

ROIOPS_DECLARE_KERNELS(BoxIouKernels<float>, box_iou_float)
ROIOPS_DECLARE_KERNELS(BoxIouKernels<double>, box_iou_double)

}  // namespace roiops
