#include "roiops/box_convert.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 4096;
constexpr double kPi = 3.14159265358979323846;

bool rotated(BoxFormat format) { return format >= BoxFormat::xywhr; }
int length(BoxFormat format) {
  return !rotated(format) ? 4 : format == BoxFormat::xyxyxyxy ? 8 : 5;
}

template <class T>
T plus(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else
    return a + b;
}
template <class T>
T minus(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  else
    return a - b;
}

// --- every conversion leads over xyxy or, rotated, over xywhr ---

// T is the corners' type: float where integers have a centre.
template <class T, class From>
void to_xyxy(T* corners, const From* box, BoxFormat from) {
  for (int c = 0; c < 2; ++c) {
    const T first = static_cast<T>(box[c]), second = static_cast<T>(box[c + 2]);
    if (from == BoxFormat::cxcywh) {
      if constexpr (!std::is_integral_v<T>) {
        corners[c] = first - T(0.5) * second;
        corners[c + 2] = first + T(0.5) * second;
      }
    } else {
      corners[c] = first;
      corners[c + 2] = from == BoxFormat::xywh ? plus(first, second) : second;
    }
  }
}

template <class To, class T>
void from_xyxy(To* box, const T* corners, BoxFormat to) {
  for (int c = 0; c < 2; ++c) {
    const T low = corners[c], high = corners[c + 2];
    box[c] = static_cast<To>(low);
    if (to == BoxFormat::cxcywh)
      if constexpr (!std::is_integral_v<To>) box[c] = static_cast<To>(plus(low, high)) / To(2);
    box[c + 2] = static_cast<To>(to == BoxFormat::xyxy ? high : minus(high, low));
  }
}

template <class T>
struct Turn {
  T cos, sin;
  explicit Turn(T degrees) {
    const T angle = degrees * T(kPi) / T(180);
    cos = std::cos(angle);
    sin = std::sin(angle);
  }
};

// From corner 1 to the centre: half of both sides.
template <class T>
void add_half_diagonal(T* at, const T* box, T sign) {
  const Turn<T> turn(box[4]);
  const T width = sign * (box[2] / T(2)), height = sign * (box[3] / T(2));
  at[0] = at[0] + width * turn.cos + height * turn.sin;
  at[1] = at[1] - width * turn.sin + height * turn.cos;
}

template <class T>
void to_xywhr(T* box, const T* from, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) box[c] = from[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal(box, from, T(-1));
    return;
  }
  const T right = from[2] - from[0], up = from[1] - from[3];
  const T across = from[4] - from[2], down = from[5] - from[3];
  box[0] = from[0];
  box[1] = from[1];
  box[2] = std::sqrt(right * right + up * up);
  box[3] = std::sqrt(across * across + down * down);
  box[4] = std::atan2(up, right) * T(180) / T(kPi);
}

template <class T>
void from_xywhr(T* to, const T* box, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) to[c] = box[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal(to, box, T(1));
    return;
  }
  const Turn<T> turn(box[4]);
  const T width = box[2], height = box[3];
  to[0] = box[0];
  to[1] = box[1];
  to[2] = to[0] + width * turn.cos;
  to[3] = to[1] - width * turn.sin;
  to[4] = to[2] + height * turn.sin;
  to[5] = to[3] + height * turn.cos;
  to[6] = to[0] + height * turn.sin;
  to[7] = to[1] + height * turn.cos;
}

int64_t rounded(float x) {
  constexpr float limit = 9223372036854775808.0f;  // 2^63
  x = std::nearbyint(x);
  if (!(x < limit)) return std::numeric_limits<int64_t>::max();
  return x < -limit ? std::numeric_limits<int64_t>::min() : static_cast<int64_t>(x);
}

// --- whole arrays ---

