// What pasting refuses, as pictures and as run lengths, on the CPU and on a GPU.
#pragma once

#include <limits>

#include "roiops/check.h"
#include "roiops/paste_masks.h"

namespace roiops {

inline void check_paste_args(const char* op, const PasteMasksArgs& args) {
  check_floating(op, "masks", args.masks);
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "masks", args.masks, {-1, -1, -1});
  const int64_t n = args.masks.shape[0];
  check_shape(op, "masks", args.masks, {n, args.masks.shape[1], args.masks.shape[1]});
  check_shape(op, "boxes", args.boxes, {n, 4});
  if (args.masks.shape[1] < 1 || args.padding < 0)
    throw std::invalid_argument(message(op, ": masks must have cells, and padding be at least 0"));
}

inline void check_paste_masks(const Array& out, const PasteMasksArgs& args) {
  const char* op = "paste_masks";
  check_paste_args(op, args);
  const int64_t n = args.masks.shape[0];
  check_shape(op, "out", out, {n, -1, -1});
  check_dtype(op, "out", out, args.threshold ? DType::uint8 : args.masks.dtype);
  if (n > 0 && out.shape[2] > 1 && out.stride[2] != 1)
    throw std::invalid_argument(message(op, ": out must have whole rows"));
}

inline void check_paste_masks_rle(const PasteMasksArgs& args, int64_t height, int64_t width) {
  const char* op = "paste_masks_rle";
  check_paste_args(op, args);
  if (!args.threshold) throw std::invalid_argument(message(op, ": threshold must be given"));
  if (height < 1 || width < 1 || height > std::numeric_limits<int64_t>::max() / width)
    throw std::invalid_argument(message(op, ": image_size must be at least 1 and not overflow"));
}

}  // namespace roiops
