// A launch: is it allowed on the chosen architecture, its blocks one after the other, and what
// becomes of a fault in one of them.
#include <algorithm>
#include <csignal>
#include <mutex>
#include <numeric>
#include <string>

#include "emulator/findings.h"
#include "emulator/machine.h"

namespace roiops::emulator {
namespace {

// Bytes of shared memory a block may ask for (CUDA programming guide, compute capabilities).
size_t most_shared_memory(int architecture) {
  switch (architecture) {
    case 75:
      return 64 << 10;
    case 80:
      return 163 << 10;
    case 86:
    case 89:
    case 120:
      return 99 << 10;
    default:
      return 227 << 10;
  }
}

std::string refusal(const Launch& launch) {
  const auto limit = [](const char* what, uint64_t got, uint64_t most) {
    return std::string(what) + " must be 1 to " + std::to_string(most) + "; got " +
           std::to_string(got);
  };
  const auto outside = [](uint64_t x, uint64_t most) { return x < 1 || x > most; };
  const dim3 b = launch.block, g = launch.grid;
  if (outside(b.x, 1024)) return limit("block.x", b.x, 1024);
  if (outside(b.y, 1024)) return limit("block.y", b.y, 1024);
  if (outside(b.z, 64)) return limit("block.z", b.z, 64);
  const uint64_t threads = uint64_t{b.x} * b.y * b.z;
  if (outside(threads, 1024)) return limit("threads per block", threads, 1024);
  if (outside(g.x, 0x7fffffff)) return limit("grid.x", g.x, 0x7fffffff);
  if (outside(g.y, 65535)) return limit("grid.y", g.y, 65535);
  if (outside(g.z, 65535)) return limit("grid.z", g.z, 65535);
  const size_t most = most_shared_memory(settings.architecture);
  if (launch.dynamic_shared > most)
    return "shared memory of sm_" + std::to_string(settings.architecture) + " is at most " +
           std::to_string(most) + " bytes per block; got " + std::to_string(launch.dynamic_shared);
  return "";
}

void on_fault(int, siginfo_t* info, void*) {
  const char* address = static_cast<const char*>(info->si_addr);
  std::string where = "an address that is no device memory";
  for (const Thread& t : block->threads) {
    const Span stack = stack_of(t.number);
    if (address < stack.begin && address >= stack.begin - (1 << 12)) where = "its own full stack";
  }
  const Span buffer = device_buffer_at(address);
  if (buffer.end)
    where = std::to_string(address - buffer.end) + " bytes past the end of a buffer of " +
            std::to_string(buffer.end - buffer.begin);
  report("memory fault: access to " + where);
  abandon();
}

// Faults are the kernel's as long as one of its threads runs.
class FaultHandlers {
 public:
  FaultHandlers() {
    static char stack[64 << 10];
    stack_t alternative{};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    sigaltstack(&alternative, &old_stack_);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &old_segv_);
    sigaction(SIGBUS, &action, &old_bus_);
  }
  ~FaultHandlers() {
    sigaction(SIGSEGV, &old_segv_, nullptr);
    sigaction(SIGBUS, &old_bus_, nullptr);
    sigaltstack(&old_stack_, nullptr);
  }

 private:
  stack_t old_stack_;
  struct sigaction old_segv_, old_bus_;
};

dim3 index_in(dim3 size, uint64_t number) {
  return {static_cast<unsigned>(number % size.x), static_cast<unsigned>(number / size.x % size.y),
          static_cast<unsigned>(number / size.x / size.y)};
}

bool run_block(const Launch& launch, const std::function<void()>& kernel, uint64_t number) {
  Block here;
  here.number = static_cast<int64_t>(number);
  here.kernel = &kernel;
  here.threads.resize(size_t{launch.block.x} * launch.block.y * launch.block.z);
  for (size_t i = 0; i < here.threads.size(); ++i) {
    here.threads[i].number = static_cast<int>(i);
    here.threads[i].index = index_in(launch.block, i);
    here.threads[i].clock[i % kWarp] = 1;
  }
  place = {{0, 0, 0}, index_in(launch.grid, number), launch.block, launch.grid};
  block = &here;
  open_shared_memory(launch.dynamic_shared);
  begin_block_accesses();
  bool good = run_threads();
  const size_t used = shared_memory_in_use(), most = most_shared_memory(settings.architecture);
  if (used > most) {
    report("shared memory of sm_" + std::to_string(settings.architecture) + " is at most " +
           std::to_string(most) + " bytes per block; " + std::to_string(used) + " are in use");
    good = false;
  }
  end_block_accesses();
  block = nullptr;
  return good;
}

}  // namespace

const char* kernel_under_way = nullptr;

void entered() { block->running->inside = true; }

bool run(const Launch& launch, const std::function<void()>& kernel) {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  kernel_under_way = launch.kernel;
  const std::string refused = refusal(launch);
  if (!refused.empty()) {
    report("launch refused: " + refused);
    return false;
  }
  const FaultHandlers handlers;
  randomness.seed(settings.seed);
  begin_accesses();
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::vector<uint64_t> order(settings.seed ? blocks : 0);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), randomness);
  for (uint64_t i = 0; i < blocks; ++i)
    if (!run_block(launch, kernel, order.empty() ? i : order[i])) return false;
  return true;
}

}  // namespace roiops::emulator
