// The emulated machine: one block at a time, its threads as fibers. Between the emulator's own
// files.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "emulator/device.h"
#include "emulator/fiber.h"

namespace roiops::emulator {

constexpr int kWarp = 32;

enum class WarpCall { sync, shuffle, vote };
enum class State : uint8_t { ready, at_barrier, in_warp, done };

struct Thread {
  Fiber fiber;
  dim3 index{0, 0, 0};
  int number = 0;
  State state = State::ready;
  bool inside = false;  // the kernel, past the copy of its arguments
  Site site{};          // where it waits
  WarpCall call{};      // for what, in_warp
  unsigned mask = 0;
  uint64_t value = 0;
  uint64_t received[kWarp];
  BlockVote vote{};
  bool predicate = false;
  uint32_t clock[kWarp] = {};  // what it knows of the lanes of its warp (see accesses.cpp)

  int warp() const { return number / kWarp; }
  int lane() const { return number % kWarp; }
};

struct Block {
  std::vector<Thread> threads;
  Thread* running = nullptr;
  Fiber scheduler;
  int64_t number = 0;
  uint32_t barriers = 0;  // passed so far
  int waiting = 0, done = 0, vote_result = 0;
  const std::function<void()>* kernel = nullptr;
};

// Of the launch under way; null between launches.
extern Block* block;

struct Settings {
  uint64_t seed = 0;     // 0: threads and blocks in order
  unsigned preempt = 0;  // one access in so many gives way to another thread; 0: none
  int architecture = 80;
};
extern Settings settings;
extern std::mt19937_64 randomness;  // begins with the seed in each launch

// From one of the kernel's threads: lets the others run; gives the kernel up.
void give_way();
[[noreturn]] void abandon();

// A block's shared memory: what lies where, filled with NaN.
void open_shared_memory(size_t dynamic);
size_t shared_memory_in_use();
struct Span {
  const char* begin = nullptr;
  const char* end = nullptr;
  bool holds(const void* address, size_t bytes) const {
    const char* p = static_cast<const char*>(address);
    return p >= begin && p + bytes <= end;
  }
};
Span shared_arena();  // all of it, gaps too
bool in_shared_array(const void* address, size_t bytes);

// Stacks of the threads, each with a guard page below; kept for the next block.
void prepare_stacks(size_t threads);
Span stack_of(size_t thread);

// The memory that was allocated as a device's (see memory.h) to which the address belongs, also if
// that lies a bit outside; empty if none.
Span device_buffer_at(const void* address);

// Runs all threads of the block; false if they gave up or wait for each other.
bool run_threads();

// Races, uninitialised reads, sectors; nothing in builds without hooks.
void begin_accesses();
void begin_block_accesses();
void end_block_accesses();

}  // namespace roiops::emulator
