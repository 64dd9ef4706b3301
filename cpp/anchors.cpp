#include "roiops/anchors.h"

#include <array>
#include <cmath>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

using Anchor = std::array<double, 4>;

Anchor centred(double x, double y, double half_width, double half_height) {
  return {x - half_width, y - half_height, x + half_width, y + half_height};
}

std::vector<Anchor> cell_anchors(const GridAnchorArgs& args) {
  std::vector<Anchor> cell;
  switch (args.convention) {
    case AnchorConvention::torchvision:
      for (double ratio : args.aspect_ratios) {
        for (double size : args.sizes) {
          const double root = std::sqrt(ratio);
          Anchor a = centred(0, 0, 1 / root * size / 2, root * size / 2);
          for (double& side : a) side = std::nearbyint(side);
          cell.push_back(a);
        }
      }
      break;
    case AnchorConvention::detectron2:
      for (double size : args.sizes) {
        for (double ratio : args.aspect_ratios) {
          const double width = std::sqrt(size * size * (1 / ratio));
          cell.push_back(centred(0, 0, width / 2, width * ratio / 2));
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
              centred(middle, middle, (width * scale - 1) / 2, (height * scale - 1) / 2));
        }
      }
      break;
  }
  return cell;
}

}  // namespace

void grid_anchors(const Array& out, const GridAnchorArgs& args) {
  const std::vector<Anchor> cell = cell_anchors(args);
  const int64_t per_cell = static_cast<int64_t>(cell.size());
  check_floating("grid_anchors", "out", out);
  check_shape("grid_anchors", "out", out, {args.height * args.width * per_cell, 4});
  dispatch_float(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(args.height, 16, args.threads, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) {
        for (int64_t x = 0; x < args.width; ++x) {
          const double shift[2] = {static_cast<double>(x) * args.stride_x,
                                   static_cast<double>(y) * args.stride_y};
          const int64_t row = (y * args.width + x) * per_cell;
          for (int64_t a = 0; a < per_cell; ++a)
            for (int side = 0; side < 4; ++side)
              out.at<T>(row + a, side) = static_cast<T>(shift[side & 1] + cell[a][side]);
        }
      }
    });
  });
}

}  // namespace roiops
