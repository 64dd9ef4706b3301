// Boxes from one format to another and their gradients, a thread for each box; formats are the same
// for all threads. Bytes moved: the boxes before and after; of gradients, a third array.
#include "each.cuh"
#include "internal/box_convert_check.h"
#include "internal/box_convert_formulas.h"
#include "roiops/box_convert.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kMostNumbers = 8;  // of a box; loops of this length stay in registers

template <class T>
__device__ void load_numbers(T* to, const Strided<const T>& from, int64_t i, int count) {
  for (int c = 0; c < kMostNumbers; ++c) to[c] = c < count ? from.at(i, c) : T(0);
}
template <class T>
__device__ void store_numbers(const Strided<T>& to, int64_t i, const T* from, int count) {
  for (int c = 0; c < kMostNumbers; ++c)
    if (c < count) to.at(i, c) = from[c];
}

// Upright formats lead over corners of type `Corners`.
template <class Corners, class To, class From>
struct Convert {
  Strided<To> converted;
  Strided<const From> boxes;
  BoxFormat from, to;

  __device__ void operator()(int64_t i) const {
    From box[kMostNumbers];
    To result[kMostNumbers] = {};
    load_numbers(box, boxes, i, row_length(from));
    if (from == to) {
      for (int c = 0; c < kMostNumbers; ++c) result[c] = static_cast<To>(box[c]);
    } else if (!is_rotated(from)) {
      convert_upright<Corners>(result, box, from, to);
    } else {
      if constexpr (std::is_same_v<To, From>) convert_rotated(result, box, from, to);
    }
    store_numbers(converted, i, result, row_length(to));
  }
};

template <class T>
struct ConvertGradient {
  Strided<T> grad_boxes;
  Strided<const T> grad_converted, boxes;
  BoxFormat from, to;

  __device__ void operator()(int64_t i) const {
    T box[kMostNumbers], by_converted[kMostNumbers], grad[kMostNumbers];
    load_numbers(box, boxes, i, row_length(from));
    load_numbers(by_converted, grad_converted, i, row_length(to));
    convert_gradient(grad, by_converted, box, from, to);
    store_numbers(grad_boxes, i, grad, row_length(from));
  }
};

template <class Corners, class To, class From>
void convert(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  for_each("box_convert", boxes.shape[0], args.execution,
           Convert<Corners, To, From>{Strided<To>(converted), Strided<const From>(boxes), args.from,
                                      args.to});
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void box_convert(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  check_box_convert(converted, boxes, args);
  if (boxes.dtype != DType::int64)
    return dispatch_float(boxes.dtype, [&](auto zero) {
      using T = decltype(zero);
      convert<T, T, T>(converted, boxes, args);
    });
  if (converted.dtype == DType::int64)
    convert<int64_t, int64_t, int64_t>(converted, boxes, args);
  else if (args.from == BoxFormat::cxcywh)
    convert<float, float, int64_t>(converted, boxes, args);
  else
    convert<int64_t, float, int64_t>(converted, boxes, args);
}

void box_convert_backward(const Array& grad_boxes, const Array& grad_converted, const Array& boxes,
                          const BoxConvertArgs& args) {
  check_box_convert_backward(grad_boxes, grad_converted, boxes, args);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("box_convert_backward", boxes.shape[0], args.execution,
             ConvertGradient<T>{Strided<T>(grad_boxes), Strided<const T>(grad_converted),
                                Strided<const T>(boxes), args.from, args.to});
  });
}

}  // namespace roiops
