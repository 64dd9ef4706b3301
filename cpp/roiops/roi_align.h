// RoIAlign (Mask R-CNN, section 3) over one feature map or several levels of a pyramid; RoIWarp,
// which places its samples by another policy, and whose gradient passes straight through the
// rounding; and the position-sensitive poolings (R-FCN, section 3), in which each bin reads
// channels of its own.
//
//   output[k, c, ph, pw] = mean or max over the bin's samples of the bilinear interpolation of
//                          inputs[level(k)][batch(k), c], or, position-sensitive, of
//                          inputs[level(k)][batch(k), (c PH + ph) PW + pw]; with Placement::cells
//                          the mean over the bin's cells, no box gradient, an empty bin 0
//
// inputs    L maps (N, C, H_l, W_l), float16, bfloat16, float32 or float64, any strides
// rois      (K, 5) batch_index, x1, y1, x2, y2 in image coordinates, float32 or float64
// levels    (K,) int64 index into inputs; unused (data == nullptr) for a single map
// output    (K, C, PH, PW) of the inputs' dtype; every element is written. Position-sensitive:
//           the inputs have C PH PW channels
//
// Coordinates are computed in the dtype of `rois`, sums in that of the inputs, or in float32 for
// 16-bit ones. A RoI with a non-finite coordinate (also after scaling) has output 0 and gradient 0.
// A batch index that is not a whole number in [0, N), or a level outside [0, L), throws
// std::out_of_range before anything is written; on a GPU, where nothing is read back, such an RoI
// has output 0 and gradient 0. The same input gives the same bits for every thread count and
// layout: a bin's taps are added row by row in ascending order, RoIs in ascending index, channels
// in a fixed tree of 16 lanes.
#pragma once

#include <vector>

#include "roiops/array.h"
#include "roiops/execution.h"
#include "roiops/geometry.h"

namespace roiops {

struct RoiAlignArgs {
  std::vector<Array> inputs;
  std::vector<double> spatial_scales;
  Array rois;
  Array levels;
  int64_t sampling_ratio = -1;
  Placement placement = Placement::align;
  bool max = false;                 // reduction: maximum of the bin's samples instead of their mean
  bool position_sensitive = false;  // with the mean only; Placement::cells always
  Execution execution;
};

// With `values` (maps like `inputs`; only for max) the output is taken from `values` at the samples
// that win in `inputs`: the derivative of the maximum in the direction `values`.
void roi_align_forward(const Array& output, const RoiAlignArgs& args,
                       const std::vector<Array>& values = {});

// grad_inputs[l] is like inputs[l]; every element is written.
void roi_align_grad_input(const std::vector<Array>& grad_inputs, const Array& grad_output,
                          const RoiAlignArgs& args);

// grad_rois (K, 5); column 0 is 0.
void roi_align_grad_rois(const Array& grad_rois, const Array& grad_output,
                         const RoiAlignArgs& args);

}  // namespace roiops
