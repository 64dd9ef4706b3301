// Called at every load and store of a kernel: bounds, alignment, initialisation, races, sectors.
//
// The calls come from the compiler: kernels are compiled with -fsanitize=thread, and the functions
// it inserts (__tsan_read4, ...) are those below instead of ThreadSanitizer's.
#include "emulator/accesses.h"

#include <elf.h>
#include <link.h>

#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "emulator/findings.h"
#include "emulator/machine.h"

namespace roiops::emulator {
namespace {

// Without hooks only atomics and vectors are seen: enough for bounds, not for who wrote what.
#if defined(ROIOPS_EMULATOR_HOOKS)
constexpr bool kSeesAll = true;
#else
constexpr bool kSeesAll = false;
#endif

// --- who touched a byte, and when -------------------------------------------------------------

struct Moment {
  int64_t block = 0;
  int32_t thread = -1;  // none
  uint32_t barriers = 0, clock = 0;
  bool atomic = false;
};
constexpr int kReaders = 3;
struct Byte {
  Moment write, reads[kReaders];
  bool initialised = false;
};

std::map<const char*, std::vector<Byte>> buffers;  // by their begin
std::vector<Byte> shared_bytes;

Moment now(Access access) {
  const Thread& t = *block->running;
  return {block->number, t.number, block->barriers, t.clock[t.lane()], access == Access::atomic};
}

// Whether all that happened up to `past` is known to the running thread.
bool ordered(const Moment& past) {
  const Thread& t = *block->running;
  if (past.thread < 0) return true;
  if (past.block != block->number) return false;
  if (past.thread == t.number || past.barriers < block->barriers) return true;
  return past.thread / kWarp == t.warp() && t.clock[past.thread % kWarp] >= past.clock;
}

bool races(const Moment& past, Access access) {
  return !ordered(past) && !(past.atomic && access == Access::atomic);
}

void remember_read(Byte& byte, const Moment& moment) {
  int oldest = 0;
  for (int i = 0; i < kReaders; ++i) {
    Moment& read = byte.reads[i];
    if (read.thread < 0 || (read.thread == moment.thread && read.block == moment.block)) {
      read = moment;
      return;
    }
    if (ordered(read)) oldest = i;
  }
  byte.reads[oldest] = moment;
}

std::string who(const Moment& m) {
  return "thread " + std::to_string(m.thread) + " of block " + std::to_string(m.block);
}

void check_bytes(Byte* bytes, size_t count, Access access, const std::string& where) {
  for (size_t i = 0; i < count; ++i) {
    Byte& byte = bytes[i];
    if (access != Access::store && !byte.initialised) {
      report("read of uninitialised " + where);
      byte.initialised = true;
    }
    if (races(byte.write, access))
      report("race: " + std::string(access == Access::load ? "reads " : "writes ") + where +
             ", written by " + who(byte.write) + " without synchronisation");
    if (access == Access::load) {
      remember_read(byte, now(access));
      continue;
    }
    for (const Moment& read : byte.reads)
      if (races(read, access))
        report("race: writes " + where + ", read by " + who(read) + " without synchronisation");
    byte.write = now(access);
    byte.initialised = true;
  }
}

// --- sectors of memory per request of a warp ----------------------------------------------------

struct Request {
  bool store = false;
  uint64_t bytes = 0;
  std::map<uint64_t, uint32_t> sectors;  // and which of their bytes
};
// Lock-step: the k-th time a lane comes by an instruction belongs to the k-th time of the others.
struct Step {
  int warp;
  const void* instruction;
  uint32_t time;
  bool operator<(const Step& other) const {
    return std::tie(warp, instruction, time) < std::tie(other.warp, other.instruction, other.time);
  }
};
std::map<Step, Request> requests;                              // of the block
std::vector<std::unordered_map<const void*, uint32_t>> times;  // by thread
TrafficSum traffic;
std::unordered_set<uint64_t> ever_loaded, ever_stored;  // since traffic was taken

// Buffers begin at a sector, as a GPU's do, wherever they are here.
void count(const Span& buffer, const char* address, size_t bytes, Access access,
           const void* instruction) {
  const Thread& t = *block->running;
  times.resize(block->threads.size());
  Request& request = requests[Step{t.warp(), instruction, times[t.number][instruction]++}];
  request.store = access != Access::load;
  request.bytes += bytes;
  uint64_t at = reinterpret_cast<uintptr_t>(buffer.begin) / 32 * 32 + (address - buffer.begin);
  for (const uint64_t end = at + bytes; at < end; ++at)
    request.sectors[at / 32] |= uint32_t{1} << at % 32;
}

// --- what memory an address is ------------------------------------------------------------------

// Constants of the program, which a GPU has in memory of its own.
bool in_constants(const void* address, size_t bytes) {
  struct Question {
    uintptr_t begin, end;
  } question{reinterpret_cast<uintptr_t>(address), reinterpret_cast<uintptr_t>(address) + bytes};
  return dl_iterate_phdr(
      [](dl_phdr_info* module, size_t, void* data) {
        const auto& q = *static_cast<Question*>(data);
        for (int i = 0; i < module->dlpi_phnum; ++i) {
          const auto& segment = module->dlpi_phdr[i];
          const bool constant = (segment.p_type == PT_LOAD && !(segment.p_flags & PF_W)) ||
                                segment.p_type == PT_GNU_RELRO;
          const uintptr_t begin = module->dlpi_addr + segment.p_vaddr;
          if (constant && q.begin >= begin && q.end <= begin + segment.p_memsz) return 1;
        }
        return 0;
      },
      &question);
}

const char* verb(Access access) { return access == Access::load ? "reads" : "writes"; }

void observe_shared(const char* address, size_t bytes, Access access) {
  if (!in_shared_array(address, bytes)) {
    report(std::string("out of bounds: ") + verb(access) + " shared memory beside an array");
    abandon();
  }
  if (!kSeesAll) return;
  const Span arena = shared_arena();
  shared_bytes.resize(arena.end - arena.begin);
  check_bytes(&shared_bytes[address - arena.begin], bytes, access, "shared memory");
}

void observe_device(const Span& buffer, const char* address, size_t bytes, Access access,
                    const void* instruction) {
  const auto offset = address - buffer.begin;
  if (!buffer.holds(address, bytes)) {
    report(std::string("out of bounds: ") + verb(access) + " byte " + std::to_string(offset) +
           " of a buffer of " + std::to_string(buffer.end - buffer.begin));
    abandon();
  }
  if (!kSeesAll) return;
  std::vector<Byte>& known = buffers[buffer.begin];
  known.resize(buffer.end - buffer.begin);
  check_bytes(&known[offset], bytes, access, "device memory");
  count(buffer, address, bytes, access, instruction);
}

}  // namespace

void observe(const void* address, size_t bytes, Access access, const void* instruction) {
  if (!block || !block->running || !block->running->inside) return;
  const char* p = static_cast<const char*>(address);
  if (stack_of(block->running->number).holds(p, bytes)) return;
  const char* own = reinterpret_cast<const char*>(&place);  // threadIdx and the like
  if (Span{own, own + sizeof place}.holds(p, bytes)) return;
  if (settings.preempt && randomness() % settings.preempt == 0) give_way();
  const Span arena = shared_arena();
  if (arena.holds(p, bytes)) return observe_shared(p, bytes, access);
  const Span buffer = device_buffer_at(p);
  if (buffer.begin) return observe_device(buffer, p, bytes, access, instruction);
  if (!kSeesAll || (access == Access::load && in_constants(p, bytes))) return;
  for (const Thread& t : block->threads)
    if (stack_of(t.number).holds(p, bytes)) {
      report(std::string(verb(access)) + " another thread's local memory");
      abandon();
    }
  report(std::string(verb(access)) + " memory that is not the device's");
  abandon();
}

void observe_vector(const void* address, size_t bytes, Access access, const void* instruction) {
  if (reinterpret_cast<uintptr_t>(address) % bytes)
    report("misaligned: " + std::to_string(bytes) +
           " bytes at an address that is no multiple of that");
  observe(address, bytes, access, instruction);
}

void begin_accesses() {
  if (!kSeesAll) return;
  for (auto& [begin, bytes] : buffers)
    for (Byte& byte : bytes) byte = {{}, {}, byte.initialised};  // launches follow each other
}

void begin_block_accesses() { shared_bytes.clear(); }

void end_block_accesses() {
  std::set<uint64_t> loaded, stored;
  for (const auto& [step, request] : requests) {
    Traffic& sum = request.store ? traffic.stores : traffic.loads;
    ++sum.requests;
    sum.bytes += request.bytes;
    sum.sectors += request.sectors.size();
    for (const auto& [sector, bytes] : request.sectors) {
      sum.useful += __builtin_popcount(bytes);
      (request.store ? stored : loaded).insert(sector);
    }
  }
  traffic.loads.distinct += loaded.size();
  traffic.stores.distinct += stored.size();
  ever_loaded.insert(loaded.begin(), loaded.end());
  ever_stored.insert(stored.begin(), stored.end());
  requests.clear();
  times.clear();
}

void host_has_written(const void* address, size_t bytes) {
  if (!kSeesAll) return;
  const Span buffer = device_buffer_at(address);
  std::vector<Byte>& known = buffers[buffer.begin];
  known.resize(buffer.end - buffer.begin);
  const auto offset = static_cast<const char*>(address) - buffer.begin;
  for (size_t i = 0; i < bytes && offset + i < known.size(); ++i)
    known[offset + i].initialised = true;
}

void forget(const void* buffer) { buffers.erase(static_cast<const char*>(buffer)); }

TrafficSum take_traffic() {
  traffic.loads.floor = ever_loaded.size();
  traffic.stores.floor = ever_stored.size();
  ever_loaded.clear();
  ever_stored.clear();
  const TrafficSum sum = traffic;
  traffic = {};
  return sum;
}

}  // namespace roiops::emulator

