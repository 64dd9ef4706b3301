#include "internal/huge_pages.h"

#include <sys/mman.h>

namespace roiops {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{1} << 21;

int64_t element_size(DType dtype) {
  switch (dtype) {
    case DType::float64:
    case DType::int64:
      return 8;
    case DType::float32:
    case DType::int32:
      return 4;
    case DType::float16:
    case DType::bfloat16:
    case DType::int16:
      return 2;
    default:
      return 1;
  }
}

bool dense(const Array& a) {
  int64_t span = 1;
  for (int d = 0; d < a.ndim; ++d) {
    if (a.stride[d] < 0) return false;
    span += (a.shape[d] - 1) * a.stride[d];
  }
  return span == a.size();
}

}  // namespace

void ask_for_huge_pages(const Array& output) {
#ifdef MADV_HUGEPAGE
  const auto bytes = static_cast<uintptr_t>(output.size() * element_size(output.dtype));
  if (bytes < kHugePage || !dense(output)) return;
  const auto from = reinterpret_cast<uintptr_t>(output.data);
  // Whole huge pages alone: the memory beside them is not ours.
  const uintptr_t begin = (from + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (from + bytes) / kHugePage * kHugePage;
  // Advice: that it is not taken is no error.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace roiops
