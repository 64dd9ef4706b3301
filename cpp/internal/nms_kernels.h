// The inner loops of NMS: one candidate against a run of kept boxes, or a kept box against the tree
// of those that are left.
#pragma once

#include <cstdint>

#include "internal/box_tree_kernels.h"
#include "roiops/isa.h"

namespace roiops {

template <class T>
struct KeptBoxes {  // one array per number, readable up to a multiple of 16: NaN at the end
  const T *x1, *y1, *x2, *y2, *area;
  int64_t count;
};

template <class T>
struct NmsKernels {
  // Whether any kept box has an IoU greater than `threshold` with `box`.
  bool (*suppressed)(const T* box, const KeptBoxes<T>& kept, T threshold, T one);
  // Takes box `kept` out of the tree, and all whose IoU with it is greater than `threshold`.
  void (*suppress)(const BoxTreeView<T>& tree, int64_t kept, T threshold, T one);
};

ROIOPS_DECLARE_KERNELS(NmsKernels<float>, nms_float)
ROIOPS_DECLARE_KERNELS(NmsKernels<double>, nms_double)

}  // namespace roiops
