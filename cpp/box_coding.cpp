#include "roiops/box_coding.h"

#include <cmath>
#include <limits>

#include "internal/box_coding_kernels.h"
#include "internal/huge_pages.h"
#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 2048;

const BoxCodingKernels<float>& kernels(float) { return pick_box_coding_float(); }
const BoxCodingKernels<double>& kernels(double) { return pick_box_coding_double(); }

// Axis 0 is x, axis 1 is y.
template <class T>
DecodeAxis<T> decode_axis(const DecodeOptions& options, int axis) {
  const T infinity = std::numeric_limits<T>::infinity();
  return {static_cast<T>(options.weights[axis]),
          static_cast<T>(options.weights[axis + 2]),
          static_cast<T>(options.scale_clamp),
          options.plus_one ? T(1) : T(0),
          options.clip ? T(0) : -infinity,
          options.clip ? static_cast<T>(axis ? options.height : options.width) : infinity};
}

void check_rows(const char* op, const char* name, const Array& a, const Array& like) {
  check_shape(op, name, a, {like.shape[0], 4});
  check_dtype(op, name, a, like.dtype);
}

void check_encode(const char* op, const Array& deltas, const Array& reference_boxes,
                  const Array& proposals) {
  check_floating(op, "reference_boxes", reference_boxes);
  check_shape(op, "reference_boxes", reference_boxes, {-1, 4});
  check_rows(op, "proposals", proposals, reference_boxes);
  check_rows(op, "deltas", deltas, reference_boxes);
}

void check_decode(const char* op, const Array& decoded, const Array& deltas, const Array& boxes) {
  check_floating(op, "deltas", deltas);
  check_shape(op, "deltas", deltas, {-1, -1, -1});
  if (deltas.shape[2] % 4)
    throw std::invalid_argument(
        message(op, ": deltas must have 4 values per class; got ", shape_text(deltas)));
  const int64_t images = boxes.ndim == 3 && boxes.shape[0] == 1 ? 1 : deltas.shape[0];
  check_shape(op, "boxes", boxes, {images, deltas.shape[1], 4});
  check_dtype(op, "boxes", boxes, deltas.dtype);
  check_shape(op, "decoded", decoded, {deltas.shape[0], deltas.shape[1], deltas.shape[2]});
  check_dtype(op, "decoded", decoded, deltas.dtype);
}

template <class T>
T& element(const Array& a, int64_t i, int64_t j, int64_t k) {
  return a.at<T>()[i * a.stride[0] + j * a.stride[1] + k * a.stride[2]];
}

}  // namespace

void encode_boxes(const Array& deltas, const Array& reference_boxes, const Array& proposals,
                  const BoxCodingOptions& options) {
  check_encode("encode_boxes", deltas, reference_boxes, proposals);
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T one = options.plus_one ? T(1) : T(0);
    parallel_ranges(
        deltas.shape[0], kGrain, options.execution.threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            for (int c = 0; c < 2; ++c) {
              const auto to =
                  centred(reference_boxes.at<T>(i, c), reference_boxes.at<T>(i, c + 2), one);
              const auto from = centred(proposals.at<T>(i, c), proposals.at<T>(i, c + 2), one);
              const T shift_weight = static_cast<T>(options.weights[c]);
              const T scale_weight = static_cast<T>(options.weights[c + 2]);
              deltas.at<T>(i, c) = shift_weight * (to.centre - from.centre) / from.size;
              deltas.at<T>(i, c + 2) = scale_weight * std::log(to.size / from.size);
            }
        });
  });
}

void encode_boxes_backward(const Array& grad_reference_boxes, const Array& grad_proposals,
                           const Array& grad_deltas, const Array& reference_boxes,
                           const Array& proposals, const BoxCodingOptions& options) {
  const char* op = "encode_boxes_backward";
  check_encode(op, grad_deltas, reference_boxes, proposals);
  check_rows(op, "grad_reference_boxes", grad_reference_boxes, reference_boxes);
  check_rows(op, "grad_proposals", grad_proposals, reference_boxes);
  dispatch_float(grad_deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T one = options.plus_one ? T(1) : T(0);
    parallel_ranges(
        grad_deltas.shape[0], kGrain, options.execution.threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            for (int c = 0; c < 2; ++c) {
              const auto to =
                  centred(reference_boxes.at<T>(i, c), reference_boxes.at<T>(i, c + 2), one);
              const auto from = centred(proposals.at<T>(i, c), proposals.at<T>(i, c + 2), one);
              const T grad_shift = static_cast<T>(options.weights[c]) * grad_deltas.at<T>(i, c);
              const T grad_scale =
                  static_cast<T>(options.weights[c + 2]) * grad_deltas.at<T>(i, c + 2);
              // By centre and size of either box; then a centre is the mean of its ends, a size
              // their difference.
              const T by_centre = grad_shift / from.size;
              const T by_size = grad_scale / to.size;
              const T from_size = -(by_centre * (to.centre - from.centre) + grad_scale) / from.size;
              grad_reference_boxes.at<T>(i, c) = T(0.5) * by_centre - by_size;
              grad_reference_boxes.at<T>(i, c + 2) = T(0.5) * by_centre + by_size;
              grad_proposals.at<T>(i, c) = T(-0.5) * by_centre - from_size;
              grad_proposals.at<T>(i, c + 2) = T(-0.5) * by_centre + from_size;
            }
        });
  });
}

