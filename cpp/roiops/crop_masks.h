// Mask targets: RoIAlign of each mask in its own box, straight from the bitmap.
//
// masks (N, H, W) uint8, float16, bfloat16, float32 or float64, any strides; boxes (N, 4) float32
// or
//       float64, image pixels
// out   (N, h, w): float32 (float64 of float64 masks) without `aligned`, the mean of each bin's
//       samples as torchvision's mask loss has it; uint8 with it, 1 where that mean is >= 0.5,
//       as detectron2's BitMasks. Every element is written.
//
// As many samples per bin as its side asks for. The mean is computed in float64, in a fixed order,
// and divided once: for whole pixels a mean of exactly 1/2 stays one. A box that is not finite
// gives zeros.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct CropMasksArgs {
  Array masks, boxes;
  bool aligned = false;
  Execution execution;
};

void crop_masks(const Array& out, const CropMasksArgs& args);

}  // namespace roiops
