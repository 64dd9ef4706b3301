// What crop_masks refuses, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"
#include "roiops/crop_masks.h"
#include "roiops/geometry.h"

namespace roiops {

inline void check_crop_masks(const Array& out, const CropMasksArgs& args) {
  const char* op = "crop_masks";
  const Array& masks = args.masks;
  if (masks.dtype != DType::uint8) check_features(op, "masks", masks);
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "masks", masks, {-1, -1, -1});
  const int64_t n = masks.shape[0];
  check_shape(op, "boxes", args.boxes, {n, 4});
  check_shape(op, "out", out, {n, -1, -1});
  const DType mean = masks.dtype == DType::float64 ? DType::float64 : DType::float32;
  check_dtype(op, "out", out, args.aligned ? DType::uint8 : mean);
  for (int side = 1; side < 3; ++side)
    if (masks.shape[side] < 1 || masks.shape[side] > kMaxMapSide || out.shape[side] < 1)
      throw std::invalid_argument(
          message(op, ": masks must have sides of 1 to 2^30, and size be at least 1"));
}

}  // namespace roiops
