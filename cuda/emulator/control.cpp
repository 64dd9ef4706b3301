// The emulator from outside: plain C functions, for tests that load a library of kernels.
#include <string>

#include "emulator/accesses.h"
#include "emulator/findings.h"
#include "emulator/machine.h"
#include "emulator/memory.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace emulator = roiops::emulator;

EXPORTED void emulator_settings(uint64_t seed, unsigned preempt, int architecture) {
  emulator::settings = {seed, preempt, architecture};
}
EXPORTED void* emulator_allocate(size_t bytes) { return emulator::allocate(bytes); }
EXPORTED void emulator_release(void* buffer) { emulator::release(buffer); }
EXPORTED void emulator_copy(void* to, const void* from, size_t bytes) {
  emulator::copy(to, from, bytes);
}
// Lines; good until the next call.
EXPORTED const char* emulator_findings() {
  static std::string lines;
  lines = emulator::take_findings();
  return lines.c_str();
}
// The fields of Traffic: of loads, then of stores.
EXPORTED void emulator_traffic(uint64_t* twelve) {
  const emulator::TrafficSum sum = emulator::take_traffic();
  for (const emulator::Traffic& t : {sum.loads, sum.stores})
    for (uint64_t x : {t.requests, t.sectors, t.bytes, t.useful, t.distinct, t.floor})
      *twelve++ = x;
}
