// Boxes from one format to another and the gradients: one box, on the CPU and on a GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "roiops/box_convert.h"
#include "roiops/config.h"

namespace roiops {

constexpr double kPi = 3.14159265358979323846;

ROIOPS_INLINE bool is_rotated(BoxFormat format) { return format >= BoxFormat::xywhr; }
ROIOPS_INLINE int row_length(BoxFormat format) {
  return !is_rotated(format) ? 4 : format == BoxFormat::xyxyxyxy ? 8 : 5;
}

template <class T>
ROIOPS_INLINE T plus(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else
    return a + b;
}
template <class T>
ROIOPS_INLINE T minus(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  else
    return a - b;
}

// --- every conversion leads over xyxy or, rotated, over xywhr ---

// T is the corners' type: float where integers have a centre.
template <class T, class From>
ROIOPS_INLINE void to_xyxy(T* corners, const From* box, BoxFormat from) {
  for (int c = 0; c < 2; ++c) {
    const T first = static_cast<T>(box[c]), second = static_cast<T>(box[c + 2]);
    if (from == BoxFormat::cxcywh) {
      if constexpr (!std::is_integral_v<T>) {
        corners[c] = first - T(0.5) * second;
        corners[c + 2] = first + T(0.5) * second;
      }
    } else {
      corners[c] = first;
      corners[c + 2] = from == BoxFormat::xywh ? plus(first, second) : second;
    }
  }
}

template <class To, class T>
ROIOPS_INLINE void from_xyxy(To* box, const T* corners, BoxFormat to) {
  for (int c = 0; c < 2; ++c) {
    const T low = corners[c], high = corners[c + 2];
    box[c] = static_cast<To>(low);
    if (to == BoxFormat::cxcywh)
      if constexpr (!std::is_integral_v<To>) box[c] = static_cast<To>(plus(low, high)) / To(2);
    box[c + 2] = static_cast<To>(to == BoxFormat::xyxy ? high : minus(high, low));
  }
}

template <class T>
struct Turn {
  T cos, sin;
  ROIOPS_HD explicit Turn(T degrees) {
    const T angle = degrees * T(kPi) / T(180);
    cos = std::cos(angle);
    sin = std::sin(angle);
  }
};

// From corner 1 to the centre: half of both sides.
template <class T>
ROIOPS_INLINE void add_half_diagonal(T* at, const T* box, T sign) {
  const Turn<T> turn(box[4]);
  const T width = sign * (box[2] / T(2)), height = sign * (box[3] / T(2));
  at[0] = at[0] + width * turn.cos + height * turn.sin;
  at[1] = at[1] - width * turn.sin + height * turn.cos;
}

template <class T>
ROIOPS_INLINE void to_xywhr(T* box, const T* from, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) box[c] = from[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal(box, from, T(-1));
    return;
  }
  const T right = from[2] - from[0], up = from[1] - from[3];
  const T across = from[4] - from[2], down = from[5] - from[3];
  box[0] = from[0];
  box[1] = from[1];
  box[2] = std::sqrt(right * right + up * up);
  box[3] = std::sqrt(across * across + down * down);
  box[4] = std::atan2(up, right) * T(180) / T(kPi);
}

template <class T>
ROIOPS_INLINE void from_xywhr(T* to, const T* box, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) to[c] = box[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal(to, box, T(1));
    return;
  }
  const Turn<T> turn(box[4]);
  const T width = box[2], height = box[3];
  to[0] = box[0];
  to[1] = box[1];
  to[2] = to[0] + width * turn.cos;
  to[3] = to[1] - width * turn.sin;
  to[4] = to[2] + height * turn.sin;
  to[5] = to[3] + height * turn.cos;
  to[6] = to[0] + height * turn.sin;
  to[7] = to[1] + height * turn.cos;
}

ROIOPS_INLINE int64_t rounded_to_int64(float x) {
  constexpr float limit = 9223372036854775808.0f;  // 2^63
  x = std::nearbyint(x);
  if (!(x < limit)) return INT64_MAX;
  return x < -limit ? INT64_MIN : static_cast<int64_t>(x);
}

// --- gradients: the steps above in reverse, from those of a result to those of its argument ---

template <class T>
ROIOPS_INLINE void to_xyxy_backward(T* grad, const T* by_corners, BoxFormat from) {
  for (int c = 0; c < 2; ++c) {
    const T low = by_corners[c], high = by_corners[c + 2];
    grad[c] = from == BoxFormat::xyxy ? low : low + high;
    grad[c + 2] = from == BoxFormat::cxcywh ? T(0.5) * (high - low) : high;
  }
}

template <class T>
ROIOPS_INLINE void from_xyxy_backward(T* grad, const T* by_box, BoxFormat to) {
  for (int c = 0; c < 2; ++c) {
    const T first = by_box[c], second = by_box[c + 2];
    const T half = T(0.5) * first;
    grad[c] = to == BoxFormat::xyxy ? first : (to == BoxFormat::xywh ? first : half) - second;
    grad[c + 2] = to == BoxFormat::cxcywh ? half + second : second;
  }
}

template <class T>
constexpr T kDegree = T(kPi / 180);

