// Intersection over union of every box of one list with every box of another, and the three
// measures that go on where boxes do not meet. With the hull, the smallest box around both:
//
//   iou          overlap / union
//   generalized  IoU - (hull - union) / hull, of areas (Rezatofighi et al., 2019)
//   distance     IoU - (distance of the centres / diagonal of the hull)^2 (Zheng et al., 2020)
//   complete     distance - alpha v (same paper), where alpha = v / (1 - IoU + v) and
//                v = (2 / pi (atan(w1 / h1) - atan(w2 / h2)))^2
//
// `eps` is added to the squared diagonal and to alpha's denominator, as torchvision does.
// boxes1 (B, N, 4), boxes2 (B, M, 4) x1, y1, x2, y2; all arrays float32 or all float64
// values (B, N, M), contiguous. An empty union has IoU 0; a pair whose union overflows or is NaN is
//        worth 0 whatever the kind; another term that is not finite (an empty hull, a box without
//        width and height) counts nothing.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

enum class IouKind { iou, generalized, distance, complete };

struct BoxIouArgs {
  Array boxes1, boxes2;
  IouKind kind = IouKind::iou;
  double eps = 1e-7;      // of `distance` and `complete`
  bool plus_one = false;  // of `iou`: legacy convention, width = x2 - x1 + 1
  Execution execution;
};

void box_iou(const Array& values, const BoxIouArgs& args);

// Every element of both results is written; sums run over the other list in ascending order. Where
// two boxes share a side, each has half of that side's gradient (as torch's minimum and maximum); a
// term that counts nothing has none. alpha is held constant.
void box_iou_backward(const Array& grad_boxes1, const Array& grad_boxes2, const Array& grad_values,
                      const BoxIouArgs& args);

}  // namespace roiops
