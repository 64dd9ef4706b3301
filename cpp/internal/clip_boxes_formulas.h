// The clamp of a coordinate to an image, and where its gradient passes.
#pragma once

#include "roiops/clip_boxes.h"
#include "roiops/config.h"

namespace roiops {

// The upper limit of each of a box's coordinates.
template <class T>
struct ClipLimits {
  T most[4];
  explicit ClipLimits(ImageSize size)
      : most{static_cast<T>(size.width), static_cast<T>(size.height), static_cast<T>(size.width),
             static_cast<T>(size.height)} {}
};

template <class T>
ROIOPS_INLINE T clip_coordinate(T x, T most) {
  const T low = x < T(0) ? T(0) : x;
  return low > most ? most : low;
}

template <class T>
ROIOPS_INLINE T clip_gradient(T x, T most, T by_clipped) {
  return x >= T(0) && x <= most ? by_clipped : T(0);
}

}  // namespace roiops
