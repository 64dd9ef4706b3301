// Which target a box (an anchor, a proposal) is responsible for (Faster R-CNN, section 3.1.2).
//
// targets       B arrays (G_i, 4) x1, y1, x2, y2, one per image
// boxes         B arrays (N_i, 4), or one (N, 4) that the images share
// outputs       contiguous, the images one after the other, sum of N_i elements each:
// matched_idxs  int64: the target of greatest IoU, the lowest index among equals; 0 if none
// labels        int8: 1 where that IoU is >= high, 0 where it is < low, else -1
// ious          that IoU, in the dtype of the boxes; 0 if there is no target
//
// All boxes and targets are float32 or all are float64; thresholds are rounded to that type.
// With allow_low_quality a box whose IoU with some target equals the greatest IoU of that target
// with any box, and is not 0, is labelled 1 too and keeps its own matched_idx. Without targets
// every label is 0. The (targets x boxes) matrix is never stored.
#pragma once

#include <vector>

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct MatchArgs {
  std::vector<Array> targets, boxes;
  double high, low;
  bool allow_low_quality;
  Execution execution;
};

void match_boxes(const Array& matched_idxs, const Array& labels, const Array& ious,
                 const MatchArgs& args);

}  // namespace roiops
