// The two 16-bit floating types as storage: read to float, rounded from float to nearest, ties to
// even. Plain integer arithmetic, because the compiler's own half type needs a run-time library
// that older systems lack; loops over these functions vectorise.
#pragma once

#include <cstdint>

#include "roiops/config.h"

namespace roiops {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

ROIOPS_INLINE float float_from_bits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
ROIOPS_INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

ROIOPS_INLINE float widen(BFloat16 x) { return float_from_bits(uint32_t{x.bits} << 16); }
ROIOPS_INLINE float widen(Float16 x) {
  const uint32_t sign = uint32_t{x.bits} & 0x8000u, rest = uint32_t{x.bits} & 0x7fffu;
  // Exponent bias 15 to 127 by a product with 2^112, which is exact for subnormals too.
  const float finite = float_from_bits(rest << 13) * float_from_bits(0x77800000u);
  const uint32_t special = rest << 13 | 0x7f800000u;
  return float_from_bits((rest >= 0x7c00u ? special : bits_of(finite)) | sign << 16);
}
ROIOPS_INLINE float widen(float x) { return x; }
ROIOPS_INLINE double widen(double x) { return x; }

ROIOPS_INLINE void narrow(BFloat16& to, float x) {
  const uint32_t bits = bits_of(x);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  to.bits = static_cast<uint16_t>(x != x ? bits >> 16 | 0x40u : rounded);
}
ROIOPS_INLINE void narrow(Float16& to, float x) {
  const uint32_t sign = bits_of(x) >> 16 & 0x8000u, rest = bits_of(x) & 0x7fffffffu;
  // Below 2^-14 the last digit is 2^-24: adding 1/2 lets the float unit round there.
  const uint32_t subnormal = bits_of(float_from_bits(rest) + 0.5f) - bits_of(0.5f);
  const uint32_t normal = (rest + 0xc8000fffu + (rest >> 13 & 1u)) >> 13;
  uint32_t half = rest < 0x38800000u ? subnormal : normal;
  half = rest >= 0x477ff000u ? 0x7c00u : half;  // rounds past the largest, 65504
  half = rest > 0x7f800000u ? 0x7e00u | (rest >> 13 & 0x3ffu) : half;  // as the instruction does
  to.bits = static_cast<uint16_t>(half | sign);
}
ROIOPS_INLINE void narrow(float& to, float x) { to = x; }
ROIOPS_INLINE void narrow(double& to, double x) { to = x; }

}  // namespace roiops
