// RoIPool (Fast R-CNN, section 2.1): the maximum over whole feature cells of each bin.
//
// input     (N, C, H, W) float16, bfloat16, float32 or float64, any strides; H * W < 2^31
// rois      (K, 5) batch_index, x1, y1, x2, y2 in image coordinates, float32 or float64
// output    (K, C, PH, PW) of the input's dtype; every element is written
//
// The scaled ends are rounded half away from zero, both end cells belong to the RoI, and bin p
// covers the rows [floor(p h / PH), ceil((p + 1) h / PH)), so neighbouring bins may share a row. An
// empty bin (or RoI with a non-finite coordinate) is 0 and has no gradient. The first maximum wins
// in row-major order, the first NaN for good. A batch index that is not a whole number in [0, N)
// throws std::out_of_range before anything is written; on a GPU, where nothing is read back, such
// an RoI has output 0 and no gradient. The same input gives the same bits for every thread count
// and layout.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct RoiPoolArgs {
  Array input, rois;
  double spatial_scale;
  Execution execution;
};

// With values.data (a map like the input) the output is taken from `values` at the cells that win
// in the input: the derivative of the maximum in the direction `values`.
void roi_pool_forward(const Array& output, const RoiPoolArgs& args, const Array& values = {});

// grad_input is like the input; every element is written.
void roi_pool_grad_input(const Array& grad_input, const Array& grad_output,
                         const RoiPoolArgs& args);

}  // namespace roiops
