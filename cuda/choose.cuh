// What a predicate holds for, in order: counted by blocks, the counts added up by one block, then
// every element knows its place. Three launches, however many elements.
#pragma once

#include "each.cuh"

namespace roiops::cuda {

template <class Chosen>
__global__ void count_chosen(int64_t count, Chosen chosen, int64_t* counts) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreadsOfEach + threadIdx.x;
  const int in_block = __syncthreads_count(i < count && chosen(i));
  if (threadIdx.x == 0) counts[blockIdx.x] = in_block;
}

// In one block: each count becomes the sum of those before it, counts[blocks] that of all.
static __global__ void add_counts(int64_t* counts, int64_t blocks) {
  ROIOPS_SHARED(int64_t, sums, kThreadsOfEach);
  const int own = static_cast<int>(threadIdx.x);
  const int64_t share = (blocks + kThreadsOfEach - 1) / kThreadsOfEach, first = own * share;
  const int64_t end = first + share < blocks ? first + share : blocks;
  int64_t sum = 0;
  for (int64_t b = first; b < end; ++b) sum += counts[b];
  sums[own] = sum;
  __syncthreads();
  int64_t before = 0;
  for (int thread = 0; thread < own; ++thread) before += sums[thread];
  for (int64_t b = first; b < end; ++b) {
    const int64_t in_block = counts[b];
    counts[b] = before;
    before += in_block;
  }
  if (own == kThreadsOfEach - 1) counts[blocks] = before;
}

template <class Chosen, class Take>
__global__ void take_chosen(int64_t count, Chosen chosen, Take take, const int64_t* counts) {
  ROIOPS_SHARED(int, in_warp, kThreadsOfEach / 32);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreadsOfEach + threadIdx.x;
  const bool is_chosen = i < count && chosen(i);
  const unsigned lanes = __ballot_sync(0xffffffffu, is_chosen);
  if (lane == 0) in_warp[warp] = __popc(lanes);
  __syncthreads();
  if (!is_chosen) return;
  int64_t place = counts[blockIdx.x] + __popc(lanes & ((1u << lane) - 1));
  for (int w = 0; w < warp; ++w) place += in_warp[w];
  take(place, i);
}

// take(place, i) for each i of [0, count) for which chosen(i); how many, in device memory.
template <class Chosen, class Take>
const int64_t* choose(const char* op, int64_t count, const Execution& execution,
                      const Chosen& chosen, const Take& take) {
  const int64_t blocks = (count + kThreadsOfEach - 1) / kThreadsOfEach;
  if (blocks > 0x7fffffff)
    throw std::invalid_argument(
        message(op, ": ", count, " elements are too many for a GPU's grid"));
  check_device(execution.device);
  auto* counts =
      static_cast<int64_t*>(execution.workspace(sizeof(int64_t) * static_cast<size_t>(blocks + 1)));
  LaunchConfig config{dim3(static_cast<unsigned>(blocks)), dim3(kThreadsOfEach), 0,
                      static_cast<cudaStream_t>(execution.stream)};
  if (blocks) check_launch(op, launch(op, count_chosen<Chosen>, config, count, chosen, counts));
  LaunchConfig one = config;
  one.grid = dim3(1);
  check_launch(op, launch(op, add_counts, one, counts, blocks));
  if (blocks)
    check_launch(op, launch(op, take_chosen<Chosen, Take>, config, count, chosen, take, counts));
  return counts + blocks;
}

}  // namespace roiops::cuda
