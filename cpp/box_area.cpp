#include "roiops/box_area.h"

#include <type_traits>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 8192;

// Integers are computed as unsigned ones: their overflow is defined.
template <class T>
using Computed = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;

template <class T>
Computed<T> side(const Array& boxes, int64_t i, int axis, bool sized) {
  const auto high = static_cast<Computed<T>>(boxes.at<T>(i, axis + 2));
  return sized ? high : high - static_cast<Computed<T>>(boxes.at<T>(i, axis));
}

void check(const char* op, const char* name, const Array& area, const Array& boxes) {
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, name, area, {boxes.shape[0]});
  check_dtype(op, name, area, boxes.dtype);
}

}  // namespace

void box_area(const Array& area, const Array& boxes, bool sized, const Execution& execution) {
  check("box_area", "area", area, boxes);
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        area.at<T>(i) = static_cast<T>(side<T>(boxes, i, 0, sized) * side<T>(boxes, i, 1, sized));
    });
  };
  if (boxes.dtype == DType::int64) return fill(int64_t{});
  check_floating("box_area", "boxes", boxes);
  dispatch_float(boxes.dtype, fill);
}

void box_area_backward(const Array& grad_boxes, const Array& grad_area, const Array& boxes,
                       bool sized, const Execution& execution) {
  const char* op = "box_area_backward";
  check(op, "grad_output", grad_area, boxes);
  check_floating(op, "boxes", boxes);
  check_shape(op, "grad_boxes", grad_boxes, {boxes.shape[0], 4});
  check_dtype(op, "grad_boxes", grad_boxes, boxes.dtype);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int c = 0; c < 2; ++c) {
          const T by_side = grad_area.at<T>(i) * side<T>(boxes, i, 1 - c, sized);
          grad_boxes.at<T>(i, c) = sized ? T(0) : -by_side;
          grad_boxes.at<T>(i, c + 2) = by_side;
        }
    });
  });
}

}  // namespace roiops
