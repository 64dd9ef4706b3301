#include "roiops/clip_boxes.h"

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

void check(const char* op, const char* name, const Array& a, const Array& boxes) {
  check_floating(op, "boxes", boxes);
  check_shape(op, "boxes", boxes, {-1, 4});
  check_shape(op, name, a, {boxes.shape[0], 4});
  check_dtype(op, name, a, boxes.dtype);
}

// body(row, column, most): every coordinate with the upper limit of its axis.
template <class T, class Body>
void each_coordinate(const Array& boxes, ImageSize size, int threads, const Body& body) {
  const T most[4] = {static_cast<T>(size.width), static_cast<T>(size.height),
                     static_cast<T>(size.width), static_cast<T>(size.height)};
  parallel_ranges(boxes.shape[0], 8192, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int c = 0; c < 4; ++c) body(i, c, most[c]);
  });
}

}  // namespace

void clip_boxes(const Array& clipped, const Array& boxes, ImageSize size, int threads) {
  check("clip_boxes_to_image", "clipped", clipped, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_coordinate<T>(boxes, size, threads, [&](int64_t i, int c, T most) {
      const T x = boxes.at<T>(i, c);
      clipped.at<T>(i, c) = x < T(0) ? T(0) : x > most ? most : x;
    });
  });
}

void clip_boxes_backward(const Array& grad_boxes, const Array& grad_clipped, const Array& boxes,
                         ImageSize size, int threads) {
  const char* op = "clip_boxes_to_image_backward";
  check(op, "grad_output", grad_clipped, boxes);
  check(op, "grad_boxes", grad_boxes, boxes);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_coordinate<T>(boxes, size, threads, [&](int64_t i, int c, T most) {
      const T x = boxes.at<T>(i, c);
      grad_boxes.at<T>(i, c) = x >= T(0) && x <= most ? grad_clipped.at<T>(i, c) : T(0);
    });
  });
}

}  // namespace roiops
