// Box coding along one axis, and the table of vectorised loops. The two axes of a box follow the
// same rule with their own weights and limits.
#pragma once

#include <cstdint>

#include "internal/exponential.h"
#include "roiops/config.h"
#include "roiops/isa.h"

namespace roiops {

template <class T>
struct CentredAxis {
  T centre, size;
};

template <class T>
ROIOPS_INLINE CentredAxis<T> centred(T low, T high, T one) {
  const T size = high - low + one;
  return {low + T(0.5) * size, size};
}

// What decoding needs to know of one axis. Without clipping the limits are infinite.
template <class T>
struct DecodeAxis {
  T shift_weight, scale_weight;
  T scale_clamp;
  T one;
  T least, most;
};

template <class T>
struct Span {
  T low, high;
};

template <class T>
ROIOPS_INLINE Span<T> decode_unclipped(T shift, T scale, T centre, T size,
                                       const DecodeAxis<T>& axis) {
  const T log_ratio = scale / axis.scale_weight;
  const T ratio = exponential(log_ratio > axis.scale_clamp ? axis.scale_clamp : log_ratio);
  const T to = shift / axis.shift_weight * size + centre;
  const T half = T(0.5) * (ratio * size);
  return {to - half, to + half - axis.one};
}

// Rows of four coordinates: row i starts at data + i * row.
template <class T>
struct Rows {
  const T* data;
  int64_t row, column;  // strides in elements
};

template <class T>
struct BoxCodingKernels {
  // decoded (rows, 4 * classes), contiguous.
  void (*decode)(T* decoded, Rows<T> deltas, Rows<T> boxes, int64_t rows, int64_t classes,
                 const DecodeAxis<T>& x, const DecodeAxis<T>& y);
};

ROIOPS_DECLARE_KERNELS(BoxCodingKernels<float>, box_coding_float)
ROIOPS_DECLARE_KERNELS(BoxCodingKernels<double>, box_coding_double)

}  // namespace roiops
