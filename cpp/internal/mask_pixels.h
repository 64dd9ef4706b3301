// Which pixels of a mask are set, of any element type.
#pragma once

#include "roiops/array.h"

namespace roiops {

// NaN is, -0 is not.
template <class T>
ROIOPS_INLINE bool is_set(T x) {
  return x != T(0);
}
ROIOPS_INLINE bool is_set(Float16 x) { return (x.bits & 0x7fff) != 0; }
ROIOPS_INLINE bool is_set(BFloat16 x) { return (x.bits & 0x7fff) != 0; }

// Calls f with a value of a mask's element type. (Of int8, uint8 says what is set.)
template <class F>
auto dispatch_mask(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float16:
      return f(Float16{});
    case DType::bfloat16:
      return f(BFloat16{});
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int64:
      return f(int64_t{});
    case DType::int32:
      return f(int32_t{});
    case DType::int16:
      return f(int16_t{});
    default:
      return f(uint8_t{});
  }
}

}  // namespace roiops
