// Non-maximum suppression, plain and by groups, of one image or of several.
//
// boxes    (N, 4) x1, y1, x2, y2; float32 or float64; IoU and threshold are computed in this type
// scores   (N,) float32 or float64
// idxs     (N,) int64 group of each box, or data == nullptr: boxes of different groups never meet
// keep     (N,) int64 out: the first `return value` elements are the kept indices by descending
//          score, equal scores by lower index, NaN scores last
//
// A box is suppressed if its IoU with a kept box of higher rank is greater than the threshold. A
// box with a non-finite coordinate neither suppresses nor is suppressed; one with a NaN score does
// not suppress. With a score threshold only boxes of a greater score take part (compared in the
// scores' type). Time is near linear in N for boxes as detectors propose them, and grows faster
// where many kept boxes overlap; memory is linear.
#pragma once

#include <optional>

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct NmsArgs {
  Array boxes, scores, idxs;
  double iou_threshold = 0.5;
  bool plus_one = false;
  std::optional<double> score_threshold = std::nullopt;
  Execution execution;
};

int64_t nms(const Array& keep, const NmsArgs& args);

// Images that have nothing to do with each other: boxes (B, N, 4), scores and idxs (B, N).
//
// indices  (B, M) int64 out: of each image the first M of what nms keeps, then -1
// counts   (B,) int64 out: how many there are, at most M
void padded_nms(const Array& indices, const Array& counts, const NmsArgs& args);

}  // namespace roiops
