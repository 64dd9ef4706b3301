// What the operators on keypoints refuse, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"

namespace roiops {

inline void check_keypoints_to_heatmap(const Array& cells, const Array& valid,
                                       const Array& keypoints, const Array& boxes, int64_t size) {
  const char* op = "keypoints_to_heatmap";
  check_floating(op, "keypoints", keypoints);
  check_shape(op, "keypoints", keypoints, {-1, -1, 3});
  const int64_t n = keypoints.shape[0], each = keypoints.shape[1];
  check_shape(op, "boxes", boxes, {n, 4});
  check_dtype(op, "boxes", boxes, keypoints.dtype);
  for (const Array* out : {&cells, &valid}) {
    check_shape(op, "out", *out, {n, each});
    check_dtype(op, "out", *out, DType::int64);
  }
  if (size < 1 || size > int64_t{1} << 30)
    throw std::invalid_argument(message(op, ": size must be from 1 to 2^30; got ", size));
}

inline void check_heatmaps_to_keypoints(const Array& keypoints, const Array& heatmaps,
                                        const Array& boxes) {
  const char* op = "heatmaps_to_keypoints";
  check_floating(op, "heatmaps", heatmaps);
  check_shape(op, "heatmaps", heatmaps, {-1, -1, -1, -1});
  const int64_t n = heatmaps.shape[0], each = heatmaps.shape[1];
  check_shape(op, "boxes", boxes, {n, 4});
  check_dtype(op, "boxes", boxes, heatmaps.dtype);
  check_shape(op, "keypoints", keypoints, {n, each, 3});
  check_dtype(op, "keypoints", keypoints, heatmaps.dtype);
  if (heatmaps.shape[2] < 1 || heatmaps.shape[3] < 1)
    throw std::invalid_argument(
        message(op, ": heatmaps must have cells; got ", shape_text(heatmaps)));
}

}  // namespace roiops
