// Offsets between boxes and back. Encoding and both its gradients: a thread for each box. Decoding:
// a thread for each box of each class. The gradient by the boxes is a sum over classes, and over
// the images that share them: a thread for each axis of a box walks along them in order.
//
// Bytes moved: every array once; in decoding a box is read again for each of its classes, from
// the cache.
#include "box_rows.cuh"
#include "divide.cuh"
#include "internal/box_coding_check.h"
#include "internal/box_coding_formulas.h"
#include "internal/box_coding_kernels.h"
#include "roiops/box_coding.h"

namespace roiops {
namespace cuda {
namespace {

template <class T>
struct BothEncodeAxes {
  EncodeAxis<T> at[2];
  explicit BothEncodeAxes(const BoxCodingOptions& options)
      : at{encode_axis<T>(options, 0), encode_axis<T>(options, 1)} {}
};

template <class T>
struct BothDecodeAxes {
  DecodeAxis<T> at[2];
  explicit BothDecodeAxes(const DecodeOptions& options)
      : at{decode_axis<T>(options, 0), decode_axis<T>(options, 1)} {}
};

template <class T>
__device__ CentredAxis<T> centred_at(const Strided<const T>& boxes, int64_t i, int axis, T one) {
  return centred(boxes.at(i, axis), boxes.at(i, axis + 2), one);
}

template <class T>
struct Encode {
  Strided<T> deltas;
  Strided<const T> reference_boxes, proposals;
  BothEncodeAxes<T> axes;

  __device__ void operator()(int64_t i) const {
    for (int c = 0; c < 2; ++c) {
      const EncodeAxis<T>& axis = axes.at[c];
      const CentredAxis<T> to = centred_at(reference_boxes, i, c, axis.one);
      const CentredAxis<T> from = centred_at(proposals, i, c, axis.one);
      deltas.at(i, c) = encoded_shift(to, from, axis);
      deltas.at(i, c + 2) = encoded_scale(to, from, axis);
    }
  }
};

template <class T>
struct EncodeBackward {
  Strided<T> grad_reference_boxes, grad_proposals;
  Strided<const T> grad_deltas, reference_boxes, proposals;
  BothEncodeAxes<T> axes;

  __device__ void operator()(int64_t i) const {
    for (int c = 0; c < 2; ++c) {
      const EncodeAxis<T>& axis = axes.at[c];
      const EncodeGradient<T> grad = encode_gradient(
          {grad_deltas.at(i, c), grad_deltas.at(i, c + 2)},
          centred_at(reference_boxes, i, c, axis.one), centred_at(proposals, i, c, axis.one), axis);
      gradient_of_ends(grad.to.centre, grad.to.size, &grad_reference_boxes.at(i, c),
                       &grad_reference_boxes.at(i, c + 2));
      gradient_of_ends(grad.from.centre, grad.from.size, &grad_proposals.at(i, c),
                       &grad_proposals.at(i, c + 2));
    }
  }
};

// `boxes` may have one image that all share: its stride is 0 then.
template <class T>
struct Decode {
  Strided<T> decoded;
  Strided<const T> deltas, boxes;
  int64_t rows, classes;
  BothDecodeAxes<T> axes;

  __device__ void operator()(int64_t at) const {
    const Split row = split(at, classes), place = split(row.quotient, rows);
    const int64_t k = row.remainder, i = place.remainder, image = place.quotient;
    for (int c = 0; c < 2; ++c) {
      const DecodeAxis<T>& axis = axes.at[c];
      const int64_t j = 4 * k + c;
      const CentredAxis<T> box =
          centred(boxes.at(image, i, c), boxes.at(image, i, c + 2), axis.one);
      const Span<T> ends = decode_unclipped(deltas.at(image, i, j), deltas.at(image, i, j + 2),
                                            box.centre, box.size, axis);
      decoded.at(image, i, j) = clamp(ends.low, axis.least, axis.most);
      decoded.at(image, i, j + 2) = clamp(ends.high, axis.least, axis.most);
    }
  }
};

template <class T>
struct DecodeBackward {
  Strided<T> grad_deltas, grad_boxes;
  Strided<const T> grad_decoded, deltas, boxes;
  int64_t rows, classes, sharing;  // images that share a row of `boxes`
  BothDecodeAxes<T> axes;

