// What fpn_levels refuses, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"

namespace roiops {

inline void check_fpn_levels(const Array& levels, const Array& boxes) {
  check_floating("fpn_levels", "boxes", boxes);
  check_shape("fpn_levels", "boxes", boxes, {-1, 4});
  check_shape("fpn_levels", "levels", levels, {boxes.shape[0]});
  check_dtype("fpn_levels", "levels", levels, DType::int64);
}

}  // namespace roiops
