#include "roiops/clip_boxes.h"

#include <type_traits>

#include "internal/clip_boxes_check.h"
#include "internal/clip_boxes_formulas.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 8192;

// The strides of columns are a constant 1 where that is so: a box then moves as one vector.
template <class T, class Column>
void clip(const Array& clipped, const Array& boxes, ImageSize size, const Execution& execution,
          Column to_column, Column from_column) {
  const ClipLimits<T> limits(size);
  parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = boxes.at<T>() + i * boxes.stride[0];
      T* to = clipped.at<T>() + i * clipped.stride[0];
      T box[4];
      for (int c = 0; c < 4; ++c) box[c] = from[c * from_column];
      for (int c = 0; c < 4; ++c) box[c] = clip_coordinate(box[c], limits.most[c]);
      for (int c = 0; c < 4; ++c) to[c * to_column] = box[c];
    }
  });
}

}  // namespace

void clip_boxes(const Array& clipped, const Array& boxes, ImageSize size,
                const Execution& execution) {
  check_clip_boxes(clipped, boxes);
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    const std::integral_constant<int64_t, 1> one;
    if (clipped.stride[1] == 1 && boxes.stride[1] == 1)
      clip<T>(clipped, boxes, size, execution.threads, one, one);
    else
      clip<T>(clipped, boxes, size, execution.threads, clipped.stride[1], boxes.stride[1]);
  };
  boxes.dtype == DType::int64 ? fill(int64_t{}) : dispatch_float(boxes.dtype, fill);
}

void clip_boxes_backward(const Array& grad_boxes, const Array& grad_clipped, const Array& boxes,
                         ImageSize size, const Execution& execution) {
  check_clip_boxes_backward(grad_boxes, grad_clipped, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const ClipLimits<T> limits(size);
    parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int c = 0; c < 4; ++c)
          grad_boxes.at<T>(i, c) =
              clip_gradient(boxes.at<T>(i, c), limits.most[c], grad_clipped.at<T>(i, c));
    });
  });
}

}  // namespace roiops
