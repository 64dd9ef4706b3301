// The check of values that a user may ask for (ROIOPS_CHECK_VALUES=1): a batch index or level that
// does not exist is an error, as on the CPU. The host waits for the stream; without it, nothing is
// read back, and the output of such an RoI is 0.
#pragma once

#include <cstdlib>
#include <cstring>
#include <string>

#include "each.cuh"
#include "internal/roi_indices.h"

namespace roiops::cuda {

template <class C>
struct FindWrong {
  Strided<const C> rois;
  Strided<const int64_t> levels;  // null: a single map
  int64_t images, level_count;
  unsigned long long* first;

  __device__ void operator()(int64_t k) const {
    if (!is_image(rois.at(k), images) || (levels.data && !is_level(levels.at(k), level_count)))
      atomicMin(first, static_cast<unsigned long long>(k));
  }
};

struct SetTo {
  unsigned long long* number;
  unsigned long long value;

  __device__ void operator()(int64_t) const { *number = value; }
};

inline void check_values(const std::string& op, const Array& rois, const Array& levels,
                         int64_t images, int64_t level_count, const Execution& execution) {
  const char* asked = std::getenv("ROIOPS_CHECK_VALUES");
  const int64_t count = rois.shape[0];
  if (!asked || std::strcmp(asked, "1") != 0 || count == 0) return;
  auto* first = static_cast<unsigned long long*>(execution.workspace(sizeof(unsigned long long)));
  for_each(op.c_str(), 1, execution, SetTo{first, static_cast<unsigned long long>(count)});
  dispatch_float(rois.dtype, [&](auto zero) {
    using C = decltype(zero);
    const Strided<const C> regions(rois);
    const Strided<const int64_t> of_levels(levels);
    const auto stream = static_cast<cudaStream_t>(execution.stream);
    for_each(op.c_str(), count, execution,
             FindWrong<C>{regions, of_levels, images, level_count, first});
    const auto k = static_cast<int64_t>(read_back(first, stream));
    if (k == count) return;
    const C index = read_back(&regions.at(k), stream);
    if (!is_image(index, images)) refuse_image(op, k, images, static_cast<double>(index));
    refuse_level(op, k, level_count, read_back(&of_levels.at(k), stream));
  });
}

}  // namespace roiops::cuda