// convert(to, from) for every box.
template <class To, class From, class Convert>
void each(const Array& converted, const Array& boxes, const BoxConvertArgs& args,
          const Convert& convert) {
  const int in = length(args.from), out = length(args.to);
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
void convert_upright(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  each<To, From>(converted, boxes, args, [&](To* to, const From* from) {
    Corners corners[4] = {};
    to_xyxy(corners, from, args.from);
    from_xyxy(to, corners, args.to);
  });
}

template <class T>
void convert_floats(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  if (!rotated(args.from)) return convert_upright<T, T, T>(converted, boxes, args);
  each<T, T>(converted, boxes, args, [&](T* to, const T* from) {
    T box[5];
    to_xywhr(box, from, args.from);
    from_xywhr(to, box, args.to);
  });
}

void convert_integers(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  if (args.from == BoxFormat::cxcywh)
    return convert_upright<float, float, int64_t>(converted, boxes, args);
  if (args.to == BoxFormat::cxcywh)
    return convert_upright<int64_t, float, int64_t>(converted, boxes, args);
  if (!rotated(args.from))
    return convert_upright<int64_t, int64_t, int64_t>(converted, boxes, args);
  each<int64_t, int64_t>(converted, boxes, args, [&](int64_t* to, const int64_t* from) {
    float start[8] = {}, box[5], result[8];
    for (int c = 0; c < length(args.from); ++c) start[c] = static_cast<float>(from[c]);
    to_xywhr(box, start, args.from);
    for (float& x : box) x = static_cast<float>(rounded(x));
    from_xywhr(result, box, args.to);
    for (int c = 0; c < length(args.to); ++c) to[c] = rounded(result[c]);
  });
}

void copy(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  const auto same = [&](auto zero) {
    using T = decltype(zero);
    each<T, T>(converted, boxes, args, [&](T* to, const T* from) {
      for (int c = 0; c < length(args.from); ++c) to[c] = from[c];
    });
  };
  boxes.dtype == DType::int64 ? same(int64_t{}) : dispatch_float(boxes.dtype, same);
}

// --- gradients: the steps above in reverse, from those of a result to those of its argument ---

template <class T>
void to_xyxy_backward(T* grad, const T* by_corners, BoxFormat from) {
  for (int c = 0; c < 2; ++c) {
    const T low = by_corners[c], high = by_corners[c + 2];
    grad[c] = from == BoxFormat::xyxy ? low : low + high;
    grad[c + 2] = from == BoxFormat::cxcywh ? T(0.5) * (high - low) : high;
  }
}

template <class T>
void from_xyxy_backward(T* grad, const T* by_box, BoxFormat to) {
  for (int c = 0; c < 2; ++c) {
    const T first = by_box[c], second = by_box[c + 2];
    const T half = T(0.5) * first;
    grad[c] = to == BoxFormat::xyxy ? first : (to == BoxFormat::xywh ? first : half) - second;
    grad[c + 2] = to == BoxFormat::cxcywh ? half + second : second;
  }
}

template <class T>
constexpr T kDegree = T(kPi / 180);

// Of add_half_diagonal: grad holds the gradient of its result, and gets that of the box.
template <class T>
void add_half_diagonal_backward(T* grad, const T* box, T sign) {
  const Turn<T> turn(box[4]);
  const T width = box[2] / T(2), height = box[3] / T(2), x = sign * grad[0], y = sign * grad[1];
  grad[2] += T(0.5) * (turn.cos * x - turn.sin * y);
  grad[3] += T(0.5) * (turn.sin * x + turn.cos * y);
  grad[4] += kDegree<T> * ((height * turn.cos - width * turn.sin) * x -
                           (width * turn.cos + height * turn.sin) * y);
}

// Gradients of a side's two components from those of its length; none where it has no length.
template <class T>
void length_backward(T* by_x, T* by_y, T x, T y, T by_length, T length) {
  *by_x = length > 0 ? by_length * (x / length) : T(0);
  *by_y = length > 0 ? by_length * (y / length) : T(0);
}

template <class T>
void to_xywhr_backward(T* grad, const T* by_box, const T* from, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) grad[c] = by_box[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal_backward(grad, from, T(-1));
    return;
  }
  const T right = from[2] - from[0], up = from[1] - from[3];
  const T across = from[4] - from[2], down = from[5] - from[3];
  const T width = std::sqrt(right * right + up * up);
  T by_right, by_up, by_across, by_down;
  length_backward(&by_right, &by_up, right, up, by_box[2], width);
  length_backward(&by_across, &by_down, across, down, by_box[3],
                  std::sqrt(across * across + down * down));
  if (width > 0) {
    const T by_angle = by_box[4] / (kDegree<T> * width);
    by_right -= by_angle * (up / width);
    by_up += by_angle * (right / width);
  }
  grad[0] = by_box[0] - by_right;
  grad[1] = by_box[1] + by_up;
  grad[2] = by_right - by_across;
  grad[3] = -by_up - by_down;
  grad[4] = by_across;
  grad[5] = by_down;
  grad[6] = grad[7] = T(0);  // corner 4 follows from the others
}

