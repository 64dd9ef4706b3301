// RoIPool on a GPU: outputs and the map's gradient are shared out as in roi_align.cu.
//
// Forward: a thread looks at the cells of its output's bin. Backward: it does so again, once for
// all cells of the map, and notes the winner's number (4 bytes for each output, the only memory of
// that size); then each cell takes the gradients of the bins that it has won.
//
// Bytes moved: the cells under an RoI once per block, outputs once; backward besides the winners,
// once written, once read by each tile of the map that the RoI meets. Not measured on a GPU yet.
#include <string>

#include "bin_tiles.cuh"
#include "compat.cuh"
#include "internal/roi_pool_check.h"
#include "map_tiles.cuh"
#include "maps.cuh"
#include "roiops/geometry.h"
#include "roiops/roi_pool.h"
#include "value_check.cuh"

namespace roiops {
namespace cuda {
namespace {

// All RoIs, C being the type of their coordinates.
template <class C>
struct Rois {
  const C* data;
  int64_t roi_stride, side_stride, count, images;
  C scale;
  int64_t bins_y, bins_x;
};

// One of them.
template <class C>
struct Roi {
  bool usable;  // its image exists, and it is finite; others are worth 0
  int64_t image;
  C side[4];
};

template <class C>
__device__ Roi<C> roi_at(const Rois<C>& all, int64_t k) {
  const C* from = all.data + k * all.roi_stride;
  const C index = from[0];
  Roi<C> roi;
  roi.usable = is_image(index, all.images);
  for (int s = 0; s < 4; ++s) {
    roi.side[s] = from[(1 + s) * all.side_stride];
    roi.usable = roi.usable && std::isfinite(roi.side[s]);
  }
  roi.image = roi.usable ? static_cast<int64_t>(index) : 0;
  return roi;
}

struct Cells {
  int32_t begin, end;
};

template <class C>
__device__ Cells cells_along(const Rois<C>& all, const Roi<C>& roi, bool along_x, int64_t p,
                             int64_t size) {
  Cells cells{0, 0};
  if (roi.usable)
    pool_cells(along_x ? roi.side[0] : roi.side[1], along_x ? roi.side[2] : roi.side[3], all.scale,
               true, p, along_x ? all.bins_x : all.bins_y, size, &cells.begin, &cells.end);
  return cells;
}

// values.data: null but for the derivative in their direction. winners: null, or where to note
// them, as numbers of cells, -1 for an empty bin; then there is no output.
template <class T, class C>
__global__ void pool(Rois<C> all, Maps<const T> map, Maps<const T> values, Maps<T> output,
                     int64_t channels, int64_t chunk, int32_t* winners) {
  const int64_t k = blockIdx.x, first = blockIdx.y * chunk;
  const int64_t count = channels - first < chunk ? channels - first : chunk;
  const Roi<C> roi = roi_at(all, k);
  each_tile(all.bins_y, all.bins_x, output.channel == 1, [&](const Tile& tile) {
    for (int64_t i = threadIdx.x; i < tile.items(count); i += kThreads) {
      const Item at = tile.item(i, count);
      const int64_t c = first + at.channel;
      const Cells rows = cells_along(all, roi, false, at.y, map.height);
      const Cells cols = cells_along(all, roi, true, at.x, map.width);
      auto most = read(T{});
      int32_t winner = -1;
      for (int32_t y = rows.begin; y < rows.end; ++y)
        for (int32_t x = cols.begin; x < cols.end; ++x) {
          const auto v = read(map.at(roi.image, c, y, x));
          if (winner >= 0 && !(v > most || (v != v && most == most))) continue;
          most = v;
          winner = y * static_cast<int32_t>(map.width) + x;
        }
      if (winners) {
        winners[((k * channels + c) * all.bins_y + at.y) * all.bins_x + at.x] = winner;
        continue;
      }
      if (values.data)
        most = winner < 0 ? read(T{})
                          : read(values.at(roi.image, c, winner / map.width, winner % map.width));
      write(output.at(k, c, at.y, at.x), most);
    }
  });
}

template <class C>
__global__ void find_reach(Rois<C> all, int64_t height, int64_t width, Reach* reach) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= all.count) return;
  const Roi<C> roi = roi_at(all, k);
  const double left = static_cast<double>(roi.side[0] * all.scale),
               top = static_cast<double>(roi.side[1] * all.scale),
               right = static_cast<double>(roi.side[2] * all.scale),
               bottom = static_cast<double>(roi.side[3] * all.scale);
  Reach to{roi.image, 0, 0, 0, 0, 0};
  if (roi.usable && std::isfinite(left) && std::isfinite(top) && std::isfinite(right) &&
      std::isfinite(bottom)) {
    // An inverted RoI has the cell where it begins.
    reach_along(top, bottom > top ? bottom - top : 0, height, &to.top, &to.bottom);
    reach_along(left, right > left ? right - left : 0, width, &to.left, &to.right);
  }
  reach[k] = to;
}

template <class T, class Acc, class C, bool by_rows>
__global__ void grad_input(Rois<C> all, Maps<T> map, PyramidTiles tiles, Maps<const T> grad_output,
                           int64_t channels, const Reach* reach, const int32_t* winners) {
  ROIOPS_SHARED(int32_t, hits, kThreads);
  ROIOPS_SHARED(int32_t, of_warp, kThreads / 32);
  ROIOPS_SHARED(unsigned, bins, 2 * kSide);  // of each row and column of the tile: which have it

  const Place at = place_in<by_rows>(tiles, 1);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t y = at.top + at.y, x = at.left + at.x;
  const auto own = static_cast<int32_t>(y * map.width + x);
  Acc sum[kOwn] = {};
  for (int64_t first = 0; first < all.count; first += kThreads) {
    const int found =
        collect(first, all.count, [&](int64_t k) { return at.meets(reach[k]); }, hits, of_warp);
    for (int h = 0; h < found; ++h) {
      const int64_t k = first + hits[h];
      each_tile(all.bins_y, all.bins_x, false, [&](const Tile& t) {
        __syncthreads();  // nobody reads the bins before any more
        if (warp < 2) {   // along y, along x; a lane has a bin
          const bool along_x = warp == 1;
          const int64_t p = (along_x ? t.left : t.top) + lane;
          Cells cells{0, 0};
          if (lane < (along_x ? t.cols : t.rows))
            cells = cells_along(all, roi_at(all, k), along_x, p, along_x ? map.width : map.height);
          for (int i = 0; i < kSide; ++i) {
            const int64_t cell = (along_x ? at.left : at.top) + i;
            const unsigned vote =
                __ballot_sync(0xffffffffu, cell >= cells.begin && cell < cells.end);
            if (lane == 0) bins[warp * kSide + i] = vote;
          }
        }
        __syncthreads();
        unsigned across = bins[kSide + at.x];
        if (by_rows)
          for (int i = 1; i < kSide; ++i) across |= bins[kSide + i];
        for (unsigned ys = bins[at.y]; ys; ys &= ys - 1)
          for (unsigned xs = across; xs; xs &= xs - 1) {
            const int64_t bin_y = t.top + __ffs(static_cast<int>(ys)) - 1,
                          bin_x = t.left + __ffs(static_cast<int>(xs)) - 1;
            const int32_t* won =
                winners + ((k * channels + at.own) * all.bins_y + bin_y) * all.bins_x + bin_x;
            const T* from = &grad_output.at(k, at.own, bin_y, bin_x);
            ROIOPS_UNROLL for (int i = 0; i < kOwn; ++i) {
              const int row = by_rows ? i : 0, channel = by_rows ? 0 : i;
              if (at.own + channel < channels && x + row < map.width &&
                  won[channel * all.bins_y * all.bins_x] == own + row)
                sum[i] += read(from[channel * grad_output.channel]);
            }
          }
      });
    }
    __syncthreads();  // the hits have been read
  }
  store_own<by_rows>(map, at, channels, sum);
}

template <class C>
Rois<C> rois_of(const char* op, const RoiPoolArgs& args, const Array& pooled) {
  check_count(op, args.rois.shape[0]);
  return {args.rois.at<C>(),  args.rois.stride[0], args.rois.stride[1],
          args.rois.shape[0], args.input.shape[0], static_cast<C>(args.spatial_scale),
          pooled.shape[2],    pooled.shape[3]};
}

template <class Body>
void with_types(const RoiPoolArgs& args, const Body& body) {
  dispatch_features(args.input.dtype, [&](auto stored, auto summed) {
    dispatch_float(args.rois.dtype, [&](auto coordinate) { body(stored, summed, coordinate); });
  });
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void roi_pool_forward(const Array& output, const RoiPoolArgs& args, const Array& values) {
  const char* op = "roi_pool";
  check_roi_pool(op, args, output, "output");
  if (values.data) check_like_input(op, "values", values, args.input);
  if (output.size() == 0) return;
  check_device(args.execution.device);
  check_values(op, args.rois, {}, args.input.shape[0], 1, args.execution);
  with_types(args, [&](auto stored, auto, auto coordinate) {
    using T = decltype(stored);
    using C = decltype(coordinate);
    const int64_t channels = output.shape[1];
    const LaunchConfig config{grid_of(args.rois.shape[0], channels), dim3(kThreads), 0,
                              static_cast<cudaStream_t>(args.execution.stream)};
    check_launch(op,
                 launch("roi_pool", pool<T, C>, config, rois_of<C>(op, args, output),
                        maps_of<const T>(args.input), maps_of<const T>(values), maps_of<T>(output),
                        channels, chunk_of(channels), static_cast<int32_t*>(nullptr)));
  });
}

void roi_pool_grad_input(const Array& result, const Array& grad_output, const RoiPoolArgs& args) {
  const char* op = "roi_pool_backward";
  check_roi_pool(op, args, grad_output, "grad_output");
  check_like_input(op, "grad_input", result, args.input);
  check_device(args.execution.device);
  check_values(op, args.rois, {}, args.input.shape[0], 1, args.execution);
  with_types(args, [&](auto stored, auto summed, auto coordinate) {
    using T = decltype(stored);
    using Acc = decltype(summed);
    using C = decltype(coordinate);
    PyramidTiles tiles;
    const dim3 grid = grid_of_tiles(op, {result}, &tiles);
    if (grid.x == 0 || grid.y == 0) return;
    const auto all = rois_of<C>(op, args, grad_output);
    const auto stream = static_cast<cudaStream_t>(args.execution.stream);
    const int64_t channels = result.shape[1];
    Reach* reach = nullptr;
    int32_t* winners = nullptr;
    if (all.count) {
      reach = static_cast<Reach*>(args.execution.workspace(all.count * sizeof(Reach)));
      check_launch(op, launch("roi_pool find_reach", find_reach<C>,
                              {grid_of_threads(all.count), dim3(kThreads), 0, stream}, all,
                              result.shape[2], result.shape[3], reach));
      winners =
          static_cast<int32_t*>(args.execution.workspace(grad_output.size() * sizeof(int32_t)));
      check_launch(op, launch("roi_pool winners", pool<T, C>,
                              {grid_of(all.count, channels), dim3(kThreads), 0, stream}, all,
                              maps_of<const T>(args.input), Maps<const T>{}, Maps<T>{}, channels,
                              chunk_of(channels), winners));
    }
    check_launch(op, launch("roi_pool grad_input",
                            channels_are_last({result}) ? grad_input<T, Acc, C, true>
                                                        : grad_input<T, Acc, C, false>,
                            {grid, dim3(kThreads), 0, stream}, all, maps_of<T>(result), tiles,
                            maps_of<const T>(grad_output), channels, reach, winners));
  });
}

}  // namespace roiops
