#include "emulator/fiber.h"

#include <cstdint>
#include <cstring>

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

// makecontext passes ints: a pointer is two of them.
void start(unsigned entry_high, unsigned entry_low, unsigned argument_high, unsigned argument_low) {
  first_frame();
  const auto joined = [](unsigned high, unsigned low) {
    return static_cast<uintptr_t>(static_cast<uint64_t>(high) << 32 | low);
  };
  reinterpret_cast<void (*)(void*)>(joined(entry_high, entry_low))(
      reinterpret_cast<void*>(joined(argument_high, argument_low)));
}

}  // namespace

void Fiber::prepare(char* stack, size_t size, void (*entry)(void*), void* argument) {
  stack_ = stack;
  size_ = size;
  forget_frames(stack, size);
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = size;
  context_.uc_link = nullptr;
  const auto e = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(entry));
  const auto a = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(argument));
  makecontext(&context_, reinterpret_cast<void (*)()>(start), 4, static_cast<unsigned>(e >> 32),
              static_cast<unsigned>(e), static_cast<unsigned>(a >> 32), static_cast<unsigned>(a));
}

static void exchange(Fiber&, ucontext_t* from, ucontext_t* to) { swapcontext(from, to); }

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
  movq %r12, %rdi
  call *%rbx
  ud2
)");

void Fiber::prepare(char* stack, size_t size, void (*entry)(void*), void* argument) {
  stack_ = stack;
  size_ = size;
  forget_frames(stack, size);
  auto* top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + size) / 16 * 16);
  *--top = nullptr;  // keeps the calls aligned to 16 bytes
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&roiops_emulator_start);
  *--top = nullptr;                              // rbp
  *--top = reinterpret_cast<void*>(entry);       // rbx
  *--top = argument;                             // r12
  for (int i = 0; i < 3; ++i) *--top = nullptr;  // r13 to r15
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
  exchange(*this, &context_, &to.context_);
#else
  roiops_emulator_exchange(&top_, to.top_);
#endif
  arrived();
}

}  // namespace roiops::emulator
