// The inner loops of RoIPool: one RoI, one block of 16 channels (see channel_blocks.h).
#pragma once

#include <cstdint>

#include "internal/block.h"
#include "roiops/isa.h"

namespace roiops {

struct CellRange {
  int32_t begin, end;
};

struct PoolBins {
  const CellRange *y, *x;
  int64_t rows, cols;  // bins
};

template <class Acc>
struct RoiPoolKernels {
  void (*forward)(Acc* result, Block<const Acc> input, const PoolBins& bins);
  // result: `values` at the winning cells. `width`: the map's; it has less than 2^31 cells.
  void (*directional)(Acc* result, Block<const Acc> input, Block<const Acc> values, int32_t width,
                      const PoolBins& bins);
  // grad_input: the whole map, [H][W][16].
  void (*grad_input)(Acc* grad_input, Block<const Acc> input, const Acc* grad, int32_t width,
                     const PoolBins& bins);
};

ROIOPS_DECLARE_KERNELS(RoiPoolKernels<float>, roi_pool_float)
ROIOPS_DECLARE_KERNELS(RoiPoolKernels<double>, roi_pool_double)

}  // namespace roiops
