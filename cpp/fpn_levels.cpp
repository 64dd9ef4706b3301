#include "roiops/fpn_levels.h"

#include "internal/fpn_levels_check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {

void fpn_levels(const Array& levels, const Array& boxes, int64_t min_level,
                const std::vector<double>& thresholds, const Execution& execution) {
  check_fpn_levels(levels, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> smallest(thresholds.begin(), thresholds.end());
    const int64_t count = static_cast<int64_t>(smallest.size());
    parallel_ranges(boxes.shape[0], 4096, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T box[4] = {boxes.at<T>(i, 0), boxes.at<T>(i, 1), boxes.at<T>(i, 2),
                          boxes.at<T>(i, 3)};
        levels.at<int64_t>(i) = min_level + levels_reached(box, smallest.data(), count);
      }
    });
  });
}

}  // namespace roiops
