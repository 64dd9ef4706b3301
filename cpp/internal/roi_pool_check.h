// What RoIPool refuses, on the CPU and on a GPU, before anything is computed.
#pragma once

#include <limits>

#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/roi_pool.h"

namespace roiops {

inline void check_roi_pool(const char* op, const RoiPoolArgs& args, const Array& pooled,
                           const char* pooled_name) {
  check_features(op, "input", args.input);
  check_shape(op, "input", args.input, {-1, -1, -1, -1});
  const int64_t height = args.input.shape[2], width = args.input.shape[3];
  if (height < 1 || width < 1 || height > kMaxMapSide || width > kMaxMapSide ||
      height > std::numeric_limits<int32_t>::max() / width)
    throw std::invalid_argument(message(
        op, ": input must have sides of 1 to 2^30 and less than 2^31 cells per channel; got ",
        shape_text(args.input)));
  check_floating(op, "boxes", args.rois);
  check_shape(op, "boxes", args.rois, {-1, 5});
  check_shape(op, pooled_name, pooled, {args.rois.shape[0], args.input.shape[1], -1, -1});
  check_dtype(op, pooled_name, pooled, args.input.dtype);
  if (pooled.shape[2] < 1 || pooled.shape[3] < 1)
    throw std::invalid_argument(
        message(op, ": output_size must be at least 1; got ", shape_text(pooled)));
}

inline void check_like_input(const char* op, const char* name, const Array& a, const Array& input) {
  check_shape(op, name, a, {input.shape[0], input.shape[1], input.shape[2], input.shape[3]});
  check_dtype(op, name, a, input.dtype);
}

}  // namespace roiops
