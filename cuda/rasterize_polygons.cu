// Mask targets of polygons: a thread for 64 rows of a pixel column of a target, bits of a register.
// It goes along all edges of its object, and keeps of each polygon where its column changes sides,
// and whether what lies above these rows ends inside. Nothing is shared, and no thread waits.
//
// Bytes moved: an object's vertices once for each of its threads, neighbours reading the same; the
// targets once. Work is edges times columns, as the targets of a mask head are small.
#include <cmath>

#include "each.cuh"
#include "internal/polygon_edges.h"
#include "internal/rasterize_polygons_check.h"
#include "roiops/rasterize_polygons.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int64_t kRows = 64;  // of a thread

// Offsets into something that has `end` entries, whatever numbers they are.
struct Offsets {
  Strided<const int64_t> data;
  int64_t end;

  __device__ int64_t at(int64_t i) const {
    const int64_t offset = data.at(i);
    return offset < 0 ? 0 : offset < end ? offset : end;
  }
};

// In each bit how many lower ones, and itself, are set, odd or even.
__device__ inline uint64_t parities(uint64_t bits) {
  for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

template <class T>
struct Rasterize {
  Strided<uint8_t> out;
  Strided<const double> vertices;
  Offsets polygons, objects;
  Strided<const T> boxes;
  int64_t height, width, bands;

  __device__ void operator()(int64_t i) const {
    const int64_t n = i / (width * bands), column = i % width, top = i / width % bands * kRows;
    const TargetSide x = target_side(boxes.at(n, 0), boxes.at(n, 2), width),
                     y = target_side(boxes.at(n, 1), boxes.at(n, 3), height);
    uint64_t inside = 0;
    if (x.usable && y.usable)
      for (int64_t p = objects.at(n); p < objects.at(n + 1); ++p)
        inside |= filled(polygons.at(p), polygons.at(p + 1), x, y, column, top);
    for (int64_t row = top; row < top + kRows && row < height; ++row)
      out.at(n, row, column) = inside >> (row - top) & 1;
  }

 private:
  __device__ uint64_t filled(int64_t begin, int64_t end, const TargetSide& x, const TargetSide& y,
                             int64_t column, int64_t top) const {
    if (begin >= end) return 0;
    const auto point = [&](int64_t v) {
      return GridPoint{x.point(vertices.at(v, 0)), y.point(vertices.at(v, 1))};
    };
    uint64_t changes = 0;
    bool above = false;
    GridPoint from = point(end - 1);
    for (int64_t v = begin; v < end; ++v) {
      const GridPoint to = point(v);
      const PolygonEdge edge = polygon_edge(from, to, column, column + 1);
      from = to;
      if (edge.first >= edge.end) continue;
      const int64_t row = static_cast<int64_t>(edge.row(column, height)) - top;
      if (row < 0)
        above = !above;
      else if (row < kRows)
        changes ^= uint64_t{1} << row;
    }
    return above ? ~parities(changes) : parities(changes);
  }
};

}  // namespace
}  // namespace cuda

using namespace cuda;

void rasterize_polygons(const Array& out, const RasterizePolygonsArgs& args) {
  check_rasterize_polygons(out, args);
  const int64_t height = out.shape[1], width = out.shape[2], bands = (height + kRows - 1) / kRows;
  dispatch_float(args.boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Offsets polygons{Strided<const int64_t>(args.polygons), args.vertices.shape[0]},
        objects{Strided<const int64_t>(args.objects), args.polygons.shape[0] - 1};
    for_each("rasterize_polygons", out.shape[0] * bands * width, args.execution,
             Rasterize<T>{Strided<uint8_t>(out), Strided<const double>(args.vertices), polygons,
                          objects, Strided<const T>(args.boxes), height, width, bands});
  });
}

}  // namespace roiops
