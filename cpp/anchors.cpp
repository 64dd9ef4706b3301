#include "roiops/anchors.h"

#include <cstring>
#include <stdexcept>
#include <vector>

#include "internal/cell_anchors.h"
#include "internal/huge_pages.h"
#include "roiops/parallel.h"

namespace roiops {

void grid_anchors(const Array& out, const GridAnchorArgs& args) {
  const std::vector<Anchor> cell = cell_anchors(args);
  const int64_t per_cell = static_cast<int64_t>(cell.size());
  check_grid_anchors(out, args, per_cell);
  if (out.size() == 0) return;
  if (out.stride[0] != 4 || out.stride[1] != 1)
    throw std::invalid_argument("grid_anchors: out must be contiguous");
  ask_for_huge_pages(out);
  dispatch_float(out.dtype, [&](auto zero) {
    using T = decltype(zero);
    // x does not depend on the row, nor y on the column: both are computed once, each with zero
    // bits in place of the other, so that from then on an anchor is one load, one "or", one store.
    constexpr size_t kBytes = 4 * sizeof(T);
    struct Box {
      typedef uint32_t Bits __attribute__((vector_size(kBytes)));
      Bits bits;
    };
    const auto along = [&](int axis, int64_t count, double stride) {
      std::vector<Box> boxes;
      boxes.reserve(count * per_cell);
      for (int64_t i = 0; i < count; ++i)
        for (const Anchor& a : cell) {
          T sides[4] = {};
          for (int side : {axis, axis + 2}) sides[side] = moved_side<T>(a[side], i, stride);
          boxes.emplace_back();
          std::memcpy(&boxes.back(), sides, kBytes);
        }
      return boxes;
    };
    const std::vector<Box> columns = along(0, args.width, args.stride_x);
    const std::vector<Box> rows = along(1, args.height, args.stride_y);
    parallel_ranges(args.height, 16, args.execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) {
        T* to = &out.at<T>(y * args.width * per_cell, 0);
        const Box* column = columns.data();
        const Box* row = &rows[y * per_cell];
        for (int64_t x = 0; x < args.width; ++x)
          for (int64_t a = 0; a < per_cell; ++a, ++column, to += 4) {
            const Box box = {column->bits | row[a].bits};
            std::memcpy(to, &box, kBytes);
          }
      }
    });
  });
}

}  // namespace roiops
