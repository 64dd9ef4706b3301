#include "roiops/box_convert.h"

#include "internal/box_convert_check.h"
#include "internal/box_convert_formulas.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 4096;

// convert(to, from) for every box.
template <class To, class From, class Convert>
void each(const Array& converted, const Array& boxes, const BoxConvertArgs& args,
          const Convert& convert) {
  const int in = row_length(args.from), out = row_length(args.to);
  parallel_ranges(boxes.shape[0], kGrain, args.execution.threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      From from[8] = {};
      To to[8] = {};
      for (int c = 0; c < in; ++c) from[c] = boxes.at<From>(i, c);
      convert(to, from);
      for (int c = 0; c < out; ++c) converted.at<To>(i, c) = to[c];
    }
  });
}

template <class Corners, class To, class From>
void each_upright(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  each<To, From>(converted, boxes, args, [&](To* to, const From* from) {
    convert_upright<Corners>(to, from, args.from, args.to);
  });
}

template <class T>
void each_rotated(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  each<T, T>(converted, boxes, args,
             [&](T* to, const T* from) { convert_rotated(to, from, args.from, args.to); });
}

template <class T>
void convert_floats(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  if (is_rotated(args.from)) return each_rotated<T>(converted, boxes, args);
  each_upright<T, T, T>(converted, boxes, args);
}

void convert_integers(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  if (args.from == BoxFormat::cxcywh)
    return each_upright<float, float, int64_t>(converted, boxes, args);
  if (args.to == BoxFormat::cxcywh)
    return each_upright<int64_t, float, int64_t>(converted, boxes, args);
  if (is_rotated(args.from)) return each_rotated<int64_t>(converted, boxes, args);
  each_upright<int64_t, int64_t, int64_t>(converted, boxes, args);
}

void copy(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  const auto same = [&](auto zero) {
    using T = decltype(zero);
    each<T, T>(converted, boxes, args, [&](T* to, const T* from) {
      for (int c = 0; c < row_length(args.from); ++c) to[c] = from[c];
    });
  };
  boxes.dtype == DType::int64 ? same(int64_t{}) : dispatch_float(boxes.dtype, same);
}

}  // namespace

void box_convert(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  check_box_convert(converted, boxes, args);
  if (args.from == args.to) return copy(converted, boxes, args);
  if (boxes.dtype == DType::int64) return convert_integers(converted, boxes, args);
  dispatch_float(boxes.dtype,
                 [&](auto zero) { convert_floats<decltype(zero)>(converted, boxes, args); });
}

void box_convert_backward(const Array& grad_boxes, const Array& grad_converted, const Array& boxes,
                          const BoxConvertArgs& args) {
  check_box_convert_backward(grad_boxes, grad_converted, boxes, args);
  const int in = row_length(args.from), out = row_length(args.to);
  dispatch_float(boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(boxes.shape[0], kGrain, args.execution.threads,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        T from[8] = {}, by_converted[8] = {}, grad[8];
                        for (int c = 0; c < in; ++c) from[c] = boxes.at<T>(i, c);
                        for (int c = 0; c < out; ++c) by_converted[c] = grad_converted.at<T>(i, c);
                        convert_gradient(grad, by_converted, from, args.from, args.to);
                        for (int c = 0; c < in; ++c) grad_boxes.at<T>(i, c) = grad[c];
                      }
                    });
  });
}

}  // namespace roiops
