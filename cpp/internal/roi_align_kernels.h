// The inner loops of RoIAlign: one RoI, one block of 16 channels, one table per instruction set.
// Results and output gradients of a bin are [PH * PW][16].
#pragma once

#include <cstdint>

#include "internal/block.h"
#include "roiops/isa.h"

namespace roiops {

// What one axis of one RoI contributes, bin by bin. `begin` points into the arrays below.
struct BinRange {
  int32_t first;  // mean: first cell of the bin's stencil
  int32_t count;  // mean: cells of the stencil; max: samples of the bin
  int64_t begin;
};

template <class Acc>
struct SampleTaps {
  int32_t low, high;
  Acc weight_low, weight_high;
  Acc slope_start, slope_end;  // d(coordinate)/d(RoI end); 0 where the value does not follow
  bool valid;
};

template <class Acc>
struct AxisStencil {
  int64_t bins;
  const BinRange* ranges;
  const Acc* weights;              // mean: the samples of a bin merged into one weight per cell
  const Acc* start_weights;        // mean: its derivative by the RoI's low end; null if not needed
  const Acc* end_weights;          //       and by the high end
  const SampleTaps<Acc>* samples;  // max: the samples, in order
};

template <class Acc>
struct RoiStencil {
  AxisStencil<Acc> y, x;
};

template <class Acc>
struct RoiAlignMeanKernels {
  void (*forward)(Acc* result, Block<const Acc> input, const RoiStencil<Acc>& roi);
  void (*grad_input)(Block<Acc> grad_input, const Acc* grad, const RoiStencil<Acc>& roi);
  // sums[4][16]: gradients of x1, y1, x2, y2 per lane, added to.
  void (*grad_rois)(Acc* sums, Block<const Acc> input, const Acc* grad, const RoiStencil<Acc>& roi);
};

template <class Acc>
struct RoiAlignMaxKernels {
  // values.data may be null: the maximum itself, else `values` at the winning samples.
  void (*forward)(Acc* result, Block<const Acc> input, Block<const Acc> values,
                  const RoiStencil<Acc>& roi);
  void (*grad_input)(Block<Acc> grad_input, Block<const Acc> input, const Acc* grad,
                     const RoiStencil<Acc>& roi);
  void (*grad_rois)(Acc* sums, Block<const Acc> input, const Acc* grad, const RoiStencil<Acc>& roi);
};

ROIOPS_DECLARE_KERNELS(RoiAlignMeanKernels<float>, roi_align_mean_float)
ROIOPS_DECLARE_KERNELS(RoiAlignMeanKernels<double>, roi_align_mean_double)
ROIOPS_DECLARE_KERNELS(RoiAlignMaxKernels<float>, roi_align_max_float)
ROIOPS_DECLARE_KERNELS(RoiAlignMaxKernels<double>, roi_align_max_double)

}  // namespace roiops
