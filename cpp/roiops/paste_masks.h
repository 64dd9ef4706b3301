// Pastes predicted masks into the picture, each in its box.
//
// masks (N, M, M) float32 or float64 probabilities; boxes (N, 4) float32 or float64, image pixels
// out   (N, H, W): uint8 (0 or 1) with a threshold, else the masks' dtype; every element is written
//
// torchvision: the mask gets `padding` cells of zeros on each side, and the box grows about its
//   centre as much, by (M + 2 padding) / M; it is truncated to whole pixels x1..x2 inclusive, and
//   the mask is resized to them (bilinear, half-pixel centres, clamped at its edge). 1 where the
//   value is > threshold.
// detectron2: every pixel centre is sampled in the exact box, with zeros around the mask. 1 where
//   the value is >= threshold. `padding` is not used.
// A box that is not finite or has no pixel leaves its picture empty.
#pragma once

#include <optional>

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

enum class PasteConvention { torchvision, detectron2 };

struct PasteMasksArgs {
  Array masks, boxes;
  std::optional<double> threshold;
  int64_t padding = 1;
  PasteConvention convention = PasteConvention::torchvision;
  Execution execution;
};

void paste_masks(const Array& out, const PasteMasksArgs& args);

}  // namespace roiops
