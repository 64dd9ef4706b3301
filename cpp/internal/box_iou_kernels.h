// The inner loops of box_iou and its kin: one box against a list, one array per coordinate.
#pragma once

#include <cstdint>

#include "roiops/isa.h"

namespace roiops {

template <class T>
struct BoxColumns {
  const T *x1, *y1, *x2, *y2;
  const T* angle;  // atan(width / height) of each box; read by `complete` alone
  int64_t count;
};

template <class T>
struct BoxIouKernels {
  void (*iou)(T* out, const T* box, const BoxColumns<T>& others, T one);
  void (*generalized)(T* out, const T* box, const BoxColumns<T>& others);
  void (*distance)(T* out, const T* box, const BoxColumns<T>& others, T eps);
  void (*complete)(T* out, const T* box, T angle, const BoxColumns<T>& others, T eps);
};

ROIOPS_DECLARE_KERNELS(BoxIouKernels<float>, box_iou_float)
ROIOPS_DECLARE_KERNELS(BoxIouKernels<double>, box_iou_double)

}  // namespace roiops