// Of add_half_diagonal: grad holds the gradient of its result, and gets that of the box.
template <class T>
ROIOPS_INLINE void add_half_diagonal_backward(T* grad, const T* box, T sign) {
  const Turn<T> turn(box[4]);
  const T width = box[2] / T(2), height = box[3] / T(2), x = sign * grad[0], y = sign * grad[1];
  grad[2] += T(0.5) * (turn.cos * x - turn.sin * y);
  grad[3] += T(0.5) * (turn.sin * x + turn.cos * y);
  grad[4] += kDegree<T> * ((height * turn.cos - width * turn.sin) * x -
                           (width * turn.cos + height * turn.sin) * y);
}

// Gradients of a side's two components from those of its length; none where it has no length.
template <class T>
ROIOPS_INLINE void length_backward(T* by_x, T* by_y, T x, T y, T by_length, T length) {
  *by_x = length > 0 ? by_length * (x / length) : T(0);
  *by_y = length > 0 ? by_length * (y / length) : T(0);
}

template <class T>
ROIOPS_INLINE void to_xywhr_backward(T* grad, const T* by_box, const T* from, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) grad[c] = by_box[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal_backward(grad, from, T(-1));
    return;
  }
  const T right = from[2] - from[0], up = from[1] - from[3];
  const T across = from[4] - from[2], down = from[5] - from[3];
  const T width = std::sqrt(right * right + up * up);
  T by_right, by_up, by_across, by_down;
  length_backward(&by_right, &by_up, right, up, by_box[2], width);
  length_backward(&by_across, &by_down, across, down, by_box[3],
                  std::sqrt(across * across + down * down));
  if (width > 0) {
    const T by_angle = by_box[4] / (kDegree<T> * width);
    by_right -= by_angle * (up / width);
    by_up += by_angle * (right / width);
  }
  grad[0] = by_box[0] - by_right;
  grad[1] = by_box[1] + by_up;
  grad[2] = by_right - by_across;
  grad[3] = -by_up - by_down;
  grad[4] = by_across;
  grad[5] = by_down;
  grad[6] = grad[7] = T(0);  // corner 4 follows from the others
}

template <class T>
ROIOPS_INLINE void from_xywhr_backward(T* grad, const T* by_box, const T* box, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) grad[c] = by_box[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal_backward(grad, box, T(1));
    return;
  }
  const Turn<T> turn(box[4]);
  // Corners 2 and 3 lie a width away from corner 1, corners 3 and 4 a height.
  const T width_x = by_box[2] + by_box[4], width_y = by_box[3] + by_box[5];
  const T height_x = by_box[4] + by_box[6], height_y = by_box[5] + by_box[7];
  grad[0] = by_box[0] + width_x + by_box[6];
  grad[1] = by_box[1] + width_y + by_box[7];
  grad[2] = turn.cos * width_x - turn.sin * width_y;
  grad[3] = turn.sin * height_x + turn.cos * height_y;
  grad[4] = kDegree<T> * (box[3] * (turn.cos * height_x - turn.sin * height_y) -
                          box[2] * (turn.sin * width_x + turn.cos * width_y));
}

// --- a whole conversion, between two different formats of a kind ---

// By way of corners of type `Corners`.
template <class Corners, class To, class From>
ROIOPS_INLINE void convert_upright(To* to, const From* box, BoxFormat from, BoxFormat into) {
  Corners corners[4] = {};
  to_xyxy(corners, box, from);
  from_xyxy(to, corners, into);
}

template <class T>
ROIOPS_INLINE void convert_rotated(T* to, const T* from, BoxFormat from_format,
                                   BoxFormat to_format) {
  T box[5];
  to_xywhr(box, from, from_format);
  from_xywhr(to, box, to_format);
}

// Integers, at xywhr too where the way leads over it, are rounded.
ROIOPS_INLINE void convert_rotated(int64_t* to, const int64_t* from, BoxFormat from_format,
                                   BoxFormat to_format) {
  float start[8] = {}, box[5], result[8] = {};
  for (int c = 0; c < 8; ++c)
    if (c < row_length(from_format)) start[c] = static_cast<float>(from[c]);
  to_xywhr(box, start, from_format);
  for (float& x : box) x = static_cast<float>(rounded_to_int64(x));
  from_xywhr(result, box, to_format);
  for (int c = 0; c < 8; ++c)
    if (c < row_length(to_format)) to[c] = rounded_to_int64(result[c]);
}

// grad: the gradient by the box `from`, whose eight elements there must be; formats may be equal.
template <class T>
ROIOPS_INLINE void convert_gradient(T* grad, const T* by_converted, const T* from,
                                    BoxFormat from_format, BoxFormat to_format) {
  T box[5], by_box[5];
  if (from_format == to_format) {
    for (int c = 0; c < 8; ++c) grad[c] = by_converted[c];
  } else if (is_rotated(from_format)) {
    to_xywhr(box, from, from_format);
    from_xywhr_backward(by_box, by_converted, box, to_format);
    to_xywhr_backward(grad, by_box, from, from_format);
  } else {
    from_xyxy_backward(by_box, by_converted, to_format);
    to_xyxy_backward(grad, by_box, from_format);
  }
}

}  // namespace roiops
