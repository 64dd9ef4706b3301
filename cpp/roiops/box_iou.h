// Intersection over union of every box of one list with every box of another; the overlap of two
// boxes is geometry.h's.
//
// boxes1 (N, 4), boxes2 (M, 4) x1, y1, x2, y2; all arrays float32 or all float64
// iou    (N, M), contiguous; an empty, overflowing or NaN union gives 0
#pragma once

#include "roiops/array.h"

namespace roiops {

struct BoxIouArgs {
  Array boxes1, boxes2;
  bool plus_one = false;  // legacy convention: width = x2 - x1 + 1
  int threads = 1;
};

void box_iou(const Array& iou, const BoxIouArgs& args);

// Every element of both results is written; sums run over the other list in ascending order. Where
// two boxes share a side, each has half of that side's gradient (as torch's minimum and maximum);
// an IoU that is 0 for want of a union has none.
void box_iou_backward(const Array& grad_boxes1, const Array& grad_boxes2, const Array& grad_iou,
                      const BoxIouArgs& args);

}  // namespace roiops
