// Which cell of a heatmap a keypoint lies in, and how a heatmap is resized to its box: one rule for
// the CPU and a GPU. No floating-point contraction.
#pragma once

#include <cmath>
#include <cstdint>

#include "roiops/config.h"
#include "roiops/keypoints.h"

namespace roiops {

// The cell of a coordinate between low and high, or -1 outside.
template <class T>
ROIOPS_INLINE int64_t cell_along(T at, T low, T high, int64_t size) {
  const T side = high - low;
  if (!(side > 0 && side < static_cast<T>(INFINITY))) return -1;
  if (at == high) return size - 1;
  const T cell = std::floor((at - low) * (static_cast<T>(size) / side));
  return cell >= 0 && cell < static_cast<T>(size) ? static_cast<int64_t>(cell) : -1;
}

// One side of a box, and the whole pixels that a heatmap is resized to along it.
template <class T>
struct ResizedSide {
  bool usable;  // the box is finite there
  int64_t pixels;
  T low, pixel;  // where it begins, how wide one of them is

  ROIOPS_HD T centre(int64_t i) const { return (static_cast<T>(i) + T(0.5)) * pixel + low; }
};

template <class T>
ROIOPS_INLINE ResizedSide<T> resized_side(T low, T high) {
  const T length = high - low, side = length < T(1) ? T(1) : length;
  ResizedSide<T> s{std::isfinite(low) && std::isfinite(high) && std::isfinite(side), 0, low, T(0)};
  if (!s.usable) return s;
  const T pixels = std::ceil(side), most = static_cast<T>(kMaxResizedSide);
  s.pixels = static_cast<int64_t>(pixels < most ? pixels : most);
  s.pixel = side / static_cast<T>(s.pixels);
  return s;
}

// A pixel of a resized axis reads the cells low - 1 .. low + 2, those beyond the edge at the edge.
template <class T>
struct BicubicTap {
  int64_t low;
  T weight[4];
};

// Keys' cubic, a = -0.75: at a distance up to 1, and from there to 2.
template <class T>
ROIOPS_INLINE T near_weight(T t) {
  constexpr T a = T(-0.75);
  return ((a + 2) * t - (a + 3)) * t * t + 1;
}
template <class T>
ROIOPS_INLINE T far_weight(T t) {
  constexpr T a = T(-0.75);
  return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
}

// Of pixel i; `ratio` is cells / pixels.
template <class T>
ROIOPS_INLINE BicubicTap<T> bicubic_tap(int64_t i, T ratio) {
  const T source = ratio * (static_cast<T>(i) + T(0.5)) - T(0.5);
  const T low = std::floor(source), t = source - low;
  return {static_cast<int64_t>(low),
          {far_weight(t + 1), near_weight(t), near_weight(1 - t), far_weight(2 - t)}};
}

ROIOPS_INLINE int64_t edge_cell(int64_t cell, int64_t cells) {
  return cell < 0 ? 0 : cell < cells ? cell : cells - 1;
}

template <class T>
ROIOPS_INLINE T weighted_sum(const T* weight, T a, T b, T c, T d) {
  return weight[0] * a + weight[1] * b + weight[2] * c + weight[3] * d;
}

}  // namespace roiops
