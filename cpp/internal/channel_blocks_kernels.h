// Copies between a map and [rows][cols][16]: a transposition where a map's channels lie apart, a
// conversion where its elements have 16 bits.
#pragma once

#include <cstdint>

#include "roiops/half.h"
#include "roiops/isa.h"

namespace roiops {

// 16 (or the last few) channels of one image of one map.
template <class T>
struct ChannelBlock {
  T* data;                     // of the block's first channel at cell (0, 0)
  int64_t channel, row, cell;  // strides in elements
  int lanes;
};

template <class T>
struct ChannelBlockKernels {
  using Acc = decltype(widen(T{}));
  // From the block's cell (0, 0) on; lanes past the last channel become 0.
  void (*load)(Acc* to, const ChannelBlock<T>& from, int64_t rows, int64_t cols);
  void (*store)(const ChannelBlock<T>& to, const Acc* from, int64_t rows, int64_t cols);
};

ROIOPS_DECLARE_KERNELS(ChannelBlockKernels<Float16>, channel_blocks_float16)
ROIOPS_DECLARE_KERNELS(ChannelBlockKernels<BFloat16>, channel_blocks_bfloat16)
ROIOPS_DECLARE_KERNELS(ChannelBlockKernels<float>, channel_blocks_float)
ROIOPS_DECLARE_KERNELS(ChannelBlockKernels<double>, channel_blocks_double)

}  // namespace roiops
