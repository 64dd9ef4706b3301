// exp(x) by plain arithmetic: it vectorises, and has the same bits on every machine, with every
// instruction set, and in NumPy (roiops/reference/exponential.py). Not to be contracted.
#pragma once

#include <cstdint>

#include "roiops/config.h"

namespace roiops {

// NaN stays NaN. Two steps, each of them one instruction.
template <class T>
ROIOPS_INLINE T clamp(T x, T least, T most) {
  x = x < least ? least : x;
  return x > most ? most : x;
}

template <class T>
struct ExponentialOf;
template <>
struct ExponentialOf<float> {
  using Bits = uint32_t;
  static constexpr float least = -104, most = 89;  // 0 and infinity beyond
  static constexpr float round = 12582912;         // 1.5 * 2^23: its last digit is a unit
  static constexpr Bits round_bits = 0x4b400000;
  static constexpr float ln2_high = 0.693359375f;  // n times this is exact
  static constexpr float ln2_low = -2.12194440054690583e-4f;
  static constexpr int terms = 7;  // the first missing one, r^8 / 8!, is below 6e-9
  static constexpr int mantissa = 23, bias = 127;
};
template <>
struct ExponentialOf<double> {
  using Bits = uint64_t;
  static constexpr double least = -746, most = 710;
  static constexpr double round = 6755399441055744;  // 1.5 * 2^52
  static constexpr Bits round_bits = 0x4338000000000000;
  static constexpr double ln2_high = 6.93147180369123816490e-01;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr int terms = 13;  // r^14 / 14! is below 5e-18
  static constexpr int mantissa = 52, bias = 1023;
};

// To about 1 ulp: x = n ln 2 + r with |r| <= ln(2) / 2, exp(x) = 2^n exp(r), and for exp(r) the
// first terms of its Taylor series.
template <class T>
ROIOPS_INLINE T exponential(T x) {
  using Of = ExponentialOf<T>;
  using Bits = typename Of::Bits;
  const T bounded = clamp(x, Of::least, Of::most);
  const T shifted = bounded * T(1.44269504088896340736) + Of::round;
  const T n = shifted - Of::round;
  const T r = bounded - n * Of::ln2_high - n * Of::ln2_low;
  T factorial = 1;
  for (int k = 2; k <= Of::terms; ++k) factorial *= T(k);
  T p = T(1) / factorial;
  for (int k = Of::terms; k > 2; --k) {
    factorial /= T(k);
    p = p * r + T(1) / factorial;
  }
  p = p * (r * r) + r + T(1);
  // 2^n as a product of two, so that neither overflows: n stands in the low bits, and is made
  // positive for halving it.
  Bits bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  const Bits even = 4 * Of::bias, whole = bits - Of::round_bits + even, half = whole >> 1;
  const Bits first = (half - even / 2 + Of::bias) << Of::mantissa;
  const Bits second = (whole - half - even / 2 + Of::bias) << Of::mantissa;
  T scale1, scale2;
  __builtin_memcpy(&scale1, &first, sizeof scale1);
  __builtin_memcpy(&scale2, &second, sizeof scale2);
  return p * scale1 * scale2;
}

}  // namespace roiops
