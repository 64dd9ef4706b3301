// The anchors of a grid's first cell, and what grid_anchors refuses, on the CPU and on a GPU.
#pragma once

#include <array>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "roiops/anchors.h"
#include "roiops/check.h"
#include "roiops/config.h"

namespace roiops {

using Anchor = std::array<double, 4>;

inline Anchor anchor_around(double x, double y, double half_width, double half_height) {
  return {x - half_width, y - half_height, x + half_width, y + half_height};
}

inline std::vector<Anchor> cell_anchors(const GridAnchorArgs& args) {
  std::vector<Anchor> cell;
  switch (args.convention) {
    case AnchorConvention::torchvision:
      for (double ratio : args.aspect_ratios) {
        for (double size : args.sizes) {
          const double root = std::sqrt(ratio);
          Anchor a = anchor_around(0, 0, 1 / root * size / 2, root * size / 2);
          for (double& side : a) side = std::nearbyint(side);
          cell.push_back(a);
        }
      }
      break;
    case AnchorConvention::detectron2:
      for (double size : args.sizes) {
        for (double ratio : args.aspect_ratios) {
          const double width = std::sqrt(size * size * (1 / ratio));
          cell.push_back(anchor_around(0, 0, width / 2, width * ratio / 2));
        }
      }
      break;
    case AnchorConvention::detectron:
      for (double ratio : args.aspect_ratios) {
        const double stride = args.stride_x, middle = (stride - 1) / 2;
        const double width = std::nearbyint(std::sqrt(stride * stride / ratio));
        const double height = std::nearbyint(width * ratio);
        for (double size : args.sizes) {
          const double scale = size / stride;
          cell.push_back(
              anchor_around(middle, middle, (width * scale - 1) / 2, (height * scale - 1) / 2));
        }
      }
      break;
  }
  return cell;
}

// A side of a cell's anchor, moved to the i-th cell along its axis.
template <class T>
ROIOPS_INLINE T moved_side(double side, int64_t i, double stride) {
  return static_cast<T>(static_cast<double>(i) * stride + side);
}

inline void check_grid_anchors(const Array& out, const GridAnchorArgs& args, int64_t per_cell) {
  check_floating("grid_anchors", "out", out);
  check_shape("grid_anchors", "out", out, {args.height * args.width * per_cell, 4});
}

}  // namespace roiops
