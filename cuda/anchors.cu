// The grid of anchors, a thread for each coordinate, so that a warp's stores lie side by side. The
// cell's anchors are made by the host and are a parameter of the kernel, a part of them in each
// launch. Bytes moved: the anchors, once.
#include <algorithm>

#include "box_rows.cuh"
#include "divide.cuh"
#include "internal/cell_anchors.h"
#include "roiops/anchors.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int64_t kMostOfCell = 64;  // in one launch: 2 KiB of the 4 that parameters may have

template <class T>
struct PlaceAnchors {
  Strided<T> out;
  int64_t width, per_cell, first, count;  // the cell's anchors [first, first + count)
  double stride[2];                       // along x, along y
  double cell[4 * kMostOfCell];

  __device__ void operator()(int64_t coordinate) const {
    const int side = static_cast<int>(coordinate % 4);
    const Split anchor = split(coordinate / 4, count), place = split(anchor.quotient, width);
    const int64_t a = anchor.remainder, i = side % 2 ? place.quotient : place.remainder;
    out.at(anchor.quotient * per_cell + first + a, side) =
        moved_side<T>(cell[4 * a + side], i, side % 2 ? stride[1] : stride[0]);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void grid_anchors(const Array& out, const GridAnchorArgs& args) {
  const std::vector<Anchor> cell = cell_anchors(args);
  const int64_t per_cell = static_cast<int64_t>(cell.size());
  check_grid_anchors(out, args, per_cell);
  dispatch_float(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t first = 0; first < per_cell; first += kMostOfCell) {
      const int64_t count = std::min(kMostOfCell, per_cell - first);
      PlaceAnchors<T> place{
          Strided<T>(out), args.width, per_cell, first, count, {args.stride_x, args.stride_y}, {}};
      for (int64_t a = 0; a < count; ++a)
        std::copy_n(cell[first + a].begin(), 4, place.cell + 4 * a);
      for_each("grid_anchors", 4 * args.height * args.width * count, args.execution, place);
    }
  });
}

}  // namespace roiops
