// Pastes predicted masks into the picture, and gives each as the run lengths of COCO.
//
// Arguments as of paste_masks, with a threshold. The result is one text per mask: the `counts` of
// COCO's compressed encoding of the (height, width) picture that paste_masks gives, byte for byte.
//
// Runs of zeros and ones alternate down the columns, zeros first. Each length from the fourth on is
// written less the one two before it; a number is cut into groups of five bits in two's complement,
// the lowest first, and a group is a character from '0' on, or from 'P' on where another follows.
#pragma once

#include <string>
#include <vector>

#include "roiops/paste_masks.h"

namespace roiops {

std::vector<std::string> paste_masks_rle(const PasteMasksArgs& args, int64_t height, int64_t width);

}  // namespace roiops
