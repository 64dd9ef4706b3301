// Box coding along one axis, and the table of vectorised loops. The two axes of a box follow the
// same rule with their own weights and limits.
#pragma once

#include <cstdint>

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

// NaN stays NaN. Two steps, each of them one instruction.
template <class T>
ROIOPS_INLINE T clamp(T x, T least, T most) {
  x = x < least ? least : x;
  return x > most ? most : x;
}

ROIOPS_INLINE double exponential(double x) { return __builtin_exp(x); }

// exp(x) to 1 ulp or so by plain arithmetic, which vectorises and has the same bits everywhere:
// x = n ln 2 + r with |r| <= ln(2) / 2, and a Taylor polynomial whose first missing term,
// r^8 / 8!, is below 6e-9.
ROIOPS_INLINE float exponential(float x) {
  const float bounded = clamp(x, -104.0f, 89.0f);  // 0 and infinity below
  const float round = 12582912.0f;                 // 1.5 * 2^23: its last digit is a unit
  const float shifted = bounded * 1.44269504088896341f + round;
  const float n = shifted - round;
  // ln 2 in two parts; n times the first is exact.
  const float r = bounded - n * 0.693359375f + n * 2.12194440054690583e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  // 2^n as a product of two, so that neither overflows: n in [-150, 129] stands in the low bits.
  int32_t bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  const int32_t whole = bits - 0x4b400000, half = whole >> 1;
  const uint32_t first = static_cast<uint32_t>(half + 127) << 23;
  const uint32_t second = static_cast<uint32_t>(whole - half + 127) << 23;
  float scale1, scale2;
  __builtin_memcpy(&scale1, &first, sizeof scale1);
  __builtin_memcpy(&scale2, &second, sizeof scale2);
  return p * scale1 * scale2;
}

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
