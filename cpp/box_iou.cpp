#include "roiops/box_iou.h"

#include <vector>

#include "internal/box_iou_check.h"
#include "internal/box_iou_formulas.h"
#include "internal/box_iou_kernels.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

const BoxIouKernels<float>& kernels(float) { return pick_box_iou_float(); }
const BoxIouKernels<double>& kernels(double) { return pick_box_iou_double(); }

constexpr int64_t kPairsPerTask = 16384;

int64_t rows_per_task(int64_t columns) { return kPairsPerTask / (columns + 1) + 1; }

// Box `i` of image `image`.
template <class T>
void read(T* box, const Array& boxes, int64_t image, int64_t i) {
  const T* from = boxes.at<T>() + image * boxes.stride[0] + i * boxes.stride[1];
  for (int c = 0; c < 4; ++c) box[c] = from[c * boxes.stride[2]];
}

// The boxes of one image after those of another, each image by coordinate; then the boxes' angles.
template <class T>
class ByCoordinate {
 public:
  ByCoordinate(const Array& boxes, IouKind kind)
      : count_(boxes.shape[1]), values_(5 * boxes.shape[0] * count_) {
    for (int64_t image = 0; image < boxes.shape[0]; ++image)
      for (int64_t j = 0; j < count_; ++j) {
        T box[4];
        read(box, boxes, image, j);
        T* to = values_.data() + 5 * image * count_ + j;
        for (int c = 0; c < 4; ++c) to[c * count_] = box[c];
        if (kind == IouKind::complete) to[4 * count_] = angle_of(box);
      }
  }
  BoxColumns<T> image(int64_t i) const {
    const T* x1 = values_.data() + 5 * i * count_;
    return {x1, x1 + count_, x1 + 2 * count_, x1 + 3 * count_, x1 + 4 * count_, count_};
  }

 private:
  int64_t count_;
  std::vector<T> values_;
};

// Gradient of `boxes`, whose box i meets box j of `others` in element i * stride + j * other_stride
// of an image's gradients.
template <class T>
void sum_gradients(const Array& grad_boxes, const Array& boxes, const Array& others,
                   const Array& grad_values, int64_t stride, int64_t other_stride,
                   const BoxIouArgs& args) {
  const IouOptions<T> options(args);
  const ByCoordinate<T> columns(others, args.kind);
  const int64_t rows = boxes.shape[1], count = others.shape[1];
  parallel_ranges(
      boxes.shape[0] * rows, rows_per_task(count), args.execution.threads,
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t image = row / rows, i = row % rows;
          T box[4], sum[4] = {};
          read(box, boxes, image, i);
          const T angle = args.kind == IouKind::complete ? angle_of(box) : T(0);
          const BoxColumns<T> list = columns.image(image);
          const T* g = count == 0
                           ? nullptr
                           : grad_values.at<T>() + image * grad_values.stride[0] + i * stride;
          for (int64_t j = 0; j < count; ++j) {
            const T other[4] = {list.x1[j], list.y1[j], list.x2[j], list.y2[j]};
            gradient_of_pair(box, angle, other, list.angle[j], g[j * other_stride], options)
                .add_to(sum);
          }
          T* to = grad_boxes.at<T>() + image * grad_boxes.stride[0] + i * grad_boxes.stride[1];
          for (int c = 0; c < 4; ++c) to[c * grad_boxes.stride[2]] = sum[c];
        }
      });
}

}  // namespace

void box_iou(const Array& values, const BoxIouArgs& args) {
  check_box_iou(values, args);
  if (values.size() == 0) return;
  const int64_t images = values.shape[0], rows = values.shape[1], columns = values.shape[2];
  if ((columns > 1 && values.stride[2] != 1) || (rows > 1 && values.stride[1] != columns) ||
      (images > 1 && values.stride[0] != rows * columns))
    throw std::invalid_argument("box_iou: values must be contiguous");
  dispatch_float(values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T one = args.plus_one ? T(1) : T(0), eps = static_cast<T>(args.eps);
    const ByCoordinate<T> others(args.boxes2, args.kind);
    const BoxIouKernels<T>& kernel = kernels(zero);
    parallel_ranges(images * rows, rows_per_task(columns), args.execution.threads,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        T box[4];
                        read(box, args.boxes1, row / rows, row % rows);
                        T* out = values.at<T>() + row * columns;
                        const BoxColumns<T> list = others.image(row / rows);
                        switch (args.kind) {
                          case IouKind::iou:
                            kernel.iou(out, box, list, one);
                            break;
                          case IouKind::generalized:
                            kernel.generalized(out, box, list);
                            break;
                          case IouKind::distance:
                            kernel.distance(out, box, list, eps);
                            break;
                          case IouKind::complete:
                            kernel.complete(out, box, angle_of(box), list, eps);
                            break;
                        }
                      }
                    });
  });
}

void box_iou_backward(const Array& grad_boxes1, const Array& grad_boxes2, const Array& grad_values,
                      const BoxIouArgs& args) {
  check_box_iou_backward(grad_boxes1, grad_boxes2, grad_values, args);
  dispatch_float(grad_values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t row = grad_values.stride[1], column = grad_values.stride[2];
    sum_gradients<T>(grad_boxes1, args.boxes1, args.boxes2, grad_values, row, column, args);
    sum_gradients<T>(grad_boxes2, args.boxes2, args.boxes1, grad_values, column, row, args);
  });
}

}  // namespace roiops