  __device__ void operator()(int64_t at) const {
    const int c = static_cast<int>(at % 2);
    const Split place = split(at / 2, rows);
    const int64_t i = place.remainder, first = place.quotient;
    const DecodeAxis<T> axis = c ? axes.at[1] : axes.at[0];
    const CentredAxis<T> box = centred(boxes.at(first, i, c), boxes.at(first, i, c + 2), axis.one);
    CentredAxis<T> by_box{T(0), T(0)};
    for (int64_t image = first; image < first + sharing; ++image)
      for (int64_t j = c; j < 4 * classes; j += 4) {
        const Offset<T> grad = decode_gradient(
            &by_box, {grad_decoded.at(image, i, j), grad_decoded.at(image, i, j + 2)},
            {deltas.at(image, i, j), deltas.at(image, i, j + 2)}, box, axis);
        grad_deltas.at(image, i, j) = grad.shift;
        grad_deltas.at(image, i, j + 2) = grad.scale;
      }
    gradient_of_ends(by_box.centre, by_box.size, &grad_boxes.at(first, i, c),
                     &grad_boxes.at(first, i, c + 2));
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void encode_boxes(const Array& deltas, const Array& reference_boxes, const Array& proposals,
                  const BoxCodingOptions& options) {
  check_encode("encode_boxes", deltas, reference_boxes, proposals);
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("encode_boxes", deltas.shape[0], options.execution,
             Encode<T>{Strided<T>(deltas), Strided<const T>(reference_boxes),
                       Strided<const T>(proposals), BothEncodeAxes<T>(options)});
  });
}

void encode_boxes_backward(const Array& grad_reference_boxes, const Array& grad_proposals,
                           const Array& grad_deltas, const Array& reference_boxes,
                           const Array& proposals, const BoxCodingOptions& options) {
  check_encode_backward(grad_reference_boxes, grad_proposals, grad_deltas, reference_boxes,
                        proposals);
  dispatch_float(grad_deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("encode_boxes_backward", grad_deltas.shape[0], options.execution,
             EncodeBackward<T>{Strided<T>(grad_reference_boxes), Strided<T>(grad_proposals),
                               Strided<const T>(grad_deltas), Strided<const T>(reference_boxes),
                               Strided<const T>(proposals), BothEncodeAxes<T>(options)});
  });
}

void decode_boxes(const Array& decoded, const Array& deltas, const Array& boxes,
                  const DecodeOptions& options) {
  check_decode("decode_boxes", decoded, deltas, boxes);
  const int64_t classes = deltas.shape[2] / 4;
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    Strided<const T> from(boxes);
    if (boxes.shape[0] == 1) from.stride[0] = 0;
    for_each("decode_boxes", deltas.size() / 4, options.execution,
             Decode<T>{Strided<T>(decoded), Strided<const T>(deltas), from, deltas.shape[1],
                       classes, BothDecodeAxes<T>(options)});
  });
}

void decode_boxes_backward(const Array& grad_deltas, const Array& grad_boxes,
                           const Array& grad_decoded, const Array& deltas, const Array& boxes,
                           const DecodeOptions& options) {
  check_decode_backward(grad_deltas, grad_boxes, grad_decoded, deltas, boxes);
  const int64_t rows = deltas.shape[1], sharing = boxes.shape[0] == 1 ? deltas.shape[0] : 1;
  dispatch_float(deltas.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each("decode_boxes_backward", 2 * boxes.shape[0] * rows, options.execution,
             DecodeBackward<T>{Strided<T>(grad_deltas), Strided<T>(grad_boxes),
                               Strided<const T>(grad_decoded), Strided<const T>(deltas),
                               Strided<const T>(boxes), rows, deltas.shape[2] / 4, sharing,
                               BothDecodeAxes<T>(options)});
  });
}

}  // namespace roiops
