// The tight box around each mask: the least and greatest column and row that hold a non-zero pixel
// (so a mask of one pixel has equal corners), as torchvision. An empty mask gives 0, 0, 0, 0.
//
// masks (N, H, W) of any type; NaN is not zero. boxes (N, 4) float32 x1, y1, x2, y2
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

void masks_to_boxes(const Array& boxes, const Array& masks, const Execution& execution);

}  // namespace roiops
