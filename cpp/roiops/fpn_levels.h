// The pyramid level of each box (Feature Pyramid Networks, equation 1) by comparing its area with
// thresholds: no logarithm is taken per box, so every backend decides alike.
//
// boxes       (N, 4) x1, y1, x2, y2, float32 or float64 (a view without the batch index)
// thresholds  smallest area of levels min_level + 1, min_level + 2, ..., ascending, as double; they
//             are rounded to the boxes' dtype
// levels      (N,) int64 out: min_level + number of thresholds that the area reaches. An area that
//             is not positive or not finite gives min_level.
#pragma once

#include <vector>

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

void fpn_levels(const Array& levels, const Array& boxes, int64_t min_level,
                const std::vector<double>& thresholds, const Execution& execution);

}  // namespace roiops
