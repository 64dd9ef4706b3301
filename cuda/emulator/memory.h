// Device memory: buffers that end at a page nobody may touch. Freed ones stay untouchable for a
// while.
#pragma once

#include <cstddef>

namespace roiops::emulator {

// Filled with bytes of NaN. Null if there is no memory. Zero bytes give an address that holds
// nothing.
void* allocate(size_t bytes);
void release(void* buffer);
// As a copy between host and device: what is written counts as initialised.
void copy(void* to, const void* from, size_t bytes);

}  // namespace roiops::emulator
