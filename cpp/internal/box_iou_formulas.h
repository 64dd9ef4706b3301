// The gradients of IoU and its kin for one pair of boxes, on the CPU and on a GPU.
#pragma once

#include <cmath>

#include "internal/box_iou_kernels.h"
#include "roiops/box_iou.h"
#include "roiops/geometry.h"

namespace roiops {

// Not among the vectorised loops, so that every instruction set has the same bits.
template <class T>
ROIOPS_INLINE T angle_of(const T* box) {
  return std::atan((box[2] - box[0]) / (box[3] - box[1]));
}

template <class T>
struct IouOptions {
  IouKind kind;
  T one, eps;

  explicit IouOptions(const BoxIouArgs& args)
      : kind(args.kind),
        one(args.kind == IouKind::iou && args.plus_one ? T(1) : T(0)),
        eps(static_cast<T>(args.eps)) {}
};

// How much of a minimum's gradient goes to its first argument.
template <class T>
ROIOPS_INLINE T share_of_min(T a, T b) {
  return a < b ? T(1) : a == b ? T(0.5) : T(0);
}

// The derivatives of atan(width / height) by both; the quotient that is at most 1 is formed.
template <class T>
ROIOPS_INLINE void angle_slopes(T width, T height, T* by_width, T* by_height) {
  const bool upright = std::abs(width) <= std::abs(height);
  const T longer = upright ? height : width, ratio = upright ? width / height : height / width;
  const T slope = T(1) / ((T(1) + ratio * ratio) * longer);
  *by_width = upright ? slope : ratio * slope;
  *by_height = upright ? -ratio * slope : -slope;
}

// The gradient by a box of g * value(box, other), as three terms of each coordinate that are added
// to a sum one after the other: by the box's centre, by the overlap and the box's own sides, by the
// hull. Kept apart, because who computes pairs side by side and sums afterwards shall round as who
// sums at once.
template <class T>
struct PairGradient {
  T centre[4], sides[4], hull[4];

  ROIOPS_HD void add_to(T* sum) const {
    for (int c = 0; c < 4; ++c) sum[c] = sum[c] + centre[c] + sides[c] + hull[c];
  }
};

// Along an axis, from the gradients by the lengths of the overlap, of the hull and of box `a`
// itself.
template <class T>
ROIOPS_INLINE void gradient_of_lengths(PairGradient<T>& grad, const T* a, const T* b, int axis,
                                       T by_shared, T by_hull, T by_own) {
  const int low = axis, high = axis + 2;
  grad.sides[low] = -(by_shared * share_of_min(b[low], a[low]) + by_own);
  grad.sides[high] = by_shared * share_of_min(a[high], b[high]) + by_own;
  grad.hull[low] = -(by_hull * share_of_min(a[low], b[low]));
  grad.hull[high] = by_hull * share_of_min(b[high], a[high]);
}

template <class T>
ROIOPS_INLINE PairGradient<T> gradient_of_pair(const T* a, T angle_a, const T* b, T angle_b, T g,
                                               const IouOptions<T>& options) {
  PairGradient<T> grad{};
  const T one = options.one, eps = options.eps;
  const T width = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]) + one;
  const T height = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]) + one;
  const BoxOverlap<T> pair = box_overlap(a, b, one);
  if (!std::isfinite(pair.joined)) return grad;
  const T iou = iou_of(pair);
  const bool overlaps = pair.joined > 0;
  T by_joined = overlaps ? -g * iou / pair.joined : T(0);
  T by_hull_width = T(0), by_hull_height = T(0);
  T by_own_width = T(0), by_own_height = T(0);
  if (options.kind == IouKind::generalized) {
    const BoxHull<T> hull = box_hull(a, b);
    const T area = hull.width * hull.height;
    if (std::isfinite((area - pair.joined) / area)) {
      by_joined += g / area;
      const T by_area = -g * (pair.joined / area) / area;
      by_hull_width = by_area * hull.height;
      by_hull_height = by_area * hull.width;
    }
  } else if (options.kind != IouKind::iou) {
    const BoxHull<T> hull = box_hull(a, b);
    const T diagonal = hull.width * hull.width + hull.height * hull.height + eps;
    const T x = centre_shift(a, b, 0), y = centre_shift(a, b, 1);
    const T penalty = (x * x + y * y) / diagonal;
    if (std::isfinite(penalty)) {
      by_hull_width = T(2) * g * penalty * hull.width / diagonal;
      by_hull_height = T(2) * g * penalty * hull.height / diagonal;
      for (int c = 0; c < 4; ++c) grad.centre[c] = -(g * (c % 2 ? y : x) / diagonal);
    }
  }
  if (options.kind == IouKind::complete) {
    const T v = shape_difference(angle_a, angle_b), alpha = shape_weight(v, iou, eps);
    if (std::isfinite(alpha * v)) {
      const T by_angle = -g * alpha * T(2) * shape_difference(T(1), T(0)) * (angle_a - angle_b);
      T by_width, by_height;
      angle_slopes(a[2] - a[0], a[3] - a[1], &by_width, &by_height);
      by_own_width = by_angle * by_width;
      by_own_height = by_angle * by_height;
    }
  }
  // IoU = overlap / union, and the union falls as the overlap grows.
  const T by_common = (overlaps ? g / pair.joined : T(0)) - by_joined;
  gradient_of_lengths(grad, a, b, 0, width >= 0 && height > 0 ? by_common * height : T(0),
                      by_hull_width, by_joined * (a[3] - a[1] + one) + by_own_width);
  gradient_of_lengths(grad, a, b, 1, height >= 0 && width > 0 ? by_common * width : T(0),
                      by_hull_height, by_joined * (a[2] - a[0] + one) + by_own_height);
  return grad;
}

}  // namespace roiops
