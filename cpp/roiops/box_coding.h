// Box coding: a box as an offset from another (Girshick et al., R-CNN, appendix C), per axis
//
//   shift = weight * (centre* - centre) / size      scale = weight * log(size* / size)
//
// where starred values are of the box to be reached; arithmetic as torchvision's BoxCoder.
//
// Encoding: reference_boxes, proposals (N, 4) x1, y1, x2, y2 -> deltas (N, 4) dx, dy, dw, dh.
// Decoding: deltas (B, N, 4 K), K boxes a row; boxes (B, N, 4) or (1, N, 4), shared by the batch
//           -> (B, N, 4 K). dw and dh are limited from above before the exponential; with `clip`
//           the result is clamped to [0, width] x [0, height].
// All arrays of one call are float32 or all are float64, with any strides. Backward functions write
// every element of their results; sums over classes and a shared batch run in ascending order.
#pragma once

#include <array>

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct BoxCodingOptions {
  std::array<double, 4> weights = {1, 1, 1, 1};  // of dx, dy, dw, dh
  bool plus_one = false;                         // legacy convention: size = high - low + 1
  Execution execution;
};

struct DecodeOptions : BoxCodingOptions {
  double scale_clamp = 4.135166556742356;  // log(1000 / 16)
  bool clip = false;
  double height = 0, width = 0;  // of the image, for `clip`
};

void encode_boxes(const Array& deltas, const Array& reference_boxes, const Array& proposals,
                  const BoxCodingOptions& options);

void encode_boxes_backward(const Array& grad_reference_boxes, const Array& grad_proposals,
                           const Array& grad_deltas, const Array& reference_boxes,
                           const Array& proposals, const BoxCodingOptions& options);

void decode_boxes(const Array& decoded, const Array& deltas, const Array& boxes,
                  const DecodeOptions& options);

// A coordinate that is clamped, and a size whose delta is limited, pass no gradient.
void decode_boxes_backward(const Array& grad_deltas, const Array& grad_boxes,
                           const Array& grad_decoded, const Array& deltas, const Array& boxes,
                           const DecodeOptions& options);

}  // namespace roiops
