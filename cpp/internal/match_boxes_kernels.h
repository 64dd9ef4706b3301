// The inner loops of matching: a block of boxes against one target.
#pragma once

#include <cstdint>

#include "roiops/config.h"
#include "roiops/isa.h"

namespace roiops {

constexpr int kMatchBlock = 256;

template <class T>
struct MatchIndex {  // an integer as wide as T, so that both fill registers alike
  using type = int32_t;
};
template <>
struct MatchIndex<double> {
  using type = int64_t;
};

// Neighbouring boxes, one array per coordinate, the rest filled with NaN (whose IoU is 0), and
// their best target so far.
template <class T>
struct MatchBlock {
  T x1[kMatchBlock], y1[kMatchBlock], x2[kMatchBlock], y2[kMatchBlock];
  T best[kMatchBlock];
  typename MatchIndex<T>::type index[kMatchBlock];
};

// What a block's boxes span; NaN spans nothing.
template <class T>
struct MatchExtent {
  T x1, y1, x2, y2;
};

template <class T>
struct MatchKernels {
  // Box i has its sides at boxes[i * row + (0 to 3) * column].
  MatchExtent<T> (*load)(MatchBlock<T>& block, const T* boxes, int64_t row, int64_t column,
                         int64_t count);
  // Matches `target` with the block; the greatest IoU of the target in it.
  T (*update)(MatchBlock<T>& block, const T* target, typename MatchIndex<T>::type index);
  // ties[i] |= IoU of box i with the target equals `iou`.
  void (*find_ties)(int8_t* ties, const MatchBlock<T>& block, const T* target, T iou);
};

ROIOPS_DECLARE_KERNELS(MatchKernels<float>, match_boxes_float)
ROIOPS_DECLARE_KERNELS(MatchKernels<double>, match_boxes_double)

}  // namespace roiops
