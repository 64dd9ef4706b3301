// What soft_nms refuses, and what it makes of its options, on the CPU and on a GPU.
#pragma once

#include "internal/soft_nms_kernels.h"
#include "roiops/check.h"
#include "roiops/soft_nms.h"

namespace roiops {

template <class T>
DecayRule<T> decay_rule(const SoftNmsArgs& args) {
  return {args.method, static_cast<T>(args.iou_threshold), static_cast<T>(args.sigma)};
}

inline void check_soft_nms(const Array& keep, const Array& new_scores, const SoftNmsArgs& args) {
  const char* op = "soft_nms";
  check_floating(op, "boxes", args.boxes);
  check_floating(op, "scores", args.scores);
  check_shape(op, "boxes", args.boxes, {-1, 4});
  const int64_t n = args.boxes.shape[0];
  check_shape(op, "scores", args.scores, {n});
  check_shape(op, "keep", keep, {n});
  check_dtype(op, "keep", keep, DType::int64);
  check_shape(op, "new_scores", new_scores, {n});
  check_dtype(op, "new_scores", new_scores, args.scores.dtype);
  if (args.idxs.data) {
    check_shape(op, "idxs", args.idxs, {n});
    check_dtype(op, "idxs", args.idxs, DType::int64);
  }
  if (!(args.iou_threshold >= 0.0 && args.iou_threshold <= 1.0))
    throw std::invalid_argument(
        message(op, ": iou_threshold must be in [0, 1]; got ", args.iou_threshold));
  if (!(args.sigma > 0.0))
    throw std::invalid_argument(message(op, ": sigma must be greater than 0; got ", args.sigma));
  if (!(args.score_threshold >= 0.0))
    throw std::invalid_argument(
        message(op, ": score_threshold must be at least 0; got ", args.score_threshold));
}

}  // namespace roiops
