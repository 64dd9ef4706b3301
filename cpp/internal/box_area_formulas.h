// The area of a box x1, y1, x2, y2, or with `sized` anything, anything, width, height.
#pragma once

#include <cstdint>
#include <type_traits>

#include "roiops/config.h"

namespace roiops {

// Integers are computed as unsigned ones: their overflow is defined.
template <class T>
using AreaNumber = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;

template <class T>
ROIOPS_INLINE AreaNumber<T> side_of(const T* box, int axis, bool sized) {
  const auto high = static_cast<AreaNumber<T>>(box[axis + 2]);
  return sized ? high : high - static_cast<AreaNumber<T>>(box[axis]);
}

template <class T>
ROIOPS_INLINE T width_times_height(const T* box, bool sized) {
  return static_cast<T>(side_of(box, 0, sized) * side_of(box, 1, sized));
}

// grad: the gradient by the box, of one by its area.
template <class T>
ROIOPS_INLINE void area_gradient(T* grad, const T* box, T by_area, bool sized) {
  for (int c = 0; c < 2; ++c) {
    const T by_side = by_area * side_of(box, 1 - c, sized);
    grad[c] = sized ? T(0) : -by_side;
    grad[c + 2] = by_side;
  }
}

}  // namespace roiops
