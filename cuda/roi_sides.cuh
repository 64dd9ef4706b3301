// The gradient of an RoI's four sides, added up by a block in an order of its own.
#pragma once

#include "bin_tiles.cuh"
#include "compat.cuh"

namespace roiops::cuda {

// x1, y1, x2, y2 of a thread; of the block after add_up, in thread 0.
template <class Acc>
struct Sides {
  Acc side[4] = {0, 0, 0, 0};

  __device__ void add(Acc g, Acc by_x_start, Acc by_y_start, Acc by_x_end, Acc by_y_end) {
    side[0] = multiply_add(g, by_x_start, side[0]);
    side[1] = multiply_add(g, by_y_start, side[1]);
    side[2] = multiply_add(g, by_x_end, side[2]);
    side[3] = multiply_add(g, by_y_end, side[3]);
  }
  __device__ void add_up(Acc* shared) {  // 4 * kThreads
    for (int s = 0; s < 4; ++s) shared[s * kThreads + threadIdx.x] = side[s];
    __syncthreads();
    for (int half = kThreads / 2; half > 0; half /= 2) {
      if (static_cast<int>(threadIdx.x) < half)
        for (int s = 0; s < 4; ++s)
          shared[s * kThreads + threadIdx.x] += shared[s * kThreads + threadIdx.x + half];
      __syncthreads();
    }
    for (int s = 0; s < 4; ++s) side[s] = shared[s * kThreads];
  }
};

template <class C, class Acc>
__device__ void store_sides(C* grad_rois, int64_t stride, const Sides<Acc>& sums) {
  if (threadIdx.x) return;
  grad_rois[0] = C(0);
  for (int s = 0; s < 4; ++s) grad_rois[(1 + s) * stride] = static_cast<C>(sums.side[s]);
}

}  // namespace roiops::cuda
