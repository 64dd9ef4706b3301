// What match_boxes refuses, on the CPU and on a GPU.
#pragma once

#include "roiops/check.h"
#include "roiops/match_boxes.h"

namespace roiops {

// How many boxes there are in all.
inline int64_t check_match_boxes(const Array& matched_idxs, const Array& labels, const Array& ious,
                                 const MatchArgs& args) {
  const char* op = "match_boxes";
  const size_t images = args.targets.size();
  if (images == 0 || (args.boxes.size() != 1 && args.boxes.size() != images))
    throw std::invalid_argument(message(op,
                                        ": boxes must be one array, or one per array of targets (",
                                        images, "); got ", args.boxes.size()));
  check_floating(op, "boxes", args.boxes[0]);
  const DType dtype = args.boxes[0].dtype;
  for (const Array& targets : args.targets) {
    check_shape(op, "targets", targets, {-1, 4});
    check_dtype(op, "targets", targets, dtype);
    if (targets.shape[0] > INT32_MAX)
      throw std::invalid_argument("match_boxes: targets must be fewer than 2^31");
  }
  int64_t total = 0;
  for (size_t i = 0; i < images; ++i) {
    const Array& boxes = args.boxes[args.boxes.size() == 1 ? 0 : i];
    check_shape(op, "boxes", boxes, {-1, 4});
    check_dtype(op, "boxes", boxes, dtype);
    total += boxes.shape[0];
  }
  for (const Array* out : {&matched_idxs, &labels, &ious}) {
    check_shape(op, "an output", *out, {total});
    if (total > 1 && out->stride[0] != 1)
      throw std::invalid_argument("match_boxes: outputs must be contiguous");
  }
  check_dtype(op, "matched_idxs", matched_idxs, DType::int64);
  check_dtype(op, "labels", labels, DType::int8);
  check_dtype(op, "ious", ious, dtype);
  return total;
}

}  // namespace roiops
