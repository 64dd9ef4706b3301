// Feature maps and rows of numbers as kernels see them: any strides, several levels of a pyramid.
#pragma once

#include <stdexcept>
#include <vector>

#include "compat.cuh"
#include "roiops/array.h"
#include "roiops/check.h"

namespace roiops::cuda {

// (N, C, H, W) of somebody else's memory.
template <class T>
struct Maps {
  T* data;
  int64_t image, channel, row, cell;  // strides in elements
  int64_t height, width;

  __device__ T& at(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return data[n * image + c * channel + y * row + x * cell];
  }
};

template <class T>
Maps<T> maps_of(const Array& a) {
  return {a.at<T>(), a.stride[0], a.stride[1], a.stride[2], a.stride[3], a.shape[2], a.shape[3]};
}

constexpr int kMaxLevels = 12;  // the levels of a pyramid travel as a kernel's parameter

template <class T>
struct Pyramid {
  Maps<T> level[kMaxLevels];
};

template <class T>
Pyramid<T> pyramid_of(const char* op, const std::vector<Array>& maps) {
  if (maps.size() > kMaxLevels)
    throw std::invalid_argument(
        message(op, ": at most ", kMaxLevels, " levels on a GPU; got ", maps.size()));
  Pyramid<T> pyramid{};
  for (size_t l = 0; l < maps.size(); ++l) pyramid.level[l] = maps_of<T>(maps[l]);
  return pyramid;
}

// 16-bit elements are read to and rounded from float.
template <class T>
__device__ auto read(const T& x) {
  return widen(x);
}
template <class T, class Acc>
__device__ void write(T& to, Acc x) {
  narrow(to, x);
}

}  // namespace roiops::cuda
