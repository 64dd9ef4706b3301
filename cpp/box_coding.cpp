#include "roiops/box_coding.h"

#include "internal/box_coding_check.h"
#include "internal/box_coding_formulas.h"
#include "internal/box_coding_kernels.h"
#include "internal/huge_pages.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kGrain = 2048;

const BoxCodingKernels<float>& kernels(float) { return pick_box_coding_float(); }
const BoxCodingKernels<double>& kernels(double) { return pick_box_coding_double(); }

template <class T>
T& element(const Array& a, int64_t i, int64_t j, int64_t k) {
  return a.at<T>()[i * a.stride[0] + j * a.stride[1] + k * a.stride[2]];
}

template <class T>
CentredAxis<T> centred_at(const Array& boxes, int64_t i, int c, T one) {
  return centred(boxes.at<T>(i, c), boxes.at<T>(i, c + 2), one);
}

}  // namespace

void encode_boxes(const Array& deltas, const Array& reference_boxes, const Array& proposals,
                  const BoxCodingOptions& options) {
  check_encode("encode_boxes", deltas, reference_boxes, proposals);
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    const EncodeAxis<T> axes[2] = {encode_axis<T>(options, 0), encode_axis<T>(options, 1)};
    parallel_ranges(
        deltas.shape[0], kGrain, options.execution.threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            for (int c = 0; c < 2; ++c) {
              const CentredAxis<T> to = centred_at<T>(reference_boxes, i, c, axes[c].one);
              const CentredAxis<T> from = centred_at<T>(proposals, i, c, axes[c].one);
              deltas.at<T>(i, c) = encoded_shift(to, from, axes[c]);
              deltas.at<T>(i, c + 2) = encoded_scale(to, from, axes[c]);
            }
        });
  });
}

void encode_boxes_backward(const Array& grad_reference_boxes, const Array& grad_proposals,
                           const Array& grad_deltas, const Array& reference_boxes,
                           const Array& proposals, const BoxCodingOptions& options) {
  check_encode_backward(grad_reference_boxes, grad_proposals, grad_deltas, reference_boxes,
                        proposals);
  dispatch_float(grad_deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    const EncodeAxis<T> axes[2] = {encode_axis<T>(options, 0), encode_axis<T>(options, 1)};
    parallel_ranges(
        grad_deltas.shape[0], kGrain, options.execution.threads, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            for (int c = 0; c < 2; ++c) {
              const EncodeGradient<T> grad =
                  encode_gradient({grad_deltas.at<T>(i, c), grad_deltas.at<T>(i, c + 2)},
                                  centred_at<T>(reference_boxes, i, c, axes[c].one),
                                  centred_at<T>(proposals, i, c, axes[c].one), axes[c]);
              gradient_of_ends(grad.to.centre, grad.to.size, &grad_reference_boxes.at<T>(i, c),
                               &grad_reference_boxes.at<T>(i, c + 2));
              gradient_of_ends(grad.from.centre, grad.from.size, &grad_proposals.at<T>(i, c),
                               &grad_proposals.at<T>(i, c + 2));
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
  check_decode_backward(grad_deltas, grad_boxes, grad_decoded, deltas, boxes);
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
              CentredAxis<T> by_box{T(0), T(0)};
              for (int64_t image = first; image < first + sharing; ++image)
                for (int64_t j = c; j < 4 * classes; j += 4) {
                  const Offset<T> grad = decode_gradient(
                      &by_box,
                      {element<T>(grad_decoded, image, i, j),
                       element<T>(grad_decoded, image, i, j + 2)},
                      {element<T>(deltas, image, i, j), element<T>(deltas, image, i, j + 2)}, box,
                      axis);
                  element<T>(grad_deltas, image, i, j) = grad.shift;
                  element<T>(grad_deltas, image, i, j + 2) = grad.scale;
                }
              gradient_of_ends(by_box.centre, by_box.size, &element<T>(grad_boxes, first, i, c),
                               &element<T>(grad_boxes, first, i, c + 2));
            }
        });
  });
}

}  // namespace roiops
