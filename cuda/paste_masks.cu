// Masks pasted into pictures: a block for 32 rows and 128 columns of one, a thread for a column of
// them, so that a row is written side by side. Where its mask is, a thread keeps the two cells of
// the column that it blends. The rows' taps are found once for a block.
//
// Bytes moved: the pictures once; the masks are small, and read out of caches.
#include <stdexcept>

#include "compat.cuh"
#include "internal/paste_masks_check.h"
#include "pasted_masks.cuh"
#include "roiops/paste_masks.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kRows = 32, kColumns = 128;

// How pictures are cut, in reading order.
struct PictureTiles {
  int64_t height, width, across, down;
};

// A probability as what is written.
template <class T>
__device__ T finished(const PastedMasks<T>&, T value, T*) {
  return value;
}
template <class T>
__device__ uint8_t finished(const PastedMasks<T>& all, T value, uint8_t*) {
  return all.inside(value);
}

template <class T, class Pixel>
__global__ void paste(PastedMasks<T> all, PictureTiles tiles, Strided<Pixel> out) {
  ROIOPS_SHARED(PasteTap<T>, taps, kRows);
  const int64_t of_picture = tiles.across * tiles.down;
  const int64_t n = blockIdx.x / of_picture, tile = blockIdx.x % of_picture;
  const int64_t top = tile / tiles.across * kRows;
  const int64_t x = tile % tiles.across * kColumns + threadIdx.x;
  const PasteAxis& along_y = all.axes[n].y;
  const int64_t own_row = top + threadIdx.x;
  if (threadIdx.x < kRows && own_row >= along_y.begin && own_row < along_y.end)
    taps[threadIdx.x] = along_y.template tap<T>(own_row);
  __syncthreads();
  if (x >= tiles.width) return;
  const int64_t bottom = top + kRows < tiles.height ? top + kRows : tiles.height;
  PastedColumn<T> column(all, n, x);
  Pixel* const kind = nullptr;
  for (int64_t y = top; y < bottom; ++y) {
    const bool blended = column.there() && y >= along_y.begin && y < along_y.end;
    out.at(n, y, x) = finished(all, blended ? column.at(taps[y - top]) : T(0), kind);
  }
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void paste_masks(const Array& out, const PasteMasksArgs& args) {
  const char* op = "paste_masks";
  check_paste_masks(out, args);
  if (out.size() == 0) return;
  const int64_t height = out.shape[1], width = out.shape[2];
  const PictureTiles tiles{height, width, (width + kColumns - 1) / kColumns,
                           (height + kRows - 1) / kRows};
  const int64_t blocks = out.shape[0] * tiles.across * tiles.down;
  if (blocks > 0x7fffffff)
    throw std::invalid_argument(message(op, ": the pictures are too large for a GPU's grid"));
  check_device(args.execution.device);
  const PasteAxes* axes = find_axes(op, args, height, width);
  const LaunchConfig config{dim3(static_cast<unsigned>(blocks)), dim3(kColumns), 0,
                            static_cast<cudaStream_t>(args.execution.stream)};
  dispatch_float(args.masks.dtype, [&](auto zero) {
    using T = decltype(zero);
    const PastedMasks<T> all(args, axes);
    check_launch(op, args.threshold
                         ? launch(op, paste<T, uint8_t>, config, all, tiles, Strided<uint8_t>(out))
                         : launch(op, paste<T, T>, config, all, tiles, Strided<T>(out)));
  });
}

}  // namespace roiops
