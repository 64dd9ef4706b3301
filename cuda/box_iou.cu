// IoU and its kin of all pairs of boxes, a thread for each pair; and their gradients, a warp for
// each box. A warp computes 32 pairs side by side and adds them up one after the other, in the
// order in which the CPU does, so that long sums take no whole thread's time and have the same
// bits.
//
// Bytes moved: the values once; the boxes of both lists come from the cache, once for every pair.
#include <string>

#include "box_rows.cuh"
#include "divide.cuh"
#include "internal/box_iou_check.h"
#include "internal/box_iou_formulas.h"
#include "roiops/box_iou.h"

namespace roiops {
namespace cuda {
namespace {

template <class T>
__device__ void load_box(T* box, const Strided<const T>& boxes, int64_t image, int64_t i) {
  for (int c = 0; c < 4; ++c) box[c] = boxes.at(image, i, c);
}

template <class T>
struct PairValue {
  Strided<T> values;
  Strided<const T> boxes1, boxes2;
  int64_t rows, columns;
  IouOptions<T> options;

  __device__ T value(const T* a, const T* b) const {
    switch (options.kind) {
      case IouKind::generalized:
        return generalized_iou(a, b);
      case IouKind::distance:
        return distance_iou(a, b, options.eps);
      case IouKind::complete:
        return complete_iou(a, b, angle_of(a), angle_of(b), options.eps);
      default:
        return roiops::box_iou(a, b, options.one);
    }
  }
  __device__ void operator()(int64_t pair) const {
    const Split row = split(pair, columns), image = split(row.quotient, rows);
    T a[4], b[4];
    load_box(a, boxes1, image.quotient, image.remainder);
    load_box(b, boxes2, image.quotient, row.remainder);
    values.at(image.quotient, image.remainder, row.remainder) = value(a, b);
  }
};

constexpr int kWarps = 4;        // of a block
constexpr int kTerms = 12;       // of a pair: three for each coordinate
constexpr int kTermStride = 33;  // four lanes read four terms from different banks

// Box i of `boxes` meets box j of `others` in by_values.at(image, i, j).
template <class T>
struct PairSums {
  Strided<T> grad_boxes;
  Strided<const T> boxes, others, by_values;
  int64_t images, rows, count;
  IouOptions<T> options;
};

template <class T>
__global__ void sum_pairs(PairSums<T> sums) {
  ROIOPS_SHARED(T, all_terms, kWarps * kTerms * kTermStride);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  T* const terms = all_terms + warp * kTerms * kTermStride;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  const int64_t image = row / sums.rows, i = row % sums.rows;
  if (image >= sums.images) return;  // the whole warp
  T box[4];
  load_box(box, sums.boxes, image, i);
  const bool angles = sums.options.kind == IouKind::complete;
  const T angle = angles ? angle_of(box) : T(0);
  T sum = T(0);  // of coordinate `lane`
  for (int64_t first = 0; first < sums.count; first += 32) {
    const int64_t j = first + lane;
    if (j < sums.count) {
      T other[4];
      load_box(other, sums.others, image, j);
      const PairGradient<T> grad =
          gradient_of_pair(box, angle, other, angles ? angle_of(other) : T(0),
                           sums.by_values.at(image, i, j), sums.options);
      for (int c = 0; c < 4; ++c) {
        terms[c * kTermStride + lane] = grad.centre[c];
        terms[(c + 4) * kTermStride + lane] = grad.sides[c];
        terms[(c + 8) * kTermStride + lane] = grad.hull[c];
      }
    }
    __syncwarp();
    if (lane < 4)
      for (int l = 0; l < 32 && first + l < sums.count; ++l)
        for (int term = lane; term < kTerms; term += 4) sum += terms[term * kTermStride + l];
    __syncwarp();
  }
  if (lane < 4) sums.grad_boxes.at(image, i, lane) = sum;
}

template <class T>
void launch_sums(const PairSums<T>& sums, const Execution& execution) {
  const int64_t blocks = (sums.images * sums.rows + kWarps - 1) / kWarps;
  if (blocks == 0) return;
  if (blocks > 0x7fffffff)
    throw std::invalid_argument(
        message("box_iou_backward: ", blocks, " blocks are too many for a GPU's grid"));
  check_device(execution.device);
  const LaunchConfig config{dim3(static_cast<unsigned>(blocks)), dim3(32 * kWarps), 0,
                            static_cast<cudaStream_t>(execution.stream)};
  check_launch("box_iou_backward", launch("box_iou_backward", sum_pairs<T>, config, sums));
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void box_iou(const Array& values, const BoxIouArgs& args) {
  check_box_iou(values, args);
  dispatch_float(values.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("box_iou", values.size(), args.execution,
             PairValue<T>{Strided<T>(values), Strided<const T>(args.boxes1),
                          Strided<const T>(args.boxes2), values.shape[1], values.shape[2],
                          IouOptions<T>(args)});
  });
}

void box_iou_backward(const Array& grad_boxes1, const Array& grad_boxes2, const Array& grad_values,
                      const BoxIouArgs& args) {
  check_box_iou_backward(grad_boxes1, grad_boxes2, grad_values, args);
  Array turned = grad_values;
  std::swap(turned.shape[1], turned.shape[2]);
  std::swap(turned.stride[1], turned.stride[2]);
  dispatch_float(grad_values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto sum = [&](const Array& grad, const Array& boxes, const Array& others,
                         const Array& by_values) {
      launch_sums(PairSums<T>{Strided<T>(grad), Strided<const T>(boxes), Strided<const T>(others),
                              Strided<const T>(by_values), boxes.shape[0], boxes.shape[1],
                              others.shape[1], IouOptions<T>(args)},
                  args.execution);
    };
    sum(grad_boxes1, args.boxes1, args.boxes2, grad_values);
    sum(grad_boxes2, args.boxes2, args.boxes1, turned);
  });
}

}  // namespace roiops
