#include "roiops/fpn_levels.h"

#include <limits>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {

void fpn_levels(const Array& levels, const Array& boxes, int64_t min_level,
                const std::vector<double>& thresholds, const Execution& execution) {
  check_floating("fpn_levels", "boxes", boxes);
  check_shape("fpn_levels", "boxes", boxes, {-1, 4});
  check_shape("fpn_levels", "levels", levels, {boxes.shape[0]});
  check_dtype("fpn_levels", "levels", levels, DType::int64);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> smallest(thresholds.begin(), thresholds.end());
    parallel_ranges(boxes.shape[0], 4096, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T area =
            (boxes.at<T>(i, 2) - boxes.at<T>(i, 0)) * (boxes.at<T>(i, 3) - boxes.at<T>(i, 1));
        int64_t level = min_level;
        if (area > 0 && area <= std::numeric_limits<T>::max())
          for (T least : smallest) level += area >= least;
        levels.at<int64_t>(i) = level;
      }
    });
  });
}

}  // namespace roiops
