// box_iou and its kin, vectorised over the second list; compiled without contraction, so that the
// IoU is the one that NMS and matching decide by.
#include "internal/box_iou_kernels.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T, class Value>
void each(T* __restrict out, const T* box, const BoxColumns<T>& others, Value value) {
  const T own[4] = {box[0], box[1], box[2], box[3]};
  const T *x1 = others.x1, *y1 = others.y1, *x2 = others.x2, *y2 = others.y2;
  for (int64_t i = 0; i < others.count; ++i) {
    const T other[4] = {x1[i], y1[i], x2[i], y2[i]};
    out[i] = value(own, other, i);
  }
}

template <class T>
void iou(T* out, const T* box, const BoxColumns<T>& others, T one) {
  each(out, box, others, [one](const T* a, const T* b, int64_t) { return box_iou(a, b, one); });
}

template <class T>
void generalized(T* out, const T* box, const BoxColumns<T>& others) {
  each(out, box, others, [](const T* a, const T* b, int64_t) { return generalized_iou(a, b); });
}

template <class T>
void distance(T* out, const T* box, const BoxColumns<T>& others, T eps) {
  each(out, box, others,
       [eps](const T* a, const T* b, int64_t) { return distance_iou(a, b, eps); });
}

template <class T>
void complete(T* out, const T* box, T angle, const BoxColumns<T>& others, T eps) {
  const T* angles = others.angle;
  each(out, box, others, [eps, angle, angles](const T* a, const T* b, int64_t i) {
    return complete_iou(a, b, angle, angles[i], eps);
  });
}

}  // namespace

const BoxIouKernels<float> box_iou_float = {iou<float>, generalized<float>, distance<float>,
                                            complete<float>};
const BoxIouKernels<double> box_iou_double = {iou<double>, generalized<double>, distance<double>,
                                              complete<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
