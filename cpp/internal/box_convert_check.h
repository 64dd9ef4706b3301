// What box_convert and its gradient refuse, on the CPU and on a GPU.
#pragma once

#include "internal/box_convert_formulas.h"
#include "roiops/check.h"

namespace roiops {

inline void check_formats(const char* op, const char* name, const Array& converted,
                          const Array& boxes, const BoxConvertArgs& args) {
  if (is_rotated(args.from) != is_rotated(args.to))
    throw std::invalid_argument(message(op, ": both formats must be upright, or both rotated"));
  check_shape(op, "boxes", boxes, {-1, row_length(args.from)});
  check_shape(op, name, converted, {boxes.shape[0], row_length(args.to)});
}

inline void check_box_convert(const Array& converted, const Array& boxes,
                              const BoxConvertArgs& args) {
  const char* op = "box_convert";
  check_formats(op, "converted", converted, boxes, args);
  const bool integers = boxes.dtype == DType::int64, same = args.from == args.to;
  if (!integers) check_floating(op, "boxes", boxes);
  const bool centred = args.from == BoxFormat::cxcywh || args.to == BoxFormat::cxcywh;
  check_dtype(op, "converted", converted,
              integers && centred && !same ? DType::float32 : boxes.dtype);
}

inline void check_box_convert_backward(const Array& grad_boxes, const Array& grad_converted,
                                       const Array& boxes, const BoxConvertArgs& args) {
  const char* op = "box_convert_backward";
  check_formats(op, "grad_output", grad_converted, boxes, args);
  check_floating(op, "boxes", boxes);
  check_dtype(op, "grad_output", grad_converted, boxes.dtype);
  check_shape(op, "grad_boxes", grad_boxes, {boxes.shape[0], row_length(args.from)});
  check_dtype(op, "grad_boxes", grad_boxes, boxes.dtype);
}

}  // namespace roiops
