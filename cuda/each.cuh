// A thread for each of many: what an operator does to element i is a functor over strided views.
#pragma once

#include <algorithm>

#include "compat.cuh"
#include "roiops/array.h"
#include "roiops/check.h"
#include "roiops/execution.h"

namespace roiops::cuda {

constexpr int kThreadsOfEach = 256;

// The first dimensions of somebody else's memory.
template <class T>
struct Strided {
  T* data;
  int64_t stride[3];

  explicit Strided(const Array& a) : data(a.at<T>()), stride{} {
    std::copy(a.stride, a.stride + std::min(a.ndim, 3), stride);
  }
  ROIOPS_HD T& at(int64_t i, int64_t j = 0, int64_t k = 0) const {
    return data[i * stride[0] + j * stride[1] + k * stride[2]];
  }
};

template <class Body>
__global__ void for_each_thread(int64_t count, Body body) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreadsOfEach + threadIdx.x;
  if (i < count) body(i);
}

// body(i) for each i of [0, count), on the device.
template <class Body>
void for_each(const char* op, int64_t count, const Execution& execution, const Body& body) {
  if (count == 0) return;
  if (count > int64_t{kThreadsOfEach} * 0x7fffffff)
    throw std::invalid_argument(
        message(op, ": ", count, " elements are too many for a GPU's grid"));
  check_device(execution.device);
  const LaunchConfig config{
      dim3(static_cast<unsigned>((count + kThreadsOfEach - 1) / kThreadsOfEach)),
      dim3(kThreadsOfEach), 0, static_cast<cudaStream_t>(execution.stream)};
  check_launch(op, launch(op, for_each_thread<Body>, config, count, body));
}

}  // namespace roiops::cuda
