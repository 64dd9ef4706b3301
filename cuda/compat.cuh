// The one file between kernels and CUDA: it includes CUDA's headers for nvcc, or the emulator for a
// host compiler (ROIOPS_EMULATED). A kernel launches, declares shared memory and moves vectors by
// what stands here, and is the same source for both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <tuple>

#if defined(ROIOPS_EMULATED)
#include "emulator/device.h"
using cudaStream_t = void*;
#else
#include <cuda_runtime.h>
#endif

#define ROIOPS_HD __host__ __device__

// In front of a loop over registers, whose numbers must be known to the compiler.
#if defined(ROIOPS_EMULATED)
#define ROIOPS_UNROLL
#else
#define ROIOPS_UNROLL _Pragma("unroll")
#endif

namespace roiops::cuda {

struct LaunchConfig {
  dim3 grid, block;
  size_t dynamic_shared = 0;
  cudaStream_t stream = nullptr;
};

#if !defined(ROIOPS_EMULATED)
// An error in words; whoever asks next for the last error does not find ours.
inline const char* failed(cudaError_t error) {
  (void)cudaGetLastError();
  return cudaGetErrorString(error);
}
#endif

// Null: good; else what is wrong, in words.
template <class... Parameters, class... Arguments>
const char* launch(const char* name, void (*kernel)(Parameters...), const LaunchConfig& config,
                   Arguments... arguments) {
#if defined(ROIOPS_EMULATED)
  const std::tuple<Parameters...> values(arguments...);
  const auto body = [&]() {
    const auto function = kernel;
    auto copy = values;
    emulator::entered();  // from here on, what is read is the device's
    std::apply(function, copy);
  };
  return emulator::run({name, config.grid, config.block, config.dynamic_shared}, body)
             ? nullptr
             : "the emulated kernel failed";
#else
  (void)name;
  if (config.dynamic_shared > 0) {  // together with static memory above 48 KB only on demand
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(config.dynamic_shared));
    if (error != cudaSuccess) return failed(error);
  }
  cudaLaunchConfig_t cuda_config{};
  cuda_config.gridDim = config.grid;
  cuda_config.blockDim = config.block;
  cuda_config.dynamicSmemBytes = config.dynamic_shared;
  cuda_config.stream = config.stream;
  const cudaError_t error =
      cudaLaunchKernelEx(&cuda_config, kernel, static_cast<Parameters>(arguments)...);
  return error == cudaSuccess ? nullptr : failed(error);
#endif
}

// Throws for `op` what a launch has returned, if anything.
inline void check_launch(const std::string& op, const char* error) {
  if (error) throw std::runtime_error(op + ": " + error);
}

// One rounding, where a sum may have it: kernels are compiled without contraction, because they
// decide as the CPU does. The emulator rounds twice.
#if defined(ROIOPS_EMULATED)
template <class T>
T multiply_add(T a, T b, T c) {
  return a * b + c;
}
#else
__device__ __forceinline__ float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
__device__ __forceinline__ double multiply_add(double a, double b, double c) {
  return __fma_rn(a, b, c);
}
#endif

// Throws unless `device` is the calling thread's: who owns the arrays makes it so. (To change it
// here and back could open a context on a GPU that the caller has nothing to do with.)
inline void check_device(int device) {
#if defined(ROIOPS_EMULATED)
  (void)device;
#else
  int current = 0;
  const cudaError_t error = cudaGetDevice(&current);
  if (error != cudaSuccess) throw std::runtime_error(failed(error));
  if (current != device)
    throw std::runtime_error("the current CUDA device is " + std::to_string(current) +
                             ", the arrays' is " + std::to_string(device));
#endif
}

// Copies numbers out of device memory, once the stream has come so far: the host waits.
template <class T>
void read_back(T* to, const T* numbers, size_t count, cudaStream_t stream) {
#if defined(ROIOPS_EMULATED)
  (void)stream;
  std::memcpy(to, numbers, count * sizeof *to);
#else
  cudaError_t error =
      cudaMemcpyAsync(to, numbers, count * sizeof *to, cudaMemcpyDeviceToHost, stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
  if (error != cudaSuccess) throw std::runtime_error(failed(error));
#endif
}
template <class T>
T read_back(const T* number, cudaStream_t stream) {
  T value{};
  read_back(&value, number, 1, stream);
  return value;
}

// Numbers that are loaded and stored at once.
template <class T, int n>
struct alignas(sizeof(T) * n) Vector {
  T lane[n];
};
}  // namespace roiops::cuda

// ROIOPS_SHARED is `type name[count]` in a block's shared memory, ROIOPS_DYNAMIC_SHARED what the
// launch asked for besides. load_vector and store_vector are one access to a whole Vector.
#if defined(ROIOPS_EMULATED)
#define ROIOPS_SHARED(type, name, count)      \
  static const char roiops_key_of_##name = 0; \
  type* const name = static_cast<type*>(      \
      ::roiops::emulator::static_shared_memory(&roiops_key_of_##name, sizeof(type) * (count)))
#define ROIOPS_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::roiops::emulator::dynamic_shared_memory())

namespace roiops::cuda {
template <class V>
__attribute__((noinline, no_sanitize("thread"))) V load_vector(const V* from) {
  emulator::observe_vector(from, sizeof(V), emulator::Access::load, __builtin_return_address(0));
  return *from;
}
template <class V>
__attribute__((noinline, no_sanitize("thread"))) void store_vector(V* to, const V& value) {
  emulator::observe_vector(to, sizeof(V), emulator::Access::store, __builtin_return_address(0));
  *to = value;
}
}  // namespace roiops::cuda
#else
#define ROIOPS_SHARED(type, name, count) __shared__ type name[count]
#define ROIOPS_DYNAMIC_SHARED(type, name)                                \
  extern __shared__ __align__(16) unsigned char roiops_dynamic_shared[]; \
  type* const name = reinterpret_cast<type*>(roiops_dynamic_shared)

namespace roiops::cuda {
template <class V>
__device__ __forceinline__ V load_vector(const V* from) {
  return *from;
}
template <class V>
__device__ __forceinline__ void store_vector(V* to, const V& value) {
  *to = value;
}
}  // namespace roiops::cuda
#endif
