// The inner loop of NMS: one candidate against a run of kept boxes.
#pragma once

#include <cstdint>

#include "roiops/isa.h"

namespace roiops {

template <class T>
struct KeptBoxes {
  const T *x1, *y1, *x2, *y2;
  int64_t count;
};

template <class T>
struct NmsKernels {
  // Whether any kept box has an IoU greater than `threshold` with `box`.
  bool (*suppressed)(const T* box, const KeptBoxes<T>& kept, T threshold, T one);
};

ROIOPS_DECLARE_KERNELS(NmsKernels<float>, nms_float)
ROIOPS_DECLARE_KERNELS(NmsKernels<double>, nms_double)

}  // namespace roiops
