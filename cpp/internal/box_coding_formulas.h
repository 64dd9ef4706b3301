// Encoding along one axis, and the gradients of it and of decoding, on the CPU and on a GPU.
// (Decoding itself is in box_coding_kernels.h, for the vectorised loops.)
#pragma once

#include <cmath>

#include "internal/box_coding_kernels.h"

namespace roiops {

// By the two ends of a box, from the gradients by its centre and size: a centre is the mean of the
// ends, a size their difference.
template <class T>
ROIOPS_INLINE void gradient_of_ends(T by_centre, T by_size, T* by_low, T* by_high) {
  *by_low = T(0.5) * by_centre - by_size;
  *by_high = T(0.5) * by_centre + by_size;
}

// What encoding needs to know of one axis.
template <class T>
struct EncodeAxis {
  T shift_weight, scale_weight;
  T one;
};

template <class T>
ROIOPS_INLINE T encoded_shift(const CentredAxis<T>& to, const CentredAxis<T>& from,
                              const EncodeAxis<T>& axis) {
  return axis.shift_weight * (to.centre - from.centre) / from.size;
}
template <class T>
ROIOPS_INLINE T encoded_scale(const CentredAxis<T>& to, const CentredAxis<T>& from,
                              const EncodeAxis<T>& axis) {
  return axis.scale_weight * std::log(to.size / from.size);
}

template <class T>
struct Offset {
  T shift, scale;
};

// Gradients by the centres and sizes of both, from that by the offset.
template <class T>
struct EncodeGradient {
  CentredAxis<T> to, from;
};

template <class T>
ROIOPS_INLINE EncodeGradient<T> encode_gradient(const Offset<T>& by_offset,
                                                const CentredAxis<T>& to,
                                                const CentredAxis<T>& from,
                                                const EncodeAxis<T>& axis) {
  const T grad_shift = axis.shift_weight * by_offset.shift;
  const T grad_scale = axis.scale_weight * by_offset.scale;
  const T by_centre = grad_shift / from.size;
  const T from_size = -(by_centre * (to.centre - from.centre) + grad_scale) / from.size;
  return {{by_centre, grad_scale / to.size}, {-by_centre, from_size}};
}

// The gradient by an offset, from that by the decoded ends; the one by the box is added to.
template <class T>
ROIOPS_INLINE Offset<T> decode_gradient(CentredAxis<T>* by_box, const Span<T>& by_ends,
                                        const Offset<T>& offset, const CentredAxis<T>& box,
                                        const DecodeAxis<T>& axis) {
  const Span<T> at = decode_unclipped(offset.shift, offset.scale, box.centre, box.size, axis);
  const T low = at.low >= axis.least && at.low <= axis.most ? by_ends.low : T(0);
  const T high = at.high >= axis.least && at.high <= axis.most ? by_ends.high : T(0);
  const bool limited = offset.scale / axis.scale_weight > axis.scale_clamp;
  const T ratio = exponential(limited ? axis.scale_clamp : offset.scale / axis.scale_weight);
  const T grad_centre = low + high, grad_ratio = T(0.5) * (high - low) * ratio;
  by_box->centre += grad_centre;
  by_box->size += grad_centre * (offset.shift / axis.shift_weight) + grad_ratio;
  return {grad_centre * box.size / axis.shift_weight,
          limited ? T(0) : grad_ratio * box.size / axis.scale_weight};
}

}  // namespace roiops
