#include "roiops/box_iou.h"

#include <cmath>
#include <vector>

#include "internal/box_iou_kernels.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
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

// In this file alone, so that every instruction set has the same bits.
template <class T>
T angle_of(const T* box) {
  return std::atan((box[2] - box[0]) / (box[3] - box[1]));
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

// How much of a minimum's gradient goes to its first argument.
template <class T>
T share_of_min(T a, T b) {
  return a < b ? T(1) : a == b ? T(0.5) : T(0);
}

// Adds to grad[axis] and grad[axis + 2] the gradients by the shared and by the hull's length along
// an axis, and by the length of box `a` itself.
template <class T>
void add_lengths(T* grad, const T* a, const T* b, int axis, T by_shared, T by_hull, T by_own) {
  const int low = axis, high = axis + 2;
  grad[low] -= by_shared * share_of_min(b[low], a[low]) + by_own;
  grad[high] += by_shared * share_of_min(a[high], b[high]) + by_own;
  grad[low] -= by_hull * share_of_min(a[low], b[low]);
  grad[high] += by_hull * share_of_min(b[high], a[high]);
}

// The derivatives of atan(width / height) by both; the quotient that is at most 1 is formed.
template <class T>
void angle_slopes(T width, T height, T* by_width, T* by_height) {
  const bool upright = std::abs(width) <= std::abs(height);
  const T longer = upright ? height : width, ratio = upright ? width / height : height / width;
  const T slope = T(1) / ((T(1) + ratio * ratio) * longer);
  *by_width = upright ? slope : ratio * slope;
  *by_height = upright ? -ratio * slope : -slope;
}

template <class T>
struct Options {
  IouKind kind;
  T one, eps;
};

// grad += the gradient by box `a` of g * value(a, b).
template <class T>
void add_gradient(T* grad, const T* a, T angle_a, const T* b, T angle_b, T g,
                  const Options<T>& options) {
  const T one = options.one, eps = options.eps;
  const T width = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]) + one;
  const T height = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]) + one;
  const BoxOverlap<T> pair = box_overlap(a, b, one);
  if (!std::isfinite(pair.joined)) return;
  const T iou = iou_of(pair);
  const bool overlaps = pair.joined > 0;
  T by_joined = overlaps ? -g * iou / pair.joined : T(0);
  T by_hull_width = T(0), by_hull_height = T(0);
  T by_own_width = T(0), by_own_height = T(0);
  if (options.kind == IouKind::generalized) {
    const BoxHull<T> hull = box_hull(a, b);
    const T area = hull.width * hull.height;
    if (std::isfinite((area - pair.joined) / area)) {
      by_joined += g / area;
      const T by_area = -g * (pair.joined / area) / area;
      by_hull_width = by_area * hull.height;
      by_hull_height = by_area * hull.width;
    }
  } else if (options.kind != IouKind::iou) {
    const BoxHull<T> hull = box_hull(a, b);
    const T diagonal = hull.width * hull.width + hull.height * hull.height + eps;
    const T x = centre_shift(a, b, 0), y = centre_shift(a, b, 1);
    const T penalty = (x * x + y * y) / diagonal;
    if (std::isfinite(penalty)) {
      by_hull_width = T(2) * g * penalty * hull.width / diagonal;
      by_hull_height = T(2) * g * penalty * hull.height / diagonal;
      for (int c = 0; c < 4; ++c) grad[c] -= g * (c % 2 ? y : x) / diagonal;
    }
  }
  if (options.kind == IouKind::complete) {
    const T v = shape_difference(angle_a, angle_b), alpha = shape_weight(v, iou, eps);
    if (std::isfinite(alpha * v)) {
      const T by_angle = -g * alpha * T(2) * shape_difference(T(1), T(0)) * (angle_a - angle_b);
      T by_width, by_height;
      angle_slopes(a[2] - a[0], a[3] - a[1], &by_width, &by_height);
      by_own_width = by_angle * by_width;
      by_own_height = by_angle * by_height;
    }
  }
  // IoU = overlap / union, and the union falls as the overlap grows.
  const T by_common = (overlaps ? g / pair.joined : T(0)) - by_joined;
  add_lengths(grad, a, b, 0, width >= 0 && height > 0 ? by_common * height : T(0), by_hull_width,
              by_joined * (a[3] - a[1] + one) + by_own_width);
  add_lengths(grad, a, b, 1, height >= 0 && width > 0 ? by_common * width : T(0), by_hull_height,
              by_joined * (a[2] - a[0] + one) + by_own_height);
}

// Gradient of `boxes`, whose box i meets box j of `others` in element i * stride + j * other_stride
// of an image's gradients.
template <class T>
void sum_gradients(const Array& grad_boxes, const Array& boxes, const Array& others,
                   const Array& grad_values, int64_t stride, int64_t other_stride,
                   const BoxIouArgs& args) {
  const Options<T> options{args.kind, args.kind == IouKind::iou && args.plus_one ? T(1) : T(0),
                           static_cast<T>(args.eps)};
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
            add_gradient(sum, box, angle, other, list.angle[j], g[j * other_stride], options);
          }
          T* to = grad_boxes.at<T>() + image * grad_boxes.stride[0] + i * grad_boxes.stride[1];
          for (int c = 0; c < 4; ++c) to[c * grad_boxes.stride[2]] = sum[c];
        }
      });
}

void check(const char* op, const char* name, const Array& pairs, const BoxIouArgs& args) {
  check_floating(op, "boxes1", args.boxes1);
  check_shape(op, "boxes1", args.boxes1, {-1, -1, 4});
  check_shape(op, "boxes2", args.boxes2, {args.boxes1.shape[0], -1, 4});
  check_dtype(op, "boxes2", args.boxes2, args.boxes1.dtype);
  check_shape(op, name, pairs, {args.boxes1.shape[0], args.boxes1.shape[1], args.boxes2.shape[1]});
  check_dtype(op, name, pairs, args.boxes1.dtype);
}

void check_gradient(const char* name, const Array& grad, const Array& boxes) {
  check_shape("box_iou_backward", name, grad, {boxes.shape[0], boxes.shape[1], 4});
  check_dtype("box_iou_backward", name, grad, boxes.dtype);
}

}  // namespace

void box_iou(const Array& values, const BoxIouArgs& args) {
  check("box_iou", "values", values, args);
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
  check("box_iou_backward", "grad_output", grad_values, args);
  check_gradient("grad_boxes1", grad_boxes1, args.boxes1);
  check_gradient("grad_boxes2", grad_boxes2, args.boxes2);
  dispatch_float(grad_values.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t row = grad_values.stride[1], column = grad_values.stride[2];
    sum_gradients<T>(grad_boxes1, args.boxes1, args.boxes2, grad_values, row, column, args);
    sum_gradients<T>(grad_boxes2, args.boxes2, args.boxes1, grad_values, column, row, args);
  });
}

}  // namespace roiops
