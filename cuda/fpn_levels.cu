// The pyramid level of each box, a thread each. The thresholds are a parameter of the kernel: bytes
// moved are the boxes' and the levels'.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "compat.cuh"
#include "internal/fpn_levels_check.h"
#include "roiops/fpn_levels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kMostThresholds = 64;

template <class T>
struct Thresholds {
  T smallest[kMostThresholds];
};

template <class T>
struct Boxes {
  const T* data;
  int64_t box, side;  // strides
  int64_t count;
};

template <class T>
__global__ void assign_levels(Boxes<T> boxes, int64_t min_level, Thresholds<T> thresholds,
                              int count, int64_t* levels, int64_t stride) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= boxes.count) return;
  T box[4];
  for (int s = 0; s < 4; ++s) box[s] = boxes.data[i * boxes.box + s * boxes.side];
  levels[i * stride] = min_level + levels_reached(box, thresholds.smallest, count);
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void fpn_levels(const Array& levels, const Array& boxes, int64_t min_level,
                const std::vector<double>& thresholds, const Execution& execution) {
  check_fpn_levels(levels, boxes);
  if (thresholds.size() > kMostThresholds)
    throw std::invalid_argument(message("fpn_levels: max_level must be at most min_level + ",
                                        kMostThresholds, " on a GPU; got + ", thresholds.size()));
  const int64_t count = boxes.shape[0];
  if (count == 0) return;
  if (count > int64_t{kThreads} * 0x7fffffff)
    throw std::invalid_argument("fpn_levels: boxes are too many for a GPU's grid");
  check_device(execution.device);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    Thresholds<T> smallest{};
    std::copy(thresholds.begin(), thresholds.end(), smallest.smallest);
    const Boxes<T> from{boxes.at<T>(), boxes.stride[0], boxes.stride[1], count};
    const LaunchConfig config{dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)),
                              dim3(kThreads), 0, static_cast<cudaStream_t>(execution.stream)};
    check_launch("fpn_levels", launch("fpn_levels", assign_levels<T>, config, from, min_level,
                                      smallest, static_cast<int>(thresholds.size()),
                                      levels.at<int64_t>(), levels.stride[0]));
  });
}

}  // namespace roiops
