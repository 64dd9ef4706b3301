// What a kernel sees of the emulator: CUDA's built-in variables and functions, as far as kernels
// here use them. Included by compat.cuh alone. There are no atomics on floating-point numbers,
// because kernels must not use them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace roiops::emulator {

struct Place {
  dim3 thread{0, 0, 0}, block{0, 0, 0}, block_size, grid_size;
};
// Of the thread that is running.
extern Place place;

struct Site {
  const char* file;
  int line;
};
enum class BlockVote { none, any, all, count };

int wait_for_block(BlockVote vote, bool predicate, Site site);
// Return once all lanes of `mask` have called.
void sync_warp(unsigned mask, Site site);
uint64_t value_of_lane(unsigned mask, uint64_t own, unsigned lane, Site site);
unsigned ballot(unsigned mask, bool predicate, Site site);
void* static_shared_memory(const void* key, size_t bytes);
void* dynamic_shared_memory();
// Tells of an access by other means than a plain load or store.
enum class Access { load, store, atomic };
void observe(const void* address, size_t bytes, Access access, const void* instruction);
// Of a whole vector, which must be aligned to its size.
void observe_vector(const void* address, size_t bytes, Access access, const void* instruction);

struct Launch {
  const char* kernel;
  dim3 grid, block;
  size_t dynamic_shared;
};
// Says that the arguments are copied, and what follows is the kernel.
void entered();
// Runs the kernel in every thread; false if the launch is refused or failed (see findings.h).
bool run(const Launch& launch, const std::function<void()>& kernel);

template <class T>
uint64_t as_bits(T value) {
  static_assert(sizeof(T) <= 8, "a shuffle moves 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T shuffled(unsigned mask, T value, unsigned lane, Site site) {
  const uint64_t bits = value_of_lane(mask, as_bits(value), lane, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned own_lane() {
  return (place.thread.x +
          place.block_size.x * (place.thread.y + place.block_size.y * place.thread.z)) %
         32;
}
template <class T, class Change>
__attribute__((no_sanitize("thread"))) T changed(T* address, Change change,
                                                 const void* instruction) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "atomics are on 32 or 64 bits");
  observe(address, sizeof(T), Access::atomic, instruction);
  const T old = *address;
  *address = change(old);
  return old;
}

}  // namespace roiops::emulator

#define threadIdx (::roiops::emulator::place.thread)
#define blockIdx (::roiops::emulator::place.block)
#define blockDim (::roiops::emulator::place.block_size)
#define gridDim (::roiops::emulator::place.grid_size)

// The place of the call, as default arguments.
#define ROIOPS_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(ROIOPS_HERE) {
  ::roiops::emulator::wait_for_block(::roiops::emulator::BlockVote::none, false, {file, line});
}
inline int __syncthreads_or(int predicate, ROIOPS_HERE) {
  return ::roiops::emulator::wait_for_block(::roiops::emulator::BlockVote::any, predicate,
                                            {file, line});
}
inline int __syncthreads_and(int predicate, ROIOPS_HERE) {
  return ::roiops::emulator::wait_for_block(::roiops::emulator::BlockVote::all, predicate,
                                            {file, line});
}
inline int __syncthreads_count(int predicate, ROIOPS_HERE) {
  return ::roiops::emulator::wait_for_block(::roiops::emulator::BlockVote::count, predicate,
                                            {file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, ROIOPS_HERE) {
  ::roiops::emulator::sync_warp(mask, {file, line});
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, ROIOPS_HERE) {
  return ::roiops::emulator::shuffled(mask, value, static_cast<unsigned>(source) % 32,
                                      {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, ROIOPS_HERE) {
  return ::roiops::emulator::shuffled(mask, value, (::roiops::emulator::own_lane() ^ bits) % 32,
                                      {file, line});
}
// Past the end of the warp a lane gets its own value.
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, ROIOPS_HERE) {
  const unsigned lane = ::roiops::emulator::own_lane();
  return ::roiops::emulator::shuffled(mask, value, lane >= delta ? lane - delta : lane,
                                      {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, ROIOPS_HERE) {
  const unsigned lane = ::roiops::emulator::own_lane();
  return ::roiops::emulator::shuffled(mask, value, lane + delta < 32 ? lane + delta : lane,
                                      {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, ROIOPS_HERE) {
  return ::roiops::emulator::ballot(mask, predicate, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, ROIOPS_HERE) {
  return ::roiops::emulator::ballot(mask, predicate, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, ROIOPS_HERE) {
  return ::roiops::emulator::ballot(mask, predicate, {file, line}) == mask;
}

#define ROIOPS_ATOMIC(name, result)                                                         \
  template <class T>                                                                        \
  __attribute__((noinline, no_sanitize("thread"))) T name(T* address, T value) {            \
    static_assert(!std::is_floating_point_v<T>, "the order of such sums is not fixed");     \
    return ::roiops::emulator::changed(                                                     \
        address, [=](T old) __attribute__((no_sanitize("thread"))) -> T { return result; }, \
        __builtin_return_address(0));                                                       \
  }
ROIOPS_ATOMIC(atomicAdd, static_cast<T>(old + value))
ROIOPS_ATOMIC(atomicMin, old < value ? old : value)
ROIOPS_ATOMIC(atomicMax, old > value ? old : value)
ROIOPS_ATOMIC(atomicAnd, static_cast<T>(old& value))
ROIOPS_ATOMIC(atomicOr, static_cast<T>(old | value))
ROIOPS_ATOMIC(atomicExch, ((void)old, value))
#undef ROIOPS_ATOMIC
template <class T>
__attribute__((noinline, no_sanitize("thread"))) T atomicCAS(T* address, T expected, T value) {
  return ::roiops::emulator::changed(
      address, [=](T old) { return old == expected ? value : old; }, __builtin_return_address(0));
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) {
  return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64;
}
inline void __threadfence() {}
