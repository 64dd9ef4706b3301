// What is known of every byte of memory and of every access to it. Only builds whose kernels are
// compiled with hooks see plain loads and stores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace roiops::emulator {

void host_has_written(const void* address, size_t bytes);
void forget(const void* buffer);

// Of loads or stores of device memory: warp requests, 32-byte sectors that these touch, bytes that
// threads asked for, bytes of those sectors that any thread asked for; and sectors if each block
// fetched each but once (a perfect L1), or all blocks together (what DRAM cannot spare).
struct Traffic {
  uint64_t requests = 0, sectors = 0, bytes = 0, useful = 0, distinct = 0, floor = 0;
};
struct TrafficSum {
  Traffic loads, stores;
};
// Since the last call.
TrafficSum take_traffic();

}  // namespace roiops::emulator
