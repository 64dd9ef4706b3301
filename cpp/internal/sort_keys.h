// Numbers as keys that a sort of unsigned integers puts in order, on the CPU and on a GPU.
#pragma once

#include <cstdint>

#include "roiops/config.h"

namespace roiops {

// Keys whose order is that of the numbers; -0 is 0, and NaN comes last.
ROIOPS_INLINE uint64_t ascending_key(int64_t x) {
  return static_cast<uint64_t>(x) ^ uint64_t { 1 } << 63;
}
ROIOPS_INLINE uint64_t descending_key(float x) {
  if (x != x) return ~uint32_t{0};
  uint32_t bits;
  x += 0.0f;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}
ROIOPS_INLINE uint64_t descending_key(double x) {
  if (x != x) return ~uint64_t{0};
  uint64_t bits;
  x += 0.0;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits >> 63 ? bits : ~bits & ~uint64_t{0} >> 1;
}

}  // namespace roiops
