// Keypoints and heatmaps over a box.
//
// Encoding: a thread for each keypoint.
//
// Decoding: a block for each heatmap. Its resized picture is never stored: a warp takes 32 x 32
// pixels of it at a time, a lane one column of those. Going down, a lane keeps the four rows of the
// map that it blends, stretched to its own column, and what was the greatest so far. The rows'
// weights are found once for a warp. Bytes moved: the maps, from one to a few times, out of caches.
#include <cmath>
#include <stdexcept>

#include "each.cuh"
#include "internal/keypoint_geometry.h"
#include "internal/keypoints_check.h"
#include "roiops/keypoints.h"

namespace roiops {
namespace cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kAll = 0xffffffffu;

template <class T>
struct Encode {
  Strided<int64_t> cells, valid;
  Strided<const T> keypoints, boxes;
  int64_t each, size;

  __device__ void operator()(int64_t i) const {
    const int64_t n = i / each, k = i % each;
    const int64_t x = cell_along(keypoints.at(n, k, 0), boxes.at(n, 0), boxes.at(n, 2), size);
    const int64_t y = cell_along(keypoints.at(n, k, 1), boxes.at(n, 1), boxes.at(n, 3), size);
    const bool ok = keypoints.at(n, k, 2) > 0 && x >= 0 && y >= 0;
    cells.at(n, k) = ok ? y * size + x : 0;
    valid.at(n, k) = ok;
  }
};

template <class T>
struct Heatmaps {
  const T* data;
  int64_t each, rows, columns, stride[4];
};

// The first of the greatest values in reading order; before all of them the first NaN.
template <class T>
struct Greatest {
  T value;
  int32_t at;

  __device__ void take(T v, int32_t i) {
    const bool first = i < at;
    const bool better = v != v ? value == value || first : v > value || (v == value && first);
    if (!better) return;
    value = v;
    at = i;
  }
  __device__ void join_lanes() {
    for (int bits = 16; bits > 0; bits /= 2) {
      const T v = __shfl_xor_sync(kAll, value, bits);
      take(v, __shfl_xor_sync(kAll, at, bits));
    }
  }
};

// A pixel column of the resized map.
template <class T>
struct Column {
  const T* map;
  int64_t row_stride, rows, cell[4];
  T weight[4];

  __device__ Column(const Heatmaps<T>& maps, const T* map, int64_t x, T ratio)
      : map(map), row_stride(maps.stride[2]), rows(maps.rows) {
    const BicubicTap<T> tap = bicubic_tap(x, ratio);
    for (int i = 0; i < 4; ++i) {
      cell[i] = edge_cell(tap.low + i - 1, maps.columns) * maps.stride[3];
      weight[i] = tap.weight[i];
    }
  }
  __device__ T at(int64_t y) const {
    const T* row = map + edge_cell(y, rows) * row_stride;
    return weighted_sum(weight, row[cell[0]], row[cell[1]], row[cell[2]], row[cell[3]]);
  }
  // Of the pixels [top, top + count) under the rows' taps; `pixel` is the number of the first.
  __device__ void search(Greatest<T>& best, const BicubicTap<T>* taps, int count, int32_t pixel,
                         int32_t step) const {
    T a = 0, b = 0, c = 0, d = 0;  // the rows low - 1 .. low + 2
    int64_t low = taps[0].low - 4;
    for (int y = 0; y < count; ++y) {
      if (low < taps[y].low - 4) low = taps[y].low - 4;
      while (low < taps[y].low) {
        a = b;
        b = c;
        c = d;
        d = at(++low + 2);
      }
      best.take(weighted_sum(taps[y].weight, a, b, c, d), pixel + y * step);
    }
  }
};

template <class T>
__global__ void decode(Strided<T> keypoints, Heatmaps<T> maps, Strided<const T> boxes) {
  ROIOPS_SHARED(BicubicTap<T>, taps, kThreads);
  ROIOPS_SHARED(Greatest<T>, of_warps, kWarps);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t n = blockIdx.x / maps.each, k = blockIdx.x % maps.each;
  const ResizedSide<T> x_side = resized_side(boxes.at(n, 0), boxes.at(n, 2)),
                       y_side = resized_side(boxes.at(n, 1), boxes.at(n, 3));
  if (!x_side.usable || !y_side.usable) {  // for the whole block
    if (threadIdx.x < 3) keypoints.at(n, k, threadIdx.x) = T(0);
    return;
  }
  const int width = static_cast<int>(x_side.pixels), height = static_cast<int>(y_side.pixels);
  const T x_ratio = static_cast<T>(maps.columns) / static_cast<T>(width),
          y_ratio = static_cast<T>(maps.rows) / static_cast<T>(height);
  const T* map = maps.data + n * maps.stride[0] + k * maps.stride[1];
  Greatest<T> best{-static_cast<T>(INFINITY), 0x7fffffff};
  const int across = (width + 31) / 32, tiles = across * ((height + 31) / 32);
  for (int tile = warp; tile < tiles; tile += kWarps) {
    const int top = tile / across * 32, x = tile % across * 32 + lane;
    __syncwarp();  // nobody reads the taps before any more
    taps[threadIdx.x] = bicubic_tap(top + lane, y_ratio);
    __syncwarp();
    if (x >= width) continue;
    Column<T>(maps, map, x, x_ratio)
        .search(best, taps + warp * 32, height - top < 32 ? height - top : 32, top * width + x,
                width);
  }
  best.join_lanes();
  if (lane == 0) of_warps[warp] = best;
  __syncthreads();
  if (threadIdx.x) return;
  for (int w = 1; w < kWarps; ++w) best.take(of_warps[w].value, of_warps[w].at);
  keypoints.at(n, k, 0) = x_side.centre(best.at % width);
  keypoints.at(n, k, 1) = y_side.centre(best.at / width);
  keypoints.at(n, k, 2) = best.value;
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void keypoints_to_heatmap(const Array& cells, const Array& valid, const Array& keypoints,
                          const Array& boxes, int64_t size, const Execution& execution) {
  check_keypoints_to_heatmap(cells, valid, keypoints, boxes, size);
  dispatch_float(keypoints.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each(
        "keypoints_to_heatmap", keypoints.shape[0] * keypoints.shape[1], execution,
        Encode<T>{Strided<int64_t>(cells), Strided<int64_t>(valid), Strided<const T>(keypoints),
                  Strided<const T>(boxes), keypoints.shape[1], size});
  });
}

void heatmaps_to_keypoints(const Array& keypoints, const Array& heatmaps, const Array& boxes,
                           const Execution& execution) {
  const char* op = "heatmaps_to_keypoints";
  check_heatmaps_to_keypoints(keypoints, heatmaps, boxes);
  const int64_t count = heatmaps.shape[0] * heatmaps.shape[1];
  if (count == 0) return;
  if (count > 0x7fffffff)
    throw std::invalid_argument(message(op, ": heatmaps are too many for a GPU's grid"));
  check_device(execution.device);
  const LaunchConfig config{dim3(static_cast<unsigned>(count)), dim3(kThreads), 0,
                            static_cast<cudaStream_t>(execution.stream)};
  dispatch_float(heatmaps.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t* s = heatmaps.stride;
    const Heatmaps<T> maps{heatmaps.at<const T>(),
                           heatmaps.shape[1],
                           heatmaps.shape[2],
                           heatmaps.shape[3],
                           {s[0], s[1], s[2], s[3]}};
    check_launch(
        op, launch(op, decode<T>, config, Strided<T>(keypoints), maps, Strided<const T>(boxes)));
  });
}

}  // namespace roiops
