// Kernels with one mistake each, and the same without it (bug == 0); and kernels that do next to
// nothing, so that what CUDA's functions give can be looked at.
#include "compat.cuh"

using roiops::cuda::launch;
using roiops::cuda::LaunchConfig;

namespace {

constexpr unsigned kAll = 0xffffffffu;

// Each thread takes its neighbour's number through shared memory.
__global__ void rotate(const float* in, float* out, int n, int bug) {
  ROIOPS_SHARED(float, numbers, 256);
  const int i = threadIdx.x;
  if (bug != 1) numbers[i] = in[i];  // 1: shared memory is read before it is written
  if (bug != 2) __syncthreads();     // 2: nothing orders the write and the read
  out[i] = numbers[(i + 1) % n];
}

// 3: the last threads leave before a barrier. 4: half of the block waits at another one.
__global__ void barriers(float* out, int n, int bug) {
  const int i = threadIdx.x;
  if (bug == 3 && i >= n / 2) return;
  if (bug == 4 && i >= n / 2)
    __syncthreads();
  else
    __syncthreads();
  out[i] = 1;
}

// 5: one thread waits for its neighbour, who waits for all at the barrier.
__global__ void missing(float* out, int bug) {
  const int i = threadIdx.x;
  if (bug == 5 && i == 32) __syncwarp(3u);
  __syncthreads();
  out[i] = 1;
}

// Sums of warps. 6: the mask lacks the caller; 7: a lane of the mask has left; 8: a lane outside
// the mask is read; 9: lanes call different functions; 10: masks differ.
__global__ void warps(const float* in, float* out, int bug) {
  const int i = threadIdx.x, lane = i % 32;
  float sum = in[i];
  if (bug == 7 && lane == 31) return;
  const unsigned mask = bug == 6 ? kAll ^ 1u << lane : bug == 10 && lane == 0 ? 3u : kAll;
  if (bug == 9 && lane < 16)
    __syncwarp();
  else if (bug == 8 && lane < 16)
    sum += __shfl_sync(0x0000ffffu, sum, lane + 16);
  else if (bug != 8)
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(mask, sum, step);
  out[i] = sum;
}

// 11: one element too far; 12: before the first; 13: a misaligned vector; 14: an address on the
// host.
__global__ void bounds(const float* in, float* out, int n, const float* host, int bug) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (bug == 13) {
    using Four = roiops::cuda::Vector<float, 4>;
    if (i == 0) out[0] = roiops::cuda::load_vector(reinterpret_cast<const Four*>(in + 1)).lane[0];
    return;
  }
  const int at = bug == 11 ? i + 1 : bug == 12 ? i - 5 : i;
  if (i < n) out[i] = bug == 14 ? host[0] : in[at];
}

// Blocks add up. 15: without an atomic, so that they race.
__global__ void count(int* total, int bug) {
  if (bug == 15)
    *total = *total + 1;
  else
    atomicAdd(total, 1);
}

// Threads add up without an atomic: an update is lost where one gives way between load and store.
__global__ void careless(float* total) { total[0] = total[0] + 1; }

// Lanes hand numbers on within a warp through shared memory. 16: a shuffle does not order memory.
__global__ void hand_on(const float* in, float* out, int bug) {
  ROIOPS_SHARED(float, numbers, 32);
  const int lane = threadIdx.x;
  numbers[lane] = in[lane];
  if (bug == 16)
    __shfl_sync(kAll, lane, 0);
  else
    __syncwarp();
  out[lane] = numbers[31 - lane];
}

// 17: beyond an array in shared memory.
__global__ void shared_bounds(float* out, int bug) {
  ROIOPS_SHARED(float, numbers, 32);
  numbers[threadIdx.x + (bug == 17 ? 1 : 0)] = 1;
  __syncthreads();
  out[threadIdx.x] = numbers[threadIdx.x];
}

// 18: beyond an array of the thread's own. 20: a sum that no int holds.
__global__ void local_bounds(const float* in, float* out, int n, int bug) {
  if (bug == 20) out[0] = static_cast<float>(0x7fffffff + n);
  float numbers[8];
  for (int k = 0; k < 8; ++k) numbers[k] = in[threadIdx.x];
  const float* volatile first = numbers;  // its size is not known where it is read
  out[threadIdx.x] = first[bug == 18 ? 8 + n % 2 : n % 8];
}