void decode_boxes(const Array& decoded, const Array& deltas, const Array& boxes,
                  const DecodeOptions& options) {
  check_decode("decode_boxes", decoded, deltas, boxes);
  const int64_t rows = deltas.shape[1], columns = deltas.shape[2];
  if (deltas.size() == 0) return;
  if (decoded.stride[2] != 1 || (rows > 1 && decoded.stride[1] != columns))
    throw std::invalid_argument("decode_boxes: decoded must have contiguous rows");
  ask_for_huge_pages(decoded);
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    const DecodeAxis<T> x = decode_axis<T>(options, 0), y = decode_axis<T>(options, 1);
    for (int64_t image = 0; image < deltas.shape[0]; ++image) {
      T* to = decoded.at<T>() + image * decoded.stride[0];
      const T* from = deltas.at<T>() + image * deltas.stride[0];
      const T* box = boxes.at<T>() + (boxes.shape[0] == 1 ? 0 : image * boxes.stride[0]);
      parallel_ranges(rows, kGrain, options.execution.threads, [&](int64_t begin, int64_t end) {
        kernels(zero).decode(to + begin * columns,
                             {from + begin * deltas.stride[1], deltas.stride[1], deltas.stride[2]},
                             {box + begin * boxes.stride[1], boxes.stride[1], boxes.stride[2]},
                             end - begin, columns / 4, x, y);
      });
    }
  });
}

void decode_boxes_backward(const Array& grad_deltas, const Array& grad_boxes,
                           const Array& grad_decoded, const Array& deltas, const Array& boxes,
                           const DecodeOptions& options) {
  const char* op = "decode_boxes_backward";
  check_decode(op, grad_decoded, deltas, boxes);
  check_decode(op, grad_deltas, deltas, boxes);
  check_shape(op, "grad_boxes", grad_boxes, {boxes.shape[0], boxes.shape[1], 4});
  check_dtype(op, "grad_boxes", grad_boxes, boxes.dtype);
  const int64_t rows = deltas.shape[1], classes = deltas.shape[2] / 4;
  // Images that share a row of `boxes`.
  const int64_t sharing = boxes.shape[0] == 1 ? deltas.shape[0] : 1;
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    const DecodeAxis<T> axes[2] = {decode_axis<T>(options, 0), decode_axis<T>(options, 1)};
    parallel_ranges(
        boxes.shape[0] * rows, kGrain, options.execution.threads, [&](int64_t begin, int64_t end) {
          for (int64_t task = begin; task < end; ++task)
            for (int c = 0; c < 2; ++c) {
              const int64_t i = task % rows, first = task / rows;
              const DecodeAxis<T>& axis = axes[c];
              const auto box = centred(element<T>(boxes, first, i, c),
                                       element<T>(boxes, first, i, c + 2), axis.one);
              T by_centre = T(0), by_size = T(0);
              for (int64_t image = first; image < first + sharing; ++image)
                for (int64_t j = c; j < 4 * classes; j += 4) {
                  const T shift = element<T>(deltas, image, i, j);
                  const T scale = element<T>(deltas, image, i, j + 2);
                  const Span<T> at = decode_unclipped(shift, scale, box.centre, box.size, axis);
                  const T low = at.low >= axis.least && at.low <= axis.most
                                    ? element<T>(grad_decoded, image, i, j)
                                    : T(0);
                  const T high = at.high >= axis.least && at.high <= axis.most
                                     ? element<T>(grad_decoded, image, i, j + 2)
                                     : T(0);
                  const bool limited = scale / axis.scale_weight > axis.scale_clamp;
                  const T ratio =
                      exponential(limited ? axis.scale_clamp : scale / axis.scale_weight);
                  const T grad_centre = low + high, grad_ratio = T(0.5) * (high - low) * ratio;
                  element<T>(grad_deltas, image, i, j) = grad_centre * box.size / axis.shift_weight;
                  element<T>(grad_deltas, image, i, j + 2) =
                      limited ? T(0) : grad_ratio * box.size / axis.scale_weight;
                  by_centre += grad_centre;
                  by_size += grad_centre * (shift / axis.shift_weight) + grad_ratio;
                }
              // A centre is the mean of the box's ends, a size their difference.
              element<T>(grad_boxes, first, i, c) = T(0.5) * by_centre - by_size;
              element<T>(grad_boxes, first, i, c + 2) = T(0.5) * by_centre + by_size;
            }
        });
  });
}

}  // namespace roiops
