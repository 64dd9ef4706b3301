// A task is one object. The boundary is not walked: an edge says of each pixel column where it
// steps over its centre line, so that a long edge costs no more than the columns.
#include "roiops/rasterize_polygons.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kFine = 5;          // points per pixel and axis
constexpr double kFarthest = 0x1p40;  // sums of coordinates and rounding are exact up to here

struct Point {
  int64_t x, y;
};

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
    for (int axis = 0; axis < 2; ++axis) {
      corner_[axis] = static_cast<double>(args_.boxes.at<T>(n, axis));
      const double side = static_cast<double>(args_.boxes.at<T>(n, axis + 2)) - corner_[axis];
      if (!std::isfinite(corner_[axis]) || !std::isfinite(side)) return;
      side_[axis] = std::max(side, 1.0);
    }
    for (int64_t p = args_.objects.at<int64_t>(n); p < args_.objects.at<int64_t>(n + 1); ++p) {
      const int64_t begin = args_.polygons.at<int64_t>(p), end = args_.polygons.at<int64_t>(p + 1);
      if (begin == end) continue;
      Point from = point(end - 1);
      for (int64_t v = begin; v < end; ++v) {
        const Point to = point(v);
        add_edge(from, to);
        from = to;
      }
      fill(n);
    }
  }

 private:
  Point point(int64_t v) const { return {fine(v, 0, width_), fine(v, 1, height_)}; }
  int64_t fine(int64_t v, int axis, int64_t size) const {
    const double at = (args_.vertices.at<double>(v, axis) - corner_[axis]) *
                      static_cast<double>(size) / side_[axis];
    const double scaled = static_cast<double>(kFine) * at + 0.5;
    return static_cast<int64_t>(std::trunc(std::clamp(scaled, -kFarthest, kFarthest)));
  }

  // The line takes one step per point along its longer direction, and rounds the other. Its step
  // between the points 2 and 3 of a pixel column changes sides below the upper end of the step.
  void add_edge(Point a, Point b) {
    const int64_t across = std::abs(b.x - a.x), down = std::abs(b.y - a.y);
    const bool wide = across >= down;
    if (wide ? a.x > b.x : a.y > b.y) std::swap(a, b);
    const int64_t left = std::min(a.x, b.x), right = std::max(a.x, b.x);
    const int64_t first = left <= 2 ? 0 : (left - 2 + kFine - 1) / kFine;
    const int64_t end = right < 3 ? 0 : std::min((right - 3) / kFine + 1, width_);
    if (first >= end) return;
    const double slope = wide ? static_cast<double>(b.y - a.y) / static_cast<double>(across)
                              : static_cast<double>(b.x - a.x) / static_cast<double>(down);
    for (int64_t column = first; column < end; ++column) {
      const int64_t x = kFine * column + 2;
      const double y =
          wide ? std::min(rounded(a.y, slope, x - a.x), rounded(a.y, slope, x + 1 - a.x))
               : static_cast<double>(a.y + step_past(x, a.x, slope, down) - 1);
      const double pixel =
          std::ceil(std::clamp((y + 0.5) / kFine - 0.5, 0.0, static_cast<double>(height_)));
      if (pixel < static_cast<double>(height_))
        changes_[static_cast<int64_t>(pixel) * width_ + column] ^= 1;
    }
  }

  static double rounded(int64_t start, double slope, int64_t step) {
    return std::trunc(static_cast<double>(start) + slope * static_cast<double>(step) + 0.5);
  }

  // The first of the steps 1 .. last of a steep line that is on the other side of x than step 0.
  static int64_t step_past(int64_t x, int64_t start, double slope, int64_t last) {
    int64_t before = 0, past = last;
    while (past - before > 1) {
      const int64_t step = before + (past - before) / 2;
      const double at = static_cast<double>(start) + slope * static_cast<double>(step) + 0.5;
      ((at >= static_cast<double>(x + 1)) == (slope > 0) ? past : before) = step;
    }
    return past;
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
  double corner_[2] = {}, side_[2] = {};
  std::vector<uint8_t> changes_;  // [height][width], parity
  std::vector<uint8_t> inside_;
};

void check_offsets(const char* op, const char* name, const Array& offsets, int64_t end) {
  check_dtype(op, name, offsets, DType::int64);
  check_shape(op, name, offsets, {-1});
  const int64_t count = offsets.shape[0];
  bool ok = count > 0 && offsets.at<int64_t>(0) == 0 && offsets.at<int64_t>(count - 1) == end;
  for (int64_t i = 1; ok && i < count; ++i)
    ok = offsets.at<int64_t>(i - 1) <= offsets.at<int64_t>(i);
  if (!ok) throw std::invalid_argument(message(op, ": ", name, " must ascend from 0 to ", end));
}

}  // namespace

void rasterize_polygons(const Array& out, const RasterizePolygonsArgs& args) {
  const char* op = "rasterize_polygons";
  check_dtype(op, "vertices", args.vertices, DType::float64);
  check_shape(op, "vertices", args.vertices, {-1, 2});
  for (int64_t v = 0; v < args.vertices.shape[0]; ++v)
    if (!std::isfinite(args.vertices.at<double>(v, 0)) ||
        !std::isfinite(args.vertices.at<double>(v, 1)))
      throw std::invalid_argument(message(op, ": vertices must be finite; vertex ", v, " is not"));
  check_offsets(op, "polygons", args.polygons, args.vertices.shape[0]);
  check_offsets(op, "objects", args.objects, args.polygons.shape[0] - 1);
  const int64_t n = args.objects.shape[0] - 1;
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "boxes", args.boxes, {n, 4});
  check_shape(op, "out", out, {n, -1, -1});
  check_dtype(op, "out", out, DType::uint8);
  if (out.shape[1] < 1 || out.shape[2] < 1 || (n > 0 && out.shape[2] > 1 && out.stride[2] != 1))
    throw std::invalid_argument(message(op, ": size must be at least 1, and out have whole rows"));
  dispatch_float(args.boxes.dtype, [&](auto zero) {
    parallel_for(n, args.execution.threads, [&] { return Rasterizer<decltype(zero)>(out, args); });
  });
}

}  // namespace roiops