// 19: the result's memory was never written before it is read.
__global__ void accumulate(const float* in, float* out, int bug) {
  const int i = threadIdx.x;
  out[i] = bug == 19 ? out[i] + in[i] : in[i];
}

// Consecutive threads take elements `step` apart: 8 sectors of a warp's 4-byte loads, or up to 32.
__global__ void strided(const float* in, float* out, int step) {
  out[threadIdx.x] = in[threadIdx.x * step];
}

__global__ void votes(const int* in, int* out) {
  const int i = threadIdx.x, x = in[i];
  out[8 * i] = static_cast<int>(__ballot_sync(kAll, x > 0));
  out[8 * i + 1] = __any_sync(kAll, x > 5);
  out[8 * i + 2] = __all_sync(kAll, x > 0);
  out[8 * i + 3] = __syncthreads_or(x > 5);
  out[8 * i + 4] = __syncthreads_and(x > 0);
  out[8 * i + 5] = __syncthreads_count(x > 0);
  out[8 * i + 6] = __shfl_up_sync(kAll, x, 3);
  out[8 * i + 7] = __shfl_down_sync(kAll, x, 3);
}

__global__ void dynamic_memory(float* out, int n) {
  ROIOPS_DYNAMIC_SHARED(float, numbers);
  for (int i = threadIdx.x; i < n; i += blockDim.x) numbers[i] = i;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = numbers[n - 1];
}

__global__ void where(int* out) {
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = atomicAdd(out + gridDim.x * gridDim.y * gridDim.z * threads, 1);
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default"))) const char*
#define LAUNCH(kernel, grid, block, shared, ...) \
  launch(#kernel, kernel, LaunchConfig{grid, block, shared}, __VA_ARGS__)

EXPORTED run_rotate(const float* in, float* out, int n, int bug) {
  return LAUNCH(rotate, 1, n, 0, in, out, n, bug);
}
EXPORTED run_barriers(float* out, int n, int bug) { return LAUNCH(barriers, 1, n, 0, out, n, bug); }
EXPORTED run_missing(float* out, int n, int bug) { return LAUNCH(missing, 1, n, 0, out, bug); }
EXPORTED run_warps(const float* in, float* out, int n, int bug) {
  return LAUNCH(warps, 1, n, 0, in, out, bug);
}
EXPORTED run_bounds(const float* in, float* out, int n, const float* host, int bug) {
  return LAUNCH(bounds, (n + 63) / 64, 64, 0, in, out, n, host, bug);
}
EXPORTED run_count(int* total, int blocks, int bug) {
  return LAUNCH(count, blocks, 1, 0, total, bug);
}
EXPORTED run_careless(float* total, int n) { return LAUNCH(careless, 1, n, 0, total); }
EXPORTED run_hand_on(const float* in, float* out, int bug) {
  return LAUNCH(hand_on, 1, 32, 0, in, out, bug);
}
EXPORTED run_shared_bounds(float* out, int bug) {
  return LAUNCH(shared_bounds, 1, 32, 0, out, bug);
}
EXPORTED run_local_bounds(const float* in, float* out, int n, int bug) {
  return LAUNCH(local_bounds, 1, n, 0, in, out, n, bug);
}
EXPORTED run_accumulate(const float* in, float* out, int n, int bug) {
  return LAUNCH(accumulate, 1, n, 0, in, out, bug);
}
EXPORTED run_strided(const float* in, float* out, int n, int step) {
  return LAUNCH(strided, 1, n, 0, in, out, step);
}
EXPORTED run_votes(const int* in, int* out, int n) { return LAUNCH(votes, 1, n, 0, in, out); }
EXPORTED run_dynamic(float* out, int n, int shared) {
  return LAUNCH(dynamic_memory, 1, 64, static_cast<size_t>(shared), out, n);
}
EXPORTED run_where(int* out, const unsigned* six) {
  return LAUNCH(where, dim3(six[0], six[1], six[2]), dim3(six[3], six[4], six[5]), 0, out);
}
