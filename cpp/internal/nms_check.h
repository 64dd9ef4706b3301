// What the suppressions refuse, on the CPU and on a GPU, before anything is computed.
#pragma once

#include "roiops/check.h"
#include "roiops/nms.h"

namespace roiops {

inline void check_candidates(const char* op, const NmsArgs& args, bool batched) {
  check_floating(op, "boxes", args.boxes);
  check_floating(op, "scores", args.scores);
  const int64_t b = args.boxes.shape[0], n = args.boxes.shape[batched];
  const auto check_rows = [&](const char* name, const Array& a) {
    if (batched)
      check_shape(op, name, a, {b, n});
    else
      check_shape(op, name, a, {n});
  };
  if (batched)
    check_shape(op, "boxes", args.boxes, {-1, -1, 4});
  else
    check_shape(op, "boxes", args.boxes, {-1, 4});
  check_rows("scores", args.scores);
  if (args.idxs.data) {
    check_rows("idxs", args.idxs);
    check_dtype(op, "idxs", args.idxs, DType::int64);
  }
  if (!(args.iou_threshold >= 0.0 && args.iou_threshold <= 1.0))
    throw std::invalid_argument(
        message(op, ": iou_threshold must be in [0, 1]; got ", args.iou_threshold));
}

inline void check_nms(const Array& keep, const NmsArgs& args) {
  check_candidates("nms", args, false);
  check_shape("nms", "keep", keep, {args.boxes.shape[0]});
  check_dtype("nms", "keep", keep, DType::int64);
}

inline void check_padded_nms(const Array& indices, const Array& counts, const NmsArgs& args) {
  check_candidates("padded_nms", args, true);
  const int64_t count = args.boxes.shape[0];
  check_shape("padded_nms", "indices", indices, {count, -1});
  check_dtype("padded_nms", "indices", indices, DType::int64);
  check_shape("padded_nms", "counts", counts, {count});
  check_dtype("padded_nms", "counts", counts, DType::int64);
}

}  // namespace roiops
