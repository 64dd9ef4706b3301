// Areas of boxes: width times height, negative for a box that is flipped along one axis.
//
// boxes (N, 4): x1, y1, x2, y2, or with `sized` anything, anything, width, height
// area  (N,) of the boxes' type: float32, float64 or int64 (which wraps around)
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

void box_area(const Array& area, const Array& boxes, bool sized, const Execution& execution);

// float32 or float64.
void box_area_backward(const Array& grad_boxes, const Array& grad_area, const Array& boxes,
                       bool sized, const Execution& execution);

}  // namespace roiops
