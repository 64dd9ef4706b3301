// Boxes and the like as rows of somebody else's memory: a whole row to registers and back.
#pragma once

#include "each.cuh"

namespace roiops::cuda {

template <class T, int n>
__device__ void load_row(T (&to)[n], const Strided<const T>& from, int64_t i) {
  for (int c = 0; c < n; ++c) to[c] = from.at(i, c);
}
template <class T, int n>
__device__ void store_row(const Strided<T>& to, int64_t i, const T (&from)[n]) {
  for (int c = 0; c < n; ++c) to.at(i, c) = from[c];
}

}  // namespace roiops::cuda
