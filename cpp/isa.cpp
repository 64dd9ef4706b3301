#include "roiops/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace roiops {
namespace {

Isa best_isa() {
#if defined(ROIOPS_X86)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
#if defined(ROIOPS_AVX512_BY_AVX2)
  const bool avx512 = true;
#else
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
  if (avx2 && avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa choose() {
  const Isa best = best_isa();
  const char* wanted = std::getenv("ROIOPS_ISA");
  if (!wanted || !*wanted) return best;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (std::string(wanted) != isa_name(isa)) continue;
    if (isa <= best) return isa;
    throw std::invalid_argument(std::string("ROIOPS_ISA must name an instruction set this machine "
                                            "has (at most ") +
                                isa_name(best) + "); got " + wanted);
  }
  throw std::invalid_argument(std::string("ROIOPS_ISA must be baseline, avx2 or avx512; got ") +
                              wanted);
}

}  // namespace

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

}  // namespace roiops
