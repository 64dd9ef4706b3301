#include "roiops/remove_small_boxes.h"

#include "roiops/check.h"

namespace roiops {

int64_t remove_small_boxes(const Array& keep, const Array& boxes, double min_size) {
  const char* op = "remove_small_boxes";
  check_floating(op, "boxes", boxes);
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, "keep", keep, {boxes.shape[0]});
  check_dtype(op, "keep", keep, DType::int64);
  return dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T least = static_cast<T>(min_size);
    int64_t count = 0;
    for (int64_t i = 0; i < boxes.shape[0]; ++i) {
      keep.at<int64_t>(count) = i;  // overwritten by the next box if this one is small
      count += boxes.at<T>(i, 2) - boxes.at<T>(i, 0) >= least &&
               boxes.at<T>(i, 3) - boxes.at<T>(i, 1) >= least;
    }
    return count;
  });
}

}  // namespace roiops
