#include "emulator/fiber.h"

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace roiops::emulator {

void first_frame();

namespace {

Fiber* left = nullptr;     // by the switch under way
Fiber* entered = nullptr;  // the one it goes to

}  // namespace

// A stack that was given up halfway still has the marks of its frames.
static void forget_frames(char* stack, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, size);
#else
  (void)stack, (void)size;
#endif
}

#if defined(ROIOPS_EMULATOR_CONTEXT)

namespace {

// makecontext passes ints: the pointer is two of them.
void start(unsigned high, unsigned low) {
  first_frame();
  const auto entry = static_cast<uintptr_t>(static_cast<uint64_t>(high) << 32 | low);
  reinterpret_cast<void (*)()>(entry)();
}

}  // namespace

void Fiber::prepare(char* stack, size_t size, void (*entry)()) {
  stack_ = stack;
  size_ = size;
  forget_frames(stack, size);
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = size;
  context_.uc_link = nullptr;
  const auto e = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(entry));
  makecontext(&context_, reinterpret_cast<void (*)()>(start), 2, static_cast<unsigned>(e >> 32),
              static_cast<unsigned>(e));
}

#else

// What a function must leave as it found it is pushed; the rest of a flow of control is its stack.
extern "C" void roiops_emulator_exchange(void** save_top, void* new_top);
extern "C" void roiops_emulator_start();
extern "C" void roiops_emulator_first_frame() { first_frame(); }
asm(R"(
.text
.globl roiops_emulator_exchange
.hidden roiops_emulator_exchange
roiops_emulator_exchange:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.globl roiops_emulator_start
.hidden roiops_emulator_start
roiops_emulator_start:
  call roiops_emulator_first_frame
  call *%rbx
  ud2
)");

void Fiber::prepare(char* stack, size_t size, void (*entry)()) {
  stack_ = stack;
  size_ = size;
  forget_frames(stack, size);
  auto* top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + size) / 16 * 16);
  *--top = nullptr;  // keeps the calls aligned to 16 bytes
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&roiops_emulator_start);
  *--top = nullptr;                              // rbp
  *--top = reinterpret_cast<void*>(entry);       // rbx
  for (int i = 0; i < 4; ++i) *--top = nullptr;  // r12 to r15
  top_ = top;
}

#endif

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &size);
  if (!left->stack_) {  // the first switch away from the system's stack tells where that lies
    left->stack_ = static_cast<char*>(const_cast<void*>(bottom));
    left->size_ = size;
  }
#endif
}

void first_frame() { entered->arrived(); }

void Fiber::switch_to(Fiber& to) {
  left = this;
  entered = &to;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, to.stack_, to.size_);
#endif
#if defined(ROIOPS_EMULATOR_CONTEXT)
  swapcontext(&context_, &to.context_);
#else
  roiops_emulator_exchange(&top_, to.top_);
#endif
  arrived();
}

}  // namespace roiops::emulator
