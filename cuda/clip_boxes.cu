// Boxes clamped to an image and their gradients, a thread for each coordinate, so that a warp's
// accesses lie side by side. Bytes moved: the boxes before and after; of gradients, a third array.
#include "each.cuh"
#include "internal/clip_boxes_check.h"
#include "internal/clip_boxes_formulas.h"
#include "roiops/clip_boxes.h"

namespace roiops {
namespace cuda {
namespace {

template <class T>
struct Clip {
  Strided<T> clipped;
  Strided<const T> boxes;
  ClipLimits<T> limits;

  __device__ void operator()(int64_t coordinate) const {
    const int64_t i = coordinate / 4, c = coordinate % 4;
    clipped.at(i, c) = clip_coordinate(boxes.at(i, c), c % 2 ? limits.most[1] : limits.most[0]);
  }
};

template <class T>
struct ClipGradient {
  Strided<T> grad_boxes;
  Strided<const T> grad_clipped, boxes;
  ClipLimits<T> limits;

  __device__ void operator()(int64_t coordinate) const {
    const int64_t i = coordinate / 4, c = coordinate % 4;
    grad_boxes.at(i, c) = clip_gradient(boxes.at(i, c), c % 2 ? limits.most[1] : limits.most[0],
                                        grad_clipped.at(i, c));
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void clip_boxes(const Array& clipped, const Array& boxes, ImageSize size,
                const Execution& execution) {
  check_clip_boxes(clipped, boxes);
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    for_each("clip_boxes_to_image", boxes.size(), execution,
             Clip<T>{Strided<T>(clipped), Strided<const T>(boxes), ClipLimits<T>(size)});
  };
  boxes.dtype == DType::int64 ? fill(int64_t{}) : dispatch_float(boxes.dtype, fill);
}

void clip_boxes_backward(const Array& grad_boxes, const Array& grad_clipped, const Array& boxes,
                         ImageSize size, const Execution& execution) {
  check_clip_boxes_backward(grad_boxes, grad_clipped, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("clip_boxes_to_image_backward", boxes.size(), execution,
             ClipGradient<T>{Strided<T>(grad_boxes), Strided<const T>(grad_clipped),
                             Strided<const T>(boxes), ClipLimits<T>(size)});
  });
}

}  // namespace roiops
