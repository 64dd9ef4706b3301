// The inner loop of box_iou: one box against a list, one array per coordinate.
#pragma once

#include <cstdint>

#include "roiops/isa.h"

namespace roiops {

template <class T>
struct BoxIouKernels {
  void (*row)(T* iou, const T* box, const T* x1, const T* y1, const T* x2, const T* y2,
              int64_t count, T one);
};

ROIOPS_DECLARE_KERNELS(BoxIouKernels<float>, box_iou_float)
ROIOPS_DECLARE_KERNELS(BoxIouKernels<double>, box_iou_double)

}  // namespace roiops