template <class T>
void from_xywhr_backward(T* grad, const T* by_box, const T* box, BoxFormat format) {
  if (format != BoxFormat::xyxyxyxy) {
    for (int c = 0; c < 5; ++c) grad[c] = by_box[c];
    if (format == BoxFormat::cxcywhr) add_half_diagonal_backward(grad, box, T(1));
    return;
  }
  const Turn<T> turn(box[4]);
  // Corners 2 and 3 lie a width away from corner 1, corners 3 and 4 a height.
  const T width_x = by_box[2] + by_box[4], width_y = by_box[3] + by_box[5];
  const T height_x = by_box[4] + by_box[6], height_y = by_box[5] + by_box[7];
  grad[0] = by_box[0] + width_x + by_box[6];
  grad[1] = by_box[1] + width_y + by_box[7];
  grad[2] = turn.cos * width_x - turn.sin * width_y;
  grad[3] = turn.sin * height_x + turn.cos * height_y;
  grad[4] = kDegree<T> * (box[3] * (turn.cos * height_x - turn.sin * height_y) -
                          box[2] * (turn.sin * width_x + turn.cos * width_y));
}

template <class T>
void backward(const Array& grad_boxes, const Array& grad_converted, const Array& boxes,
              const BoxConvertArgs& args) {
  const int in = length(args.from), out = length(args.to);
  parallel_ranges(boxes.shape[0], kGrain, args.execution.threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T from[8], box[5], by_converted[8], by_box[5], grad[8];
      for (int c = 0; c < in; ++c) from[c] = boxes.at<T>(i, c);
      for (int c = 0; c < out; ++c) by_converted[c] = grad_converted.at<T>(i, c);
      if (args.from == args.to) {
        for (int c = 0; c < in; ++c) grad[c] = by_converted[c];
      } else if (rotated(args.from)) {
        to_xywhr(box, from, args.from);
        from_xywhr_backward(by_box, by_converted, box, args.to);
        to_xywhr_backward(grad, by_box, from, args.from);
      } else {
        from_xyxy_backward(by_box, by_converted, args.to);
        to_xyxy_backward(grad, by_box, args.from);
      }
      for (int c = 0; c < in; ++c) grad_boxes.at<T>(i, c) = grad[c];
    }
  });
}

void check(const char* op, const char* name, const Array& converted, const Array& boxes,
           const BoxConvertArgs& args) {
  if (rotated(args.from) != rotated(args.to))
    throw std::invalid_argument(message(op, ": both formats must be upright, or both rotated"));
  check_shape(op, "boxes", boxes, {-1, length(args.from)});
  check_shape(op, name, converted, {boxes.shape[0], length(args.to)});
}

}  // namespace

void box_convert(const Array& converted, const Array& boxes, const BoxConvertArgs& args) {
  const char* op = "box_convert";
  check(op, "converted", converted, boxes, args);
  const bool integers = boxes.dtype == DType::int64, same = args.from == args.to;
  if (!integers) check_floating(op, "boxes", boxes);
  const bool centred = args.from == BoxFormat::cxcywh || args.to == BoxFormat::cxcywh;
  check_dtype(op, "converted", converted,
              integers && centred && !same ? DType::float32 : boxes.dtype);
  if (same) return copy(converted, boxes, args);
  if (integers) return convert_integers(converted, boxes, args);
  dispatch_float(boxes.dtype,
                 [&](auto zero) { convert_floats<decltype(zero)>(converted, boxes, args); });
}

void box_convert_backward(const Array& grad_boxes, const Array& grad_converted, const Array& boxes,
                          const BoxConvertArgs& args) {
  const char* op = "box_convert_backward";
  check(op, "grad_output", grad_converted, boxes, args);
  check_floating(op, "boxes", boxes);
  check_dtype(op, "grad_output", grad_converted, boxes.dtype);
  check_shape(op, "grad_boxes", grad_boxes, {boxes.shape[0], length(args.from)});
  check_dtype(op, "grad_boxes", grad_boxes, boxes.dtype);
  dispatch_float(boxes.dtype, [&](auto zero) {
    backward<decltype(zero)>(grad_boxes, grad_converted, boxes, args);
  });
}

}  // namespace roiops
