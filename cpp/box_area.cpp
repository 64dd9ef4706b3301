#include "roiops/box_area.h"

#include "internal/box_area_check.h"
#include "internal/box_area_formulas.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 8192;

}  // namespace

void box_area(const Array& area, const Array& boxes, bool sized, const Execution& execution) {
  check_box_area(area, boxes);
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T box[4];
        for (int c = 0; c < 4; ++c) box[c] = boxes.at<T>(i, c);
        area.at<T>(i) = width_times_height(box, sized);
      }
    });
  };
  boxes.dtype == DType::int64 ? fill(int64_t{}) : dispatch_float(boxes.dtype, fill);
}

void box_area_backward(const Array& grad_boxes, const Array& grad_area, const Array& boxes,
                       bool sized, const Execution& execution) {
  check_box_area_backward(grad_boxes, grad_area, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T box[4], grad[4];
        for (int c = 0; c < 4; ++c) box[c] = boxes.at<T>(i, c);
        area_gradient(grad, box, grad_area.at<T>(i), sized);
        for (int c = 0; c < 4; ++c) grad_boxes.at<T>(i, c) = grad[c];
      }
    });
  });
}

}  // namespace roiops
