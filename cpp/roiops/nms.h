// Non-maximum suppression, plain and by groups.
//
// boxes   (N, 4) x1, y1, x2, y2; float32 or float64; IoU and threshold are computed in this type
// scores  (N,) float32 or float64
// idxs    (N,) int64 group of each box, or data == nullptr: boxes of different groups never meet
// keep    (N,) int64 out: the first `return value` elements are the kept indices by descending
//         score, equal scores by lower index, NaN scores last
//
// A box is suppressed if its IoU with a kept box of higher rank is greater than the threshold. A
// box with a non-finite coordinate neither suppresses nor is suppressed; one with a NaN score does
// not suppress. Time grows with N times the number of boxes that share a place, memory with N.
#pragma once

#include "roiops/array.h"

namespace roiops {

struct NmsArgs {
  Array boxes, scores, idxs;
  double iou_threshold = 0.5;
  bool plus_one = false;
  int threads = 1;
};

int64_t nms(const Array& keep, const NmsArgs& args);

}  // namespace roiops
