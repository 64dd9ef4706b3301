// What box_area and its gradient refuse, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"

namespace roiops {

inline void check_areas(const char* op, const char* name, const Array& area, const Array& boxes) {
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, name, area, {boxes.shape[0]});
  check_dtype(op, name, area, boxes.dtype);
}

inline void check_box_area(const Array& area, const Array& boxes) {
  check_areas("box_area", "area", area, boxes);
  if (boxes.dtype != DType::int64) check_floating("box_area", "boxes", boxes);
}

inline void check_box_area_backward(const Array& grad_boxes, const Array& grad_area,
                                    const Array& boxes) {
  const char* op = "box_area_backward";
  check_areas(op, "grad_output", grad_area, boxes);
  check_floating(op, "boxes", boxes);
  check_shape(op, "grad_boxes", grad_boxes, {boxes.shape[0], 4});
  check_dtype(op, "grad_boxes", grad_boxes, boxes.dtype);
}

}  // namespace roiops
