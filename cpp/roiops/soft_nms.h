// Soft-NMS: a box that overlaps a better one is not suppressed, its score is lowered.
//
// boxes   (N, 4) x1, y1, x2, y2; float32 or float64; IoU and factor are computed in this type
// scores  (N,) float32 or float64; multiplied and compared with the threshold in this type
// idxs    (N,) int64 group of each box, or data == nullptr: boxes of different groups never meet
// keep    (N,) int64 out: the first `return value` elements are indices in the order of selection,
//         which is that of descending final score, equal ones by lower index
// new_scores (N,) of the scores' type, out: the scores with which they were selected
//
// Again and again the box of the greatest score that is left is selected (of equal ones that of the
// lowest index), and the scores of the others are multiplied by a factor: linear: 1 - IoU where
// IoU > iou_threshold; gaussian: exp(-IoU^2 / sigma). A box whose score is not at least the score
// threshold (at least 0), from the start or after a decay, is dropped; so is one of a NaN score.
// hard: dropped where IoU > iou_threshold, as in nms. A box with a non-finite coordinate neither
// decays others nor is decayed. Time grows with N times the number of boxes that one overlaps (by
// more than the threshold), memory with N.
//
// Source: Bodla et al., Soft-NMS (2017).
#pragma once

#include "roiops/array.h"
#include "roiops/decay.h"
#include "roiops/execution.h"

namespace roiops {

struct SoftNmsArgs {
  Array boxes, scores, idxs;
  Decay method = Decay::linear;
  double iou_threshold = 0.3;
  double sigma = 0.5;
  double score_threshold = 0.001;
  Execution execution;
};

int64_t soft_nms(const Array& keep, const Array& new_scores, const SoftNmsArgs& args);

}  // namespace roiops
