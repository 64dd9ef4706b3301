// Boxes clamped to an image: x to [0, width], y to [0, height] (the far edge is `width`, not
// `width - 1`, as in torchvision and detectron2). NaN stays NaN.
//
// boxes, clipped (N, 4) x1, y1, x2, y2; float32, float64 or int64
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct ImageSize {
  double height, width;
};

void clip_boxes(const Array& clipped, const Array& boxes, ImageSize size,
                const Execution& execution);

// The gradient passes where the coordinate lies in the image, its edges included. No integers.
void clip_boxes_backward(const Array& grad_boxes, const Array& grad_clipped, const Array& boxes,
                         ImageSize size, const Execution& execution);

}  // namespace roiops
