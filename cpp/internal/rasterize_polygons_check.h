// What rasterize_polygons refuses, on the CPU and on a GPU, without a look at numbers.
#pragma once

#include "roiops/check.h"
#include "roiops/rasterize_polygons.h"

namespace roiops {

[[noreturn]] inline void refuse_offsets(const char* name, int64_t end) {
  throw std::invalid_argument(
      message("rasterize_polygons: ", name, " must ascend from 0 to ", end));
}

inline void check_rasterize_polygons(const Array& out, const RasterizePolygonsArgs& args) {
  const char* op = "rasterize_polygons";
  check_dtype(op, "vertices", args.vertices, DType::float64);
  check_shape(op, "vertices", args.vertices, {-1, 2});
  const auto check_offsets = [&](const char* name, const Array& offsets, int64_t end) {
    check_dtype(op, name, offsets, DType::int64);
    check_shape(op, name, offsets, {-1});
    if (offsets.shape[0] < 1) refuse_offsets(name, end);
  };
  check_offsets("polygons", args.polygons, args.vertices.shape[0]);
  check_offsets("objects", args.objects, args.polygons.shape[0] - 1);
  const int64_t n = args.objects.shape[0] - 1;
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "boxes", args.boxes, {n, 4});
  check_shape(op, "out", out, {n, -1, -1});
  check_dtype(op, "out", out, DType::uint8);
  if (out.shape[1] < 1 || out.shape[2] < 1 || (n > 0 && out.shape[2] > 1 && out.stride[2] != 1))
    throw std::invalid_argument(message(op, ": size must be at least 1, and out have whole rows"));
}

}  // namespace roiops
