// What box_iou, its kin and their gradients refuse, on the CPU and on a GPU.
#pragma once

#include "roiops/box_iou.h"
#include "roiops/check.h"

namespace roiops {

inline void check_pairs(const char* op, const char* name, const Array& pairs,
                        const BoxIouArgs& args) {
  check_floating(op, "boxes1", args.boxes1);
  check_shape(op, "boxes1", args.boxes1, {-1, -1, 4});
  check_shape(op, "boxes2", args.boxes2, {args.boxes1.shape[0], -1, 4});
  check_dtype(op, "boxes2", args.boxes2, args.boxes1.dtype);
  check_shape(op, name, pairs, {args.boxes1.shape[0], args.boxes1.shape[1], args.boxes2.shape[1]});
  check_dtype(op, name, pairs, args.boxes1.dtype);
}

inline void check_gradient_of_boxes(const char* name, const Array& grad, const Array& boxes) {
  check_shape("box_iou_backward", name, grad, {boxes.shape[0], boxes.shape[1], 4});
  check_dtype("box_iou_backward", name, grad, boxes.dtype);
}

inline void check_box_iou(const Array& values, const BoxIouArgs& args) {
  check_pairs("box_iou", "values", values, args);
}

inline void check_box_iou_backward(const Array& grad_boxes1, const Array& grad_boxes2,
                                   const Array& grad_values, const BoxIouArgs& args) {
  check_pairs("box_iou_backward", "grad_output", grad_values, args);
  check_gradient_of_boxes("grad_boxes1", grad_boxes1, args.boxes1);
  check_gradient_of_boxes("grad_boxes2", grad_boxes2, args.boxes2);
}

}  // namespace roiops
