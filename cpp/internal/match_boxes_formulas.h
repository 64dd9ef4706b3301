// What the greatest IoU of a box with any target says, on the CPU and on a GPU.
#pragma once

#include <cstdint>

#include "roiops/config.h"

namespace roiops {

template <class T>
ROIOPS_INLINE int8_t match_label(T iou, T high, T low, bool any_targets) {
  const int label = iou >= high ? 1 : iou < low ? 0 : -1;
  return static_cast<int8_t>(any_targets ? label : 0);
}

}  // namespace roiops