// --- the compiler's calls -----------------------------------------------------------------------

using roiops::emulator::Access;
using roiops::emulator::observe_vector;

#define HOOKS_OF(bytes)                                                              \
  extern "C" void __tsan_read##bytes(void* p) {                                      \
    observe_vector(p, bytes, Access::load, __builtin_return_address(0));             \
  }                                                                                  \
  extern "C" void __tsan_write##bytes(void* p) {                                     \
    observe_vector(p, bytes, Access::store, __builtin_return_address(0));            \
  }                                                                                  \
  extern "C" void __tsan_unaligned_read##bytes(void* p) {                            \
    roiops::emulator::observe(p, bytes, Access::load, __builtin_return_address(0));  \
  }                                                                                  \
  extern "C" void __tsan_unaligned_write##bytes(void* p) {                           \
    roiops::emulator::observe(p, bytes, Access::store, __builtin_return_address(0)); \
  }
HOOKS_OF(1)
HOOKS_OF(2)
HOOKS_OF(4)
HOOKS_OF(8)
HOOKS_OF(16)
extern "C" void __tsan_read_range(void* p, size_t bytes) {
  roiops::emulator::observe(p, bytes, Access::load, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* p, size_t bytes) {
  roiops::emulator::observe(p, bytes, Access::store, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_vptr_update(void**, void*) {}
