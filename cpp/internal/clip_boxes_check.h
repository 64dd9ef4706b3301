// What clip_boxes and its gradient refuse, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"

namespace roiops {

inline void check_like_boxes(const char* op, const char* name, const Array& a, const Array& boxes) {
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, name, a, {boxes.shape[0], 4});
  check_dtype(op, name, a, boxes.dtype);
}

inline void check_clip_boxes(const Array& clipped, const Array& boxes) {
  const char* op = "clip_boxes_to_image";
  check_like_boxes(op, "clipped", clipped, boxes);
  if (boxes.dtype != DType::int64) check_floating(op, "boxes", boxes);
}

inline void check_clip_boxes_backward(const Array& grad_boxes, const Array& grad_clipped,
                                      const Array& boxes) {
  const char* op = "clip_boxes_to_image_backward";
  check_like_boxes(op, "grad_output", grad_clipped, boxes);
  check_like_boxes(op, "grad_boxes", grad_boxes, boxes);
  check_floating(op, "boxes", boxes);
}

}  // namespace roiops
