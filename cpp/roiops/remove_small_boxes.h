// Which boxes have both sides of at least `min_size` (as torchvision). A NaN side is not.
//
// boxes (N, 4) x1, y1, x2, y2; float32 or float64, the type in which the sides are compared
// keep  (N,) int64; the indices fill its beginning, ascending. Returns how many there are.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

int64_t remove_small_boxes(const Array& keep, const Array& boxes, double min_size,
                           const Execution& execution);

}  // namespace roiops
