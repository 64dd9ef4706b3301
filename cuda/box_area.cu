// Areas of boxes and their gradients, a thread for each box. Bytes moved: the boxes and the areas,
// and the gradients of both.
#include "box_rows.cuh"
#include "internal/box_area_check.h"
#include "internal/box_area_formulas.h"
#include "roiops/box_area.h"

namespace roiops {
namespace cuda {
namespace {

template <class T>
struct Area {
  Strided<T> area;
  Strided<const T> boxes;
  bool sized;

  __device__ void operator()(int64_t i) const {
    T box[4];
    load_row(box, boxes, i);
    area.at(i) = width_times_height(box, sized);
  }
};

template <class T>
struct AreaGradient {
  Strided<T> grad_boxes;
  Strided<const T> grad_area, boxes;
  bool sized;

  __device__ void operator()(int64_t i) const {
    T box[4], grad[4];
    load_row(box, boxes, i);
    area_gradient(grad, box, grad_area.at(i), sized);
    store_row(grad_boxes, i, grad);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void box_area(const Array& area, const Array& boxes, bool sized, const Execution& execution) {
  check_box_area(area, boxes);
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    for_each("box_area", boxes.shape[0], execution,
             Area<T>{Strided<T>(area), Strided<const T>(boxes), sized});
  };
  boxes.dtype == DType::int64 ? fill(int64_t{}) : dispatch_float(boxes.dtype, fill);
}

void box_area_backward(const Array& grad_boxes, const Array& grad_area, const Array& boxes,
                       bool sized, const Execution& execution) {
  check_box_area_backward(grad_boxes, grad_area, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("box_area_backward", boxes.shape[0], execution,
             AreaGradient<T>{Strided<T>(grad_boxes), Strided<const T>(grad_area),
                             Strided<const T>(boxes), sized});
  });
}

}  // namespace roiops
