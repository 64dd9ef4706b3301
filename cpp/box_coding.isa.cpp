// Decoding, vectorised over boxes: blocks of rows are turned into one array per coordinate.
#include "internal/box_coding_kernels.h"
#include "internal/tile.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

// Not a power of two: columns that lie a multiple of 4 KiB apart get in each other's way.
constexpr int64_t kBlock = 112;

template <class T>
struct Columns {
  static constexpr int W = Tile<T>::W;
  T at[4][kBlock];

  void load(Rows<T> from, int64_t rows) {
    Tile<T>::columns_of(at[0], kBlock, from.data, from.row, from.column, rows);
  }
  void store(T* to, int64_t row, int64_t rows) const {
    int64_t i = 0;
    for (; i + W <= rows; i += W) Tile<T>::untranspose(to + i * row, row, at[0] + i, kBlock);
    for (; i < rows; ++i)
      for (int c = 0; c < 4; ++c) to[i * row + c] = at[c][i];
  }
};

// Columns c and c + 2 of `deltas` (shift, scale) and `boxes` (centre, size) to (low, high).
template <class T>
void decode_axis(Columns<T>& decoded, const Columns<T>& deltas, const Columns<T>& boxes, int c,
                 int64_t rows, const DecodeAxis<T>& options) {
  const DecodeAxis<T> axis = options;
  for (int64_t i = 0; i < rows; ++i) {
    const Span<T> span = decode_unclipped(deltas.at[c][i], deltas.at[c + 2][i], boxes.at[c][i],
                                          boxes.at[c + 2][i], axis);
    decoded.at[c][i] = clamp(span.low, axis.least, axis.most);
    decoded.at[c + 2][i] = clamp(span.high, axis.least, axis.most);
  }
}

template <class T>
void decode(T* decoded, Rows<T> deltas, Rows<T> boxes, int64_t rows, int64_t classes,
            const DecodeAxis<T>& x, const DecodeAxis<T>& y) {
  Columns<T> from, offset, to;
  for (int64_t begin = 0; begin < rows; begin += kBlock) {
    const int64_t count = rows - begin < kBlock ? rows - begin : kBlock;
    from.load({boxes.data + begin * boxes.row, boxes.row, boxes.column}, count);
    for (int c = 0; c < 2; ++c)
      for (int64_t i = 0; i < count; ++i) {
        const CentredAxis<T> axis = centred(from.at[c][i], from.at[c + 2][i], x.one);
        from.at[c][i] = axis.centre;
        from.at[c + 2][i] = axis.size;
      }
    for (int64_t k = 0; k < classes; ++k) {
      offset.load(
          {deltas.data + begin * deltas.row + 4 * k * deltas.column, deltas.row, deltas.column},
          count);
      decode_axis(to, offset, from, 0, count, x);
      decode_axis(to, offset, from, 1, count, y);
      to.store(decoded + 4 * (begin * classes + k), 4 * classes, count);
    }
  }
}

}  // namespace

const BoxCodingKernels<float> box_coding_float = {decode<float>};
const BoxCodingKernels<double> box_coding_double = {decode<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
