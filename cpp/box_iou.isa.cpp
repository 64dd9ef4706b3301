// box_iou and its kin, vectorised over the second list; compiled without contraction, so that the
// IoU is the one that NMS and matching decide by.
#include <limits>

#include "internal/box_iou_kernels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T>
bool is_finite(T x) {
  return x >= -std::numeric_limits<T>::max() && x <= std::numeric_limits<T>::max();
}

// A term that is not finite (0 / 0, an overflow) counts nothing.
template <class T>
T finite_or_zero(T x) {
  return is_finite(x) ? x : T(0);
}

// A pair whose union is not finite is worth 0, whatever the kind.
template <class T>
T unless_infinite(T value, const BoxOverlap<T>& pair) {
  return is_finite(pair.joined) ? value : T(0);
}

template <class T>
T distance_iou(const T* a, const T* b, const BoxOverlap<T>& pair, T eps) {
  const BoxHull<T> hull = box_hull(a, b);
  const T diagonal = hull.width * hull.width + hull.height * hull.height + eps;
  const T x = centre_shift(a, b, 0), y = centre_shift(a, b, 1);
  return iou_of(pair) - finite_or_zero((x * x + y * y) / diagonal);
}

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
  each(out, box, others, [](const T* a, const T* b, int64_t) {
    const BoxOverlap<T> pair = box_overlap(a, b, T(0));
    const BoxHull<T> hull = box_hull(a, b);
    const T area = hull.width * hull.height;
    return unless_infinite(iou_of(pair) - finite_or_zero((area - pair.joined) / area), pair);
  });
}

template <class T>
void distance(T* out, const T* box, const BoxColumns<T>& others, T eps) {
  each(out, box, others, [eps](const T* a, const T* b, int64_t) {
    const BoxOverlap<T> pair = box_overlap(a, b, T(0));
    return unless_infinite(distance_iou(a, b, pair, eps), pair);
  });
}

template <class T>
void complete(T* out, const T* box, T angle, const BoxColumns<T>& others, T eps) {
  const T* angles = others.angle;
  each(out, box, others, [eps, angle, angles](const T* a, const T* b, int64_t i) {
    const BoxOverlap<T> pair = box_overlap(a, b, T(0));
    const T v = shape_difference(angle, angles[i]);
    const T alpha = shape_weight(v, iou_of(pair), eps);
    return unless_infinite(distance_iou(a, b, pair, eps) - finite_or_zero(alpha * v), pair);
  });
}

}  // namespace

const BoxIouKernels<float> box_iou_float = {iou<float>, generalized<float>, distance<float>,
                                            complete<float>};
const BoxIouKernels<double> box_iou_double = {iou<double>, generalized<double>, distance<double>,
                                              complete<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
