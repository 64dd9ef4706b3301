// A flow of control with a stack of its own: one for every CUDA thread of a block.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) || defined(ROIOPS_EMULATOR_UCONTEXT)
#include <ucontext.h>
#define ROIOPS_EMULATOR_CONTEXT 1
#endif

namespace roiops::emulator {

class Fiber {
 public:
  // The next switch here calls entry(), which must not return.
  void prepare(char* stack, size_t size, void (*entry)());
  // Leaves `this`, which is running, and goes on where `to` was left.
  void switch_to(Fiber& to);

 private:
  friend void first_frame();
  void arrived();

  char* stack_ = nullptr;  // null: the stack of the operating system's thread
  size_t size_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
#if defined(ROIOPS_EMULATOR_CONTEXT)
  ucontext_t context_;
#else
  void* top_ = nullptr;  // of the stack, where the registers are saved
#endif
};

}  // namespace roiops::emulator
