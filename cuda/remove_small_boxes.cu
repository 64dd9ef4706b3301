// Which boxes have both sides of a least size: counted, then put in order (choose.cuh). The host
// waits once, for how many there are. Bytes moved: the boxes twice, the indices.
#include "choose.cuh"
#include "internal/remove_small_boxes_check.h"
#include "roiops/remove_small_boxes.h"

namespace roiops {
namespace cuda {
namespace {

template <class T>
struct HasSides {
  Strided<const T> boxes;
  T least;

  __device__ bool operator()(int64_t i) const {
    return has_sides(boxes.at(i, 0), boxes.at(i, 1), boxes.at(i, 2), boxes.at(i, 3), least);
  }
};

struct Keep {
  Strided<int64_t> keep;

  __device__ void operator()(int64_t place, int64_t i) const { keep.at(place) = i; }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

int64_t remove_small_boxes(const Array& keep, const Array& boxes, double min_size,
                           const Execution& execution) {
  check_remove_small_boxes(keep, boxes);
  if (boxes.shape[0] == 0) return 0;
  return dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t* count = choose("remove_small_boxes", boxes.shape[0], execution,
                                  HasSides<T>{Strided<const T>(boxes), static_cast<T>(min_size)},
                                  Keep{Strided<int64_t>(keep)});
    return read_back(count, static_cast<cudaStream_t>(execution.stream));
  });
}

}  // namespace roiops
