// NMS' inner loop, vectorised over kept boxes; compiled without contraction, because it decides.
#include "roiops/geometry.h"
#include "roiops/nms_kernels.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T>
bool suppressed(const T* box, const KeptBoxes<T>& kept, T threshold, T one) {
  int64_t i = 0;
  // Sixteen at a time without a branch, then the question: most candidates are answered early.
  for (; i + ROIOPS_LANES <= kept.count; i += ROIOPS_LANES) {
    int hits = 0;
    for (int l = 0; l < ROIOPS_LANES; ++l) {
      const T other[4] = {kept.x1[i + l], kept.y1[i + l], kept.x2[i + l], kept.y2[i + l]};
      hits |= box_iou(box, other, one) > threshold;
    }
    if (hits) return true;
  }
  for (; i < kept.count; ++i) {
    const T other[4] = {kept.x1[i], kept.y1[i], kept.x2[i], kept.y2[i]};
    if (box_iou(box, other, one) > threshold) return true;
  }
  return false;
}

}  // namespace

const NmsKernels<float> nms_float = {suppressed<float>};
const NmsKernels<double> nms_double = {suppressed<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
