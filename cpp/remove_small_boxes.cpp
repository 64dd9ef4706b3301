#include "roiops/remove_small_boxes.h"

#include "internal/remove_small_boxes_check.h"

namespace roiops {

// In one thread: the work is little, and where a box goes depends on all before it.
int64_t remove_small_boxes(const Array& keep, const Array& boxes, double min_size,
                           const Execution&) {
  check_remove_small_boxes(keep, boxes);
  return dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T least = static_cast<T>(min_size);
    int64_t count = 0;
    for (int64_t i = 0; i < boxes.shape[0]; ++i) {
      keep.at<int64_t>(count) = i;  // overwritten by the next box if this one is small
      count += has_sides(boxes.at<T>(i, 0), boxes.at<T>(i, 1), boxes.at<T>(i, 2), boxes.at<T>(i, 3),
                         least);
    }
    return count;
  });
}

}  // namespace roiops
