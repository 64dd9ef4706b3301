// The tight box around each mask, in two steps: a warp finds how far the set pixels of some rows of
// a mask reach, its lanes side by side along a row; then a thread joins what all warps of a mask
// have found.
//
// Bytes moved: the masks once, and 64 for each warp.
#include <algorithm>
#include <stdexcept>

#include "each.cuh"
#include "internal/mask_pixels.h"
#include "internal/masks_to_boxes_check.h"
#include "roiops/masks_to_boxes.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kWarps = kThreadsOfEach / 32;
constexpr int64_t kMostSlices = 64;      // of a mask: what the second step's thread reads
constexpr int64_t kFewestPixels = 1024;  // of a slice

// Of set pixels; without any, left > right.
struct Extent {
  int64_t left, top, right, bottom;

  __device__ void join(const Extent& other) {
    left = other.left < left ? other.left : left;
    top = other.top < top ? other.top : top;
    right = other.right > right ? other.right : right;
    bottom = other.bottom > bottom ? other.bottom : bottom;
  }
};

// How the rows of masks are shared out.
struct Slices {
  int64_t height, width, rows, of_mask;

  explicit Slices(const Array& masks)
      : height(masks.shape[1]), width(masks.shape[2]), rows(0), of_mask(0) {
    if (!height || !width) return;
    rows = std::max((height + kMostSlices - 1) / kMostSlices, (kFewestPixels + width - 1) / width);
    of_mask = (height + rows - 1) / rows;
  }
  ROIOPS_HD Extent nothing() const { return {width, height, -1, -1}; }
};

template <class T>
__global__ void find_extents(Strided<const T> masks, Slices slices, int64_t count,
                             Extent* extents) {
  const int lane = threadIdx.x % 32;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (i >= count) return;  // the whole warp
  const int64_t mask = i / slices.of_mask, first = i % slices.of_mask * slices.rows;
  Extent extent = slices.nothing();
  for (int64_t y = first; y < first + slices.rows && y < slices.height; ++y)
    for (int64_t x = lane; x < slices.width; x += 32)
      if (is_set(masks.at(mask, y, x))) extent.join({x, y, x, y});
  for (int bits = 16; bits > 0; bits /= 2)
    extent.join({__shfl_xor_sync(0xffffffffu, extent.left, bits),
                 __shfl_xor_sync(0xffffffffu, extent.top, bits),
                 __shfl_xor_sync(0xffffffffu, extent.right, bits),
                 __shfl_xor_sync(0xffffffffu, extent.bottom, bits)});
  if (lane == 0) extents[i] = extent;
}

struct JoinSlices {
  Strided<float> boxes;
  Slices slices;
  const Extent* extents;

  __device__ void operator()(int64_t mask) const {
    Extent all = slices.nothing();
    for (int64_t i = 0; i < slices.of_mask; ++i) all.join(extents[mask * slices.of_mask + i]);
    const int64_t sides[4] = {all.left, all.top, all.right, all.bottom};
    for (int side = 0; side < 4; ++side)
      boxes.at(mask, side) = all.right < 0 ? 0.0f : static_cast<float>(sides[side]);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void masks_to_boxes(const Array& boxes, const Array& masks, const Execution& execution) {
  const char* op = "masks_to_boxes";
  check_masks_to_boxes(boxes, masks);
  const Slices slices(masks);
  const int64_t count = masks.shape[0] * slices.of_mask;
  if (count > int64_t{kWarps} * 0x7fffffff)
    throw std::invalid_argument(message(op, ": masks are too many for a GPU's grid"));
  Extent* extents = nullptr;
  if (count) {
    check_device(execution.device);
    extents =
        static_cast<Extent*>(execution.workspace(static_cast<size_t>(count) * sizeof(Extent)));
    const LaunchConfig config{dim3(static_cast<unsigned>((count + kWarps - 1) / kWarps)),
                              dim3(kThreadsOfEach), 0, static_cast<cudaStream_t>(execution.stream)};
    dispatch_mask(masks.dtype, [&](auto zero) {
      using T = decltype(zero);
      check_launch(
          op, launch(op, find_extents<T>, config, Strided<const T>(masks), slices, count, extents));
    });
  }
  for_each(op, masks.shape[0], execution, JoinSlices{Strided<float>(boxes), slices, extents});
}

}  // namespace roiops
