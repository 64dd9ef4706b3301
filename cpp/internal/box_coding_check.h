// What box coding refuses, and what it makes of its options, on the CPU and on a GPU.
#pragma once

#include <cmath>

#include "internal/box_coding_formulas.h"
#include "roiops/box_coding.h"
#include "roiops/check.h"

namespace roiops {

// Axis 0 is x, axis 1 is y.
template <class T>
EncodeAxis<T> encode_axis(const BoxCodingOptions& options, int axis) {
  return {static_cast<T>(options.weights[axis]), static_cast<T>(options.weights[axis + 2]),
          options.plus_one ? T(1) : T(0)};
}
template <class T>
DecodeAxis<T> decode_axis(const DecodeOptions& options, int axis) {
  const T infinity = static_cast<T>(INFINITY);
  return {static_cast<T>(options.weights[axis]),
          static_cast<T>(options.weights[axis + 2]),
          static_cast<T>(options.scale_clamp),
          options.plus_one ? T(1) : T(0),
          options.clip ? T(0) : -infinity,
          options.clip ? static_cast<T>(axis ? options.height : options.width) : infinity};
}

inline void check_four_columns(const char* op, const char* name, const Array& a,
                               const Array& like) {
  check_shape(op, name, a, {like.shape[0], 4});
  check_dtype(op, name, a, like.dtype);
}

inline void check_encode(const char* op, const Array& deltas, const Array& reference_boxes,
                         const Array& proposals) {
  check_floating(op, "reference_boxes", reference_boxes);
  check_shape(op, "reference_boxes", reference_boxes, {-1, 4});
  check_four_columns(op, "proposals", proposals, reference_boxes);
  check_four_columns(op, "deltas", deltas, reference_boxes);
}

inline void check_decode(const char* op, const Array& decoded, const Array& deltas,
                         const Array& boxes) {
  check_floating(op, "deltas", deltas);
  check_shape(op, "deltas", deltas, {-1, -1, -1});
  if (deltas.shape[2] % 4)
    throw std::invalid_argument(
        message(op, ": deltas must have 4 values per class; got ", shape_text(deltas)));
  const int64_t images = boxes.ndim == 3 && boxes.shape[0] == 1 ? 1 : deltas.shape[0];
  check_shape(op, "boxes", boxes, {images, deltas.shape[1], 4});
  check_dtype(op, "boxes", boxes, deltas.dtype);
  check_shape(op, "decoded", decoded, {deltas.shape[0], deltas.shape[1], deltas.shape[2]});
  check_dtype(op, "decoded", decoded, deltas.dtype);
}

inline void check_encode_backward(const Array& grad_reference_boxes, const Array& grad_proposals,
                                  const Array& grad_deltas, const Array& reference_boxes,
                                  const Array& proposals) {
  const char* op = "encode_boxes_backward";
  check_encode(op, grad_deltas, reference_boxes, proposals);
  check_four_columns(op, "grad_reference_boxes", grad_reference_boxes, reference_boxes);
  check_four_columns(op, "grad_proposals", grad_proposals, reference_boxes);
}

inline void check_decode_backward(const Array& grad_deltas, const Array& grad_boxes,
                                  const Array& grad_decoded, const Array& deltas,
                                  const Array& boxes) {
  const char* op = "decode_boxes_backward";
  check_decode(op, grad_decoded, deltas, boxes);
  check_decode(op, grad_deltas, deltas, boxes);
  check_shape(op, "grad_boxes", grad_boxes, {boxes.shape[0], boxes.shape[1], 4});
  check_dtype(op, "grad_boxes", grad_boxes, boxes.dtype);
}

}  // namespace roiops
