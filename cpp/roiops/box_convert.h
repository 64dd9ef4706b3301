// Boxes from one way of writing them to another; formulas as torchvision's.
//
//   upright   xyxy     two corners                      cxcywh   centre, width, height
//             xywh     low corner, width, height
//   rotated   xywhr    corner 1, width, height, angle   cxcywhr  centre, width, height, angle
//             xyxyxyxy corners 1 to 4: top left, top right, bottom right, bottom left
//
// The angle is in degrees, counter-clockwise as the picture is seen (y points down). Both formats
// are upright or both rotated. boxes (N, 4, 5 or 8) -> converted (N, 4, 5 or 8), both float32, both
// float64, or int64: int64 boxes become float32 where an upright format is cxcywh (and the other is
// not), else int64, rotated ones computed in float32 and rounded half to even, at xywhr too where
// the way from cxcywhr to xyxyxyxy or back leads over it. Sums of int64 wrap around.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

enum class BoxFormat { xyxy, xywh, cxcywh, xywhr, cxcywhr, xyxyxyxy };

struct BoxConvertArgs {
  BoxFormat from, to;
  Execution execution;
};

void box_convert(const Array& converted, const Array& boxes, const BoxConvertArgs& args);

// float32 or float64. From corners, a side of length 0 has no gradient.
void box_convert_backward(const Array& grad_boxes, const Array& grad_converted, const Array& boxes,
                          const BoxConvertArgs& args);

}  // namespace roiops
