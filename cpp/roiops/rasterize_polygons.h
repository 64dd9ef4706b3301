// Mask targets of polygons: each object's polygons in its box, filled as COCO fills them.
//
// vertices (V, 2) float64 x, y in image pixels
// polygons (P + 1,) int64: polygon p has the vertices [polygons[p], polygons[p + 1])
// objects  (N + 1,) int64: object n has the polygons [objects[n], objects[n + 1])
// boxes    (N, 4) float32 or float64
// out      (N, h, w) uint8, 1 inside any of the object's polygons; every element is written
//
// A box's corner becomes the origin, its sides (at least 1) become w and h, in float64. Filling is
// that of COCO's polygons: the boundary is drawn on a grid of 5 x 5 points per pixel, and where it
// steps over the centre line of a pixel column, the pixels below change sides. A box whose corner
// or side is not finite has no pixels. Vertices beyond 2^40 points are moved to there: work is
// bounded. Vertices that are not finite, and offsets that do not ascend from 0 to the end, throw
// std::invalid_argument; a GPU, whose numbers the host does not read, clamps such offsets to what
// there is, and gives such a polygon any pixels.
#pragma once

#include "roiops/array.h"
#include "roiops/execution.h"

namespace roiops {

struct RasterizePolygonsArgs {
  Array vertices, polygons, objects, boxes;
  Execution execution;
};

void rasterize_polygons(const Array& out, const RasterizePolygonsArgs& args);

}  // namespace roiops
