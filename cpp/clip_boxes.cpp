#include "roiops/clip_boxes.h"

#include <type_traits>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 8192;

void check(const char* op, const char* name, const Array& a, const Array& boxes) {
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, name, a, {boxes.shape[0], 4});
  check_dtype(op, name, a, boxes.dtype);
}

// The upper limit of each coordinate.
template <class T>
struct Limits {
  T most[4];
  explicit Limits(ImageSize size)
      : most{static_cast<T>(size.width), static_cast<T>(size.height), static_cast<T>(size.width),
             static_cast<T>(size.height)} {}
};

// The strides of columns are a constant 1 where that is so: a box then moves as one vector.
template <class T, class Column>
void clip(const Array& clipped, const Array& boxes, ImageSize size, const Execution& execution,
          Column to_column, Column from_column) {
  const Limits<T> limits(size);
  parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = boxes.at<T>() + i * boxes.stride[0];
      T* to = clipped.at<T>() + i * clipped.stride[0];
      T box[4];
      for (int c = 0; c < 4; ++c) box[c] = from[c * from_column];
      for (int c = 0; c < 4; ++c) {
        const T low = box[c] < T(0) ? T(0) : box[c];
        box[c] = low > limits.most[c] ? limits.most[c] : low;
      }
      for (int c = 0; c < 4; ++c) to[c * to_column] = box[c];
    }
  });
}

}  // namespace

void clip_boxes(const Array& clipped, const Array& boxes, ImageSize size,
                const Execution& execution) {
  check("clip_boxes_to_image", "clipped", clipped, boxes);
  const auto fill = [&](auto zero) {
    using T = decltype(zero);
    const std::integral_constant<int64_t, 1> one;
    if (clipped.stride[1] == 1 && boxes.stride[1] == 1)
      clip<T>(clipped, boxes, size, execution.threads, one, one);
    else
      clip<T>(clipped, boxes, size, execution.threads, clipped.stride[1], boxes.stride[1]);
  };
  if (boxes.dtype == DType::int64) return fill(int64_t{});
  check_floating("clip_boxes_to_image", "boxes", boxes);
  dispatch_float(boxes.dtype, fill);
}

void clip_boxes_backward(const Array& grad_boxes, const Array& grad_clipped, const Array& boxes,
                         ImageSize size, const Execution& execution) {
  const char* op = "clip_boxes_to_image_backward";
  check(op, "grad_output", grad_clipped, boxes);
  check(op, "grad_boxes", grad_boxes, boxes);
  check_floating(op, "boxes", boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Limits<T> limits(size);
    parallel_ranges(boxes.shape[0], kGrain, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int c = 0; c < 4; ++c) {
          const T x = boxes.at<T>(i, c);
          grad_boxes.at<T>(i, c) =
              x >= T(0) && x <= limits.most[c] ? grad_clipped.at<T>(i, c) : T(0);
        }
    });
  });
}

}  // namespace roiops
