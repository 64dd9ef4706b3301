// Mask targets from bitmaps: a block for 8 x 32 bins of one target, a thread for each bin. The
// cells that the rows and the columns of these bins read are found once for the block, a thread for
// each of them; where a bin is longer than the table, its own thread finds them again.
//
// Bytes moved: of the bitmaps what lies in the boxes, once or, at the ends of bins, twice; the
// targets once.
#include <stdexcept>

#include "each.cuh"
#include "internal/crop_masks_bins.h"
#include "internal/crop_masks_check.h"
#include "roiops/crop_masks.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kDown = 8, kAcross = 32;   // bins of a block
constexpr int kLines = kAcross + kDown;  // columns of bins, then rows of bins
constexpr int kCells = 64;               // of one of those, in shared memory

struct Targets {
  void* data;
  DType dtype;
  int64_t stride[3], bins_y, bins_x, down, across;  // blocks of a target
  bool aligned;

  explicit Targets(const Array& out, bool aligned)
      : data(out.data),
        dtype(out.dtype),
        stride{out.stride[0], out.stride[1], out.stride[2]},
        bins_y(out.shape[1]),
        bins_x(out.shape[2]),
        down((bins_y + kDown - 1) / kDown),
        across((bins_x + kAcross - 1) / kAcross),
        aligned(aligned) {}
};

// Of each line of bins the cells and their weights, the lines side by side.
struct CellTable {
  double* weight;         // kCells * kLines
  int32_t *cell, *count;  // as many, and kLines: more than kCells where they do not fit

  template <class T>
  __device__ void find(int line, const RoiAxis<T>& axis, int64_t p, int64_t bins,
                       int64_t size) const {
    int32_t found = 0;
    each_cell(axis, p, bins, size, [&](int64_t at, double own) {
      if (found < kCells) {
        cell[found * kLines + line] = static_cast<int32_t>(at);
        weight[found * kLines + line] = own;
      }
      found += found <= kCells;
    });
    count[line] = found;
  }
  template <class T, class Visit>
  __device__ void each(int line, const RoiAxis<T>& axis, int64_t p, int64_t bins, int64_t size,
                       const Visit& visit) const {
    if (count[line] > kCells) {
      each_cell(axis, p, bins, size, visit);
      return;
    }
    for (int i = 0; i < count[line]; ++i)
      visit(int64_t{cell[i * kLines + line]}, weight[i * kLines + line]);
  }
};

template <class Cell, class T>
__global__ void crop(Strided<const Cell> masks, int64_t height, int64_t width,
                     Strided<const T> boxes, Targets targets) {
  ROIOPS_SHARED(double, weight, kCells* kLines);
  ROIOPS_SHARED(int32_t, cell, kCells* kLines);
  ROIOPS_SHARED(int32_t, count, kLines);
  const CellTable table{weight, cell, count};
  const int64_t of_target = targets.down * targets.across;
  const int64_t n = blockIdx.x / of_target, block = blockIdx.x % of_target;
  const int64_t top = block / targets.across * kDown, left = block % targets.across * kAcross;
  T box[4];
  for (int side = 0; side < 4; ++side) box[side] = boxes.at(n, side);
  const RoiAxes<T> axes = crop_axes(box, targets.aligned, targets.bins_y, targets.bins_x);
  const int line = threadIdx.x;
  if (line < kAcross) {
    if (left + line < targets.bins_x) table.find(line, axes.x, left + line, targets.bins_x, width);
  } else if (line < kLines) {
    const int64_t p = top + line - kAcross;
    if (p < targets.bins_y) table.find(line, axes.y, p, targets.bins_y, height);
  }
  __syncthreads();

  const int down = threadIdx.x / kAcross, across = threadIdx.x % kAcross;
  const int64_t p = top + down, q = left + across;
  if (p >= targets.bins_y || q >= targets.bins_x) return;
  double sum = 0.0;
  table.each(across, axes.x, q, targets.bins_x, width, [&](int64_t x, double across_weight) {
    double column = 0.0;
    table.each(kAcross + down, axes.y, p, targets.bins_y, height,
               [&](int64_t y, double weight) { column += weight * value_of(masks.at(n, y, x)); });
    sum += column * across_weight;
  });
  const int64_t at = n * targets.stride[0] + p * targets.stride[1] + q * targets.stride[2];
  write_target(targets.data, targets.dtype, at, sum / samples_of_bin(axes));
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void crop_masks(const Array& out, const CropMasksArgs& args) {
  const char* op = "crop_masks";
  check_crop_masks(out, args);
  const Targets targets(out, args.aligned);
  const int64_t blocks = out.shape[0] * targets.down * targets.across;
  if (blocks == 0) return;
  if (blocks > 0x7fffffff)
    throw std::invalid_argument(message(op, ": targets are too many for a GPU's grid"));
  check_device(args.execution.device);
  const LaunchConfig config{dim3(static_cast<unsigned>(blocks)), dim3(kDown * kAcross), 0,
                            static_cast<cudaStream_t>(args.execution.stream)};
  const auto run = [&](auto stored) {
    using Cell = decltype(stored);
    dispatch_float(args.boxes.dtype, [&](auto zero) {
      using T = decltype(zero);
      check_launch(op, launch(op, crop<Cell, T>, config, Strided<const Cell>(args.masks),
                              args.masks.shape[1], args.masks.shape[2],
                              Strided<const T>(args.boxes), targets));
    });
  };
  if (args.masks.dtype == DType::uint8)
    run(uint8_t{});
  else
    dispatch_features(args.masks.dtype, [&](auto stored, auto) { run(stored); });
}

}  // namespace roiops
