// A strided view of somebody else's memory: pointer, element type, shape, strides. Owns nothing.
#pragma once

#include <cstdint>

#include "roiops/half.h"

namespace roiops {

enum class DType { float16, bfloat16, float32, float64, int64, int8, uint8, int16, int32 };

constexpr int kMaxDims = 5;

struct Array {
  void* data = nullptr;
  DType dtype = DType::float32;
  int ndim = 0;
  int64_t shape[kMaxDims] = {};
  int64_t stride[kMaxDims] = {};  // in elements; zero and negative are allowed

  int64_t size() const {
    int64_t n = 1;
    for (int d = 0; d < ndim; ++d) n *= shape[d];
    return n;
  }
  template <class T>
  T* at() const {
    return static_cast<T*>(data);
  }
  template <class T>
  T& at(int64_t i) const {
    return at<T>()[i * stride[0]];
  }
  template <class T>
  T& at(int64_t i, int64_t j) const {
    return at<T>()[i * stride[0] + j * stride[1]];
  }
};

// Calls f with a value of the element type, so that its body is compiled for float and for double.
// The caller has checked that the array holds one of the two.
template <class F>
auto dispatch_float(DType dtype, F&& f) {
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

// Calls f with a value of the storage type and one of the type that sums of it are computed in.
template <class F>
auto dispatch_features(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float16:
      return f(Float16{}, float{});
    case DType::bfloat16:
      return f(BFloat16{}, float{});
    case DType::float64:
      return f(double{}, double{});
    default:
      return f(float{}, float{});
  }
}

}  // namespace roiops
