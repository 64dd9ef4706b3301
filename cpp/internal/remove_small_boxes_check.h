// What remove_small_boxes refuses, and which boxes it keeps, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"
#include "roiops/config.h"

namespace roiops {

inline void check_remove_small_boxes(const Array& keep, const Array& boxes) {
  const char* op = "remove_small_boxes";
  check_floating(op, "boxes", boxes);
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, "keep", keep, {boxes.shape[0]});
  check_dtype(op, "keep", keep, DType::int64);
}

template <class T>
ROIOPS_INLINE bool has_sides(T x1, T y1, T x2, T y2, T least) {
  return x2 - x1 >= least && y2 - y1 >= least;
}

}  // namespace roiops
