// Run-time choice of the instruction set.
//
// A file named *.isa.cpp is compiled once per instruction set, with ROIOPS_ISA naming the namespace
// its code lands in and ROIOPS_VECTOR_BYTES the register width; it may include only config.h,
// decay.h, geometry.h, half.h, isa.h, and of internal/ block.h, exponential.h, simd.h, tile.h
// and *_kernels.h: their functions live there or have internal linkage. (An inline function with
// external linkage, also one of the standard library, could be emitted with AVX-512 code here and
// be picked by the linker for everybody.) Each such file exports one table of functions per
// instruction set; `pick` takes the best one that this machine can run.
#pragma once

namespace roiops {

enum class Isa { baseline = 0, avx2 = 1, avx512 = 2 };

// The best instruction set of this machine that was compiled in, or the lesser one named by the
// environment variable ROIOPS_ISA (baseline, avx2, avx512); read once.
Isa active_isa();
const char* isa_name(Isa isa);

#if defined(ROIOPS_X86)
#define ROIOPS_DECLARE_KERNELS(Table, name) \
  namespace baseline {                      \
  extern const Table name;                  \
  }                                         \
  namespace avx2 {                          \
  extern const Table name;                  \
  }                                         \
  namespace avx512 {                        \
  extern const Table name;                  \
  }                                         \
  inline const Table& pick_##name() {       \
    switch (active_isa()) {                 \
      case Isa::avx512:                     \
        return avx512::name;                \
      case Isa::avx2:                       \
        return avx2::name;                  \
      default:                              \
        return baseline::name;              \
    }                                       \
  }
#else
#define ROIOPS_DECLARE_KERNELS(Table, name) \
  namespace baseline {                      \
  extern const Table name;                  \
  }                                         \
  inline const Table& pick_##name() { return baseline::name; }
#endif

}  // namespace roiops
