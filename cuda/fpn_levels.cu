// The pyramid level of each box, a thread each. The thresholds are a parameter of the kernel: bytes
// moved are the boxes' and the levels'.
#include <algorithm>
#include <stdexcept>

#include "each.cuh"
#include "internal/fpn_levels_check.h"
#include "roiops/fpn_levels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace cuda {
namespace {

constexpr size_t kMostThresholds = 64;

template <class T>
struct Level {
  Strided<int64_t> levels;
  Strided<const T> boxes;
  int64_t min_level;
  int count;
  T smallest[kMostThresholds];

  __device__ void operator()(int64_t i) const {
    T box[4];
    for (int side = 0; side < 4; ++side) box[side] = boxes.at(i, side);
    levels.at(i) = min_level + levels_reached(box, smallest, count);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void fpn_levels(const Array& levels, const Array& boxes, int64_t min_level,
                const std::vector<double>& thresholds, const Execution& execution) {
  check_fpn_levels(levels, boxes);
  if (thresholds.size() > kMostThresholds)
    throw std::invalid_argument(message("fpn_levels: max_level must be at most min_level + ",
                                        kMostThresholds, " on a GPU; got + ", thresholds.size()));
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    Level<T> level{Strided<int64_t>(levels),
                   Strided<const T>(boxes),
                   min_level,
                   static_cast<int>(thresholds.size()),
                   {}};
    std::copy(thresholds.begin(), thresholds.end(), level.smallest);
    for_each("fpn_levels", boxes.shape[0], execution, level);
  });
}

}  // namespace roiops
