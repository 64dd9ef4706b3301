// A task is one object. The boundary is not walked: an edge says of each pixel column where it
// steps over its centre line, so that a long edge costs no more than the columns.
#include "roiops/rasterize_polygons.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "internal/polygon_edges.h"
#include "internal/rasterize_polygons_check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

template <class T>
class Rasterizer {
 public:
  Rasterizer(const Array& out, const RasterizePolygonsArgs& args)
      : out_(out),
        args_(args),
        height_(out.shape[1]),
        width_(out.shape[2]),
        changes_(height_ * width_),
        inside_(width_) {}

  void operator()(int64_t n) {
    for (int64_t y = 0; y < height_; ++y) std::fill_n(row(n, y), width_, uint8_t{0});
    x_ = side(n, 0, width_);
    y_ = side(n, 1, height_);
    if (!x_.usable || !y_.usable) return;
    for (int64_t p = args_.objects.at<int64_t>(n); p < args_.objects.at<int64_t>(n + 1); ++p) {
      const int64_t begin = args_.polygons.at<int64_t>(p), end = args_.polygons.at<int64_t>(p + 1);
      if (begin == end) continue;
      GridPoint from = point(end - 1);
      for (int64_t v = begin; v < end; ++v) {
        const GridPoint to = point(v);
        add_edge(from, to);
        from = to;
      }
      fill(n);
    }
  }

 private:
  TargetSide side(int64_t n, int axis, int64_t size) const {
    return target_side(args_.boxes.at<T>(n, axis), args_.boxes.at<T>(n, axis + 2), size);
  }
  GridPoint point(int64_t v) const {
    return {x_.point(args_.vertices.at<double>(v, 0)), y_.point(args_.vertices.at<double>(v, 1))};
  }

  void add_edge(GridPoint a, GridPoint b) {
    const PolygonEdge edge = polygon_edge(a, b, 0, width_);
    for (int64_t column = edge.first; column < edge.end; ++column) {
      const double row = edge.row(column, height_);
      if (row < static_cast<double>(height_))
        changes_[static_cast<int64_t>(row) * width_ + column] ^= 1;
    }
  }

  // Turns the changes down each column into pixels, and clears them for the next polygon.
  void fill(int64_t n) {
    std::fill(inside_.begin(), inside_.end(), uint8_t{0});
    for (int64_t y = 0; y < height_; ++y) {
      uint8_t* pixels = row(n, y);
      uint8_t* changes = &changes_[y * width_];
      for (int64_t x = 0; x < width_; ++x) {
        inside_[x] ^= changes[x];
        pixels[x] |= inside_[x];
        changes[x] = 0;
      }
    }
  }

  uint8_t* row(int64_t n, int64_t y) const {
    return out_.at<uint8_t>() + n * out_.stride[0] + y * out_.stride[1];
  }

  const Array& out_;
  const RasterizePolygonsArgs& args_;
  const int64_t height_, width_;
  TargetSide x_{}, y_{};
  std::vector<uint8_t> changes_;  // [height][width], parity
  std::vector<uint8_t> inside_;
};

void check_ascending(const char* name, const Array& offsets, int64_t end) {
  const int64_t last = offsets.shape[0] - 1;
  bool ok = offsets.at<int64_t>(0) == 0 && offsets.at<int64_t>(last) == end;
  for (int64_t i = 0; ok && i < last; ++i)
    ok = offsets.at<int64_t>(i) <= offsets.at<int64_t>(i + 1);
  if (!ok) refuse_offsets(name, end);
}

}  // namespace

void rasterize_polygons(const Array& out, const RasterizePolygonsArgs& args) {
  check_rasterize_polygons(out, args);
  for (int64_t v = 0; v < args.vertices.shape[0]; ++v)
    if (!std::isfinite(args.vertices.at<double>(v, 0)) ||
        !std::isfinite(args.vertices.at<double>(v, 1)))
      throw std::invalid_argument(
          message("rasterize_polygons: vertices must be finite; vertex ", v, " is not"));
  check_ascending("polygons", args.polygons, args.vertices.shape[0]);
  check_ascending("objects", args.objects, args.polygons.shape[0] - 1);
  dispatch_float(args.boxes.dtype, [&](auto zero) {
    parallel_for(out.shape[0], args.execution.threads,
                 [&] { return Rasterizer<decltype(zero)>(out, args); });
  });
}

}  // namespace roiops
