// The inner loops of RoIAlign: one RoI, one block of 16 channels, one table per instruction set.
// Results and output gradients of a bin are [PH * PW][16].
#pragma once

#include <cstdint>

#include "internal/block.h"
#include "roiops/isa.h"

namespace roiops {

// Which entries of the arrays below a bin has, along one axis.
struct BinRange {
  int32_t count;  // mean: of cells; max: of samples
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
  const int32_t* cells;            // mean: those that a sample of the bin gives a weight, ascending
  const Acc* weights;              //       the samples' weights, added up per cell
  const Acc* start_weights;        //       the derivative by the RoI's low end; null if not needed
  const Acc* end_weights;          //       and by the high end
  const SampleTaps<Acc>* samples;  // max: the samples, in order
  int32_t even;                    // mean: cells of each bin if all have the same number; else 0
};

constexpr int32_t kMostEven = 4;

template <class Acc>
struct RoiStencil {
  AxisStencil<Acc> y, x;
};

constexpr int kRowSlots = 8;

// `scratch`: kRowSlots rows of bins [PW][16], three times that for the gradient of RoIs.
template <class Acc>
struct RoiAlignMeanKernels {
  void (*forward)(Acc* result, Block<const Acc> input, const RoiStencil<Acc>& roi, Acc* scratch);
  void (*grad_input)(Block<Acc> grad_input, const Acc* grad, const RoiStencil<Acc>& roi,
                     Acc* scratch);
  // sums[4][16]: gradients of x1, y1, x2, y2 per lane, added to.
  void (*grad_rois)(Acc* sums, Block<const Acc> input, const Acc* grad, const RoiStencil<Acc>& roi,
                    Acc* scratch);
};

template <class Acc>
struct RoiAlignMaxKernels {
  void (*forward)(Acc* result, Block<const Acc> input, const RoiStencil<Acc>& roi);
  // result: `values` at the winning samples.
  void (*directional)(Acc* result, Block<const Acc> input, Block<const Acc> values,
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
