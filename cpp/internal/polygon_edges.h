// COCO's polygons: where an edge changes what is inside, column by column. One rule for the CPU and
// a GPU. No floating-point contraction.
#pragma once

#include <cmath>
#include <cstdint>

#include "roiops/config.h"

namespace roiops {

constexpr int64_t kFine = 5;          // points per pixel and axis
constexpr double kFarthest = 0x1p40;  // sums of coordinates and rounding are exact up to here

// One axis of a box, which a target of `size` pixels covers.
struct TargetSide {
  bool usable;  // the box is finite there
  double corner, length;
  int64_t size;

  // A vertex on the grid of points.
  ROIOPS_HD int64_t point(double at) const {
    const double scaled =
        static_cast<double>(kFine) * ((at - corner) * static_cast<double>(size) / length) + 0.5;
    if (!(scaled > -kFarthest)) return -static_cast<int64_t>(kFarthest);
    return static_cast<int64_t>(scaled < kFarthest ? scaled : kFarthest);
  }
};

ROIOPS_INLINE TargetSide target_side(double low, double high, int64_t size) {
  const double length = high - low;
  return {std::isfinite(low) && std::isfinite(length), low, length < 1.0 ? 1.0 : length, size};
}

struct GridPoint {
  int64_t x, y;
};

// An edge is a line that takes one step per point along its longer direction, and rounds the other.
// Its step between the points 2 and 3 of a pixel column changes sides below the upper end of the
// step; it has such steps in the columns [first, end).
struct PolygonEdge {
  GridPoint from;
  bool wide;
  int64_t down, first, end;
  double slope;

  // Of a column the first row of `height` that changes sides; `height`: none.
  ROIOPS_HD double row(int64_t column, int64_t height) const {
    const int64_t x = kFine * column + 2;
    double y;
    if (wide) {
      const double one = rounded(x - from.x), other = rounded(x + 1 - from.x);
      y = other < one ? other : one;
    } else {
      y = static_cast<double>(from.y + step_past(x) - 1);
    }
    const double at = (y + 0.5) / kFine - 0.5, most = static_cast<double>(height);
    const double under = at < most ? at : most;
    return std::ceil(under > 0.0 ? under : 0.0);
  }

 private:
  ROIOPS_HD double rounded(int64_t step) const {
    return std::trunc(static_cast<double>(from.y) + slope * static_cast<double>(step) + 0.5);
  }
  // The first of the steps 1 .. down of a steep line that is on the other side of x than step 0.
  ROIOPS_HD int64_t step_past(int64_t x) const {
    int64_t before = 0, past = down;
    while (past - before > 1) {
      const int64_t step = before + (past - before) / 2;
      const double at = static_cast<double>(from.x) + slope * static_cast<double>(step) + 0.5;
      ((at >= static_cast<double>(x + 1)) == (slope > 0) ? past : before) = step;
    }
    return past;
  }
};

// Within the columns [begin, end).
ROIOPS_INLINE PolygonEdge polygon_edge(GridPoint a, GridPoint b, int64_t begin, int64_t end) {
  const int64_t dx = b.x - a.x, dy = b.y - a.y;
  const int64_t across = dx < 0 ? -dx : dx, down = dy < 0 ? -dy : dy;
  const bool wide = across >= down;
  const GridPoint from = (wide ? dx : dy) < 0 ? b : a;
  const int64_t left = a.x < b.x ? a.x : b.x, right = a.x < b.x ? b.x : a.x;
  const int64_t first = left <= 2 ? 0 : (left - 2 + kFine - 1) / kFine;
  const int64_t past = right < 3 ? 0 : (right - 3) / kFine + 1;
  PolygonEdge edge{from, wide, down, first > begin ? first : begin, past < end ? past : end, 0.0};
  if (edge.first < edge.end)
    edge.slope = wide ? static_cast<double>(dx < 0 ? -dy : dy) / static_cast<double>(across)
                      : static_cast<double>(dy < 0 ? -dx : dx) / static_cast<double>(down);
  return edge;
}

}  // namespace roiops
