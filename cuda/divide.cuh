// Which row an element is of: the division of indices.
#pragma once

#include "compat.cuh"

namespace roiops::cuda {

struct Split {
  int64_t quotient, remainder;
};

// In 32 bits where they do: a GPU has no instruction for division, and 64 bits take several times
// as many others.
__device__ inline Split split(int64_t i, int64_t n) {
  if ((i | n) >> 32 == 0) {
    const uint32_t quotient = static_cast<uint32_t>(i) / static_cast<uint32_t>(n);
    return {quotient, static_cast<uint32_t>(i) - quotient * static_cast<uint32_t>(n)};
  }
  return {i / n, i % n};
}

}  // namespace roiops::cuda
