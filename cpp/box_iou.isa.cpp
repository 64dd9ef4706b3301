// box_iou, vectorised over the second list; compiled without contraction, so that its values are
// those that NMS and matching decide by.
#include "roiops/box_iou_kernels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T>
void row(T* __restrict iou, const T* box, const T* x1, const T* y1, const T* x2, const T* y2,
         int64_t count, T one) {
  const T own[4] = {box[0], box[1], box[2], box[3]};
  for (int64_t i = 0; i < count; ++i) {
    const T other[4] = {x1[i], y1[i], x2[i], y2[i]};
    iou[i] = box_iou(own, other, one);
  }
}

}  // namespace

const BoxIouKernels<float> box_iou_float = {row<float>};
const BoxIouKernels<double> box_iou_double = {row<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
