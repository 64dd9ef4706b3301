// What masks_to_boxes refuses, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"

namespace roiops {

inline void check_masks_to_boxes(const Array& boxes, const Array& masks) {
  const char* op = "masks_to_boxes";
  check_shape(op, "masks", masks, {-1, -1, -1});
  check_shape(op, "boxes", boxes, {masks.shape[0], 4});
  check_dtype(op, "boxes", boxes, DType::float32);
}

}  // namespace roiops
