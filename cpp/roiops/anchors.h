// Anchors of one pyramid level: the cell's anchors, repeated at every cell of the grid.
//
// out (H * W * A, 4) float32 or float64, order y, x, anchor. Computed in double, then rounded.
// Conventions (aspect ratio = height / width):
//   torchvision  centred at the cell's corner i * stride, rounded half to even, ratio-major
//   detectron2   centred there, not rounded, size-major
//   detectron    the base cell (0, 0, stride - 1, stride - 1), reshaped to the ratio in whole
//                pixels, then scaled; ratio-major
#pragma once

#include <vector>

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

enum class AnchorConvention { torchvision, detectron2, detectron };

struct GridAnchorArgs {
  int64_t height, width;
  double stride_y, stride_x;
  std::vector<double> sizes, aspect_ratios;
  AnchorConvention convention;
  Execution execution;
};

void grid_anchors(const Array& out, const GridAnchorArgs& args);

}  // namespace roiops
