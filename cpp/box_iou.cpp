#include "roiops/box_iou.h"

#include <vector>

#include "roiops/box_iou_kernels.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

const BoxIouKernels<float>& kernels(float) { return pick_box_iou_float(); }
const BoxIouKernels<double>& kernels(double) { return pick_box_iou_double(); }

constexpr int64_t kPairsPerTask = 16384;

int64_t rows_per_task(int64_t columns) { return kPairsPerTask / (columns + 1) + 1; }

template <class T>
void read(T* box, const Array& boxes, int64_t i) {
  for (int c = 0; c < 4; ++c) box[c] = boxes.at<T>(i, c);
}

// How much of a minimum's gradient goes to its first argument.
template <class T>
T share_of_min(T a, T b) {
  return a < b ? T(1) : a == b ? T(0.5) : T(0);
}

// grad += the gradient by box `a` of g * IoU(a, b).
template <class T>
void add_gradient(T* grad, const T* a, const T* b, T g, T one) {
  const T width = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]) + one;
  const T height = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]) + one;
  const T width_a = a[2] - a[0] + one, height_a = a[3] - a[1] + one;
  const T area_b = (b[2] - b[0] + one) * (b[3] - b[1] + one);
  const T overlap = (width > 0 ? width : T(0)) * (height > 0 ? height : T(0));
  const T joined = width_a * height_a + area_b - overlap;
  if (!(joined > 0 && joined <= std::numeric_limits<T>::max())) return;
  // IoU = overlap / joined, where joined falls as the overlap grows.
  const T by_area = -g * (overlap / joined) / joined;
  const T by_overlap = g / joined - by_area;
  const T by_width = width >= 0 && height > 0 ? by_overlap * height : T(0);
  const T by_height = height >= 0 && width > 0 ? by_overlap * width : T(0);
  grad[0] -= by_width * share_of_min(b[0], a[0]) + by_area * height_a;
  grad[1] -= by_height * share_of_min(b[1], a[1]) + by_area * width_a;
  grad[2] += by_width * share_of_min(a[2], b[2]) + by_area * height_a;
  grad[3] += by_height * share_of_min(a[3], b[3]) + by_area * width_a;
}

// Gradient of `boxes`, whose box i meets box j of `others` in the element (i, j) of `grad_iou`.
template <class T>
void sum_gradients(const Array& grad_boxes, const Array& boxes, const Array& others,
                   const Array& grad_iou, int64_t stride, int64_t other_stride,
                   const BoxIouArgs& args) {
  const T one = args.plus_one ? T(1) : T(0);
  const int64_t count = others.shape[0];
  parallel_ranges(boxes.shape[0], rows_per_task(count), args.threads,
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      T box[4], other[4], sum[4] = {};
                      read(box, boxes, i);
                      const T* g = grad_iou.at<T>() + i * stride;
                      for (int64_t j = 0; j < count; ++j) {
                        read(other, others, j);
                        add_gradient(sum, box, other, g[j * other_stride], one);
                      }
                      for (int c = 0; c < 4; ++c) grad_boxes.at<T>(i, c) = sum[c];
                    }
                  });
}

void check(const char* op, const char* name, const Array& pairs, const BoxIouArgs& args) {
  check_floating(op, "boxes1", args.boxes1);
  check_shape(op, "boxes1", args.boxes1, {-1, 4});
  check_shape(op, "boxes2", args.boxes2, {-1, 4});
  check_dtype(op, "boxes2", args.boxes2, args.boxes1.dtype);
  check_shape(op, name, pairs, {args.boxes1.shape[0], args.boxes2.shape[0]});
  check_dtype(op, name, pairs, args.boxes1.dtype);
}

void check_gradient(const char* name, const Array& grad, const Array& boxes) {
  check_shape("box_iou_backward", name, grad, {boxes.shape[0], 4});
  check_dtype("box_iou_backward", name, grad, boxes.dtype);
}

}  // namespace

void box_iou(const Array& iou, const BoxIouArgs& args) {
  check("box_iou", "iou", iou, args);
  const int64_t rows = iou.shape[0], columns = iou.shape[1];
  if (rows == 0 || columns == 0) return;
  if ((columns > 1 && iou.stride[1] != 1) || (rows > 1 && iou.stride[0] != columns))
    throw std::invalid_argument("box_iou: iou must be contiguous");
  dispatch_float(iou.dtype, [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> by_coordinate(4 * columns);
    for (int c = 0; c < 4; ++c)
      for (int64_t j = 0; j < columns; ++j)
        by_coordinate[c * columns + j] = args.boxes2.at<T>(j, c);
    const T* x1 = by_coordinate.data();
    parallel_ranges(rows, rows_per_task(columns), args.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T box[4];
        read(box, args.boxes1, i);
        kernels(zero).row(iou.at<T>() + i * columns, box, x1, x1 + columns, x1 + 2 * columns,
                          x1 + 3 * columns, columns, args.plus_one ? T(1) : T(0));
      }
    });
  });
}

void box_iou_backward(const Array& grad_boxes1, const Array& grad_boxes2, const Array& grad_iou,
                      const BoxIouArgs& args) {
  check("box_iou_backward", "grad_output", grad_iou, args);
  check_gradient("grad_boxes1", grad_boxes1, args.boxes1);
  check_gradient("grad_boxes2", grad_boxes2, args.boxes2);
  dispatch_float(grad_iou.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t row = grad_iou.stride[0], column = grad_iou.stride[1];
    sum_gradients<T>(grad_boxes1, args.boxes1, args.boxes2, grad_iou, row, column, args);
    sum_gradients<T>(grad_boxes2, args.boxes2, args.boxes1, grad_iou, column, row, args);
  });
}

}  // namespace roiops
