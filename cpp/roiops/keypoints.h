// Keypoints and heatmaps over a box. A heatmap lies over its box as a picture does: cell i of M
// covers [i, i + 1) / M of the side. Computed in the arrays' own type; all float arrays of a call
// have the same, float32 or float64.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

// The cell of each keypoint in a heatmap of size x size over its box.
//
// cells, valid (N, K) int64; keypoints (N, K, 3) x, y, visibility; boxes (N, 4)
// A cell is y * size + x with x = floor((x - x1) * (size / (x2 - x1))); x2 belongs to the last one.
// valid is 1, or 0 (with cell 0) where the visibility is not > 0, the keypoint is outside, or the
// box's sides are not positive and finite.
void keypoints_to_heatmap(const Array& cells, const Array& valid, const Array& keypoints,
                          const Array& boxes, int64_t size, const Execution& execution);

// Pixels along one side of a resized heatmap, at most: what a box of any size costs.
constexpr int64_t kMaxResizedSide = 4096;

// The place of each heatmap's maximum, at the resolution of the picture.
//
// keypoints (N, K, 3) x, y, score; heatmaps (N, K, H, W) with H, W > 0; boxes (N, 4)
// Each map is resized (bicubic, a = -0.75, half-pixel centres, edge cells repeated; along x, then
// y, the four products added in order) to ceil(max(side, 1)) pixels, at most kMaxResizedSide. The
// first of the greatest values (the first NaN, if there is one) is the score, the centre of its
// pixel in the exact box the place. A box whose corner or side is not finite gives zeros.
void heatmaps_to_keypoints(const Array& keypoints, const Array& heatmaps, const Array& boxes,
                           const Execution& execution);

}  // namespace roiops
