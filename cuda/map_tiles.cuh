// How the gradient of feature maps is shared out: a block owns 8 x 8 cells of one map and 32 of its
// channels; a thread one cell and 8 channels or, where channels are neighbours in memory, one
// channel and a row of 8 cells. It visits the RoIs that can reach these cells in the order of their
// index, so nothing is added by two threads, and the order of additions is fixed.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "bin_tiles.cuh"
#include "compat.cuh"
#include "maps.cuh"

namespace roiops::cuda {

constexpr int kSide = 8;  // cells of a tile of the map, along each axis
constexpr int kOwn = 8;   // channels of a thread
constexpr int kBlockChannels = kOwn * kThreads / (kSide * kSide);

// Which cells an RoI can reach: a rectangle, somewhat large. An unusable RoI reaches none.
struct Reach {
  int64_t image;
  int32_t level, top, bottom, left, right;  // [top, bottom), [left, right)
};

// Of an axis: `start` and `length` in cells, finite.
__device__ inline void reach_along(double start, double length, int64_t size, int32_t* begin,
                                   int32_t* end) {
  // Coordinates are rounded: by a part in a million at most, and pooled cells to the next ones.
  const double margin = 3 + 1e-6 * (std::fabs(start) + std::fabs(length));
  const double low = length < 0 ? start + length : start;  // an inverted box, aligned
  const double first = low - margin, last = low + std::fabs(length) + margin;
  *begin = first > 0 ? static_cast<int32_t>(first < size ? first : size) : 0;
  *end = last > 0 ? static_cast<int32_t>(last < size ? last : size) : 0;
}

struct Tiles {  // of one level, all images
  int64_t rows, cols, first_block;
};
struct PyramidTiles {
  Tiles level[kMaxLevels];
};

// What a thread owns: the cell (y, x) and the channels [own, own + kOwn). By rows: the kOwn cells
// of row y and channel `own`.
struct Place {
  int level;
  int64_t image, top, left;  // of the tile
  int y, x;                  // of the cell in it
  int64_t own;

  __device__ bool meets(const Reach& r) const {
    return r.image == image && r.level == level && r.top < top + kSide && r.bottom > top &&
           r.left < left + kSide && r.right > left;
  }
};

static_assert(kOwn == kSide && kThreads == 32 * kSide && kBlockChannels == 32, "a warp has a row");

template <bool by_rows>
__device__ Place place_in(const PyramidTiles& tiles, int levels) {
  Place at;
  at.level = levels - 1;
  while (blockIdx.x < tiles.level[at.level].first_block) --at.level;
  const Tiles& of = tiles.level[at.level];
  const int64_t tile = blockIdx.x - of.first_block;
  at.image = tile / (of.rows * of.cols);
  at.top = tile / of.cols % of.rows * kSide;
  at.left = tile % of.cols * kSide;
  const int64_t first_channel = static_cast<int64_t>(blockIdx.y) * kBlockChannels;
  if (by_rows) {
    at.y = threadIdx.x / 32;
    at.x = 0;
    at.own = first_channel + threadIdx.x % 32;
    return at;
  }
  const int cell = threadIdx.x % (kSide * kSide);
  at.y = cell / kSide;
  at.x = cell % kSide;
  at.own = first_channel + threadIdx.x / (kSide * kSide) * kOwn;
  return at;
}

template <bool by_rows, class T, class Acc>
__device__ void store_own(const Maps<T>& map, const Place& at, int64_t channels, const Acc* sum) {
  const int64_t y = at.top + at.y;
  ROIOPS_UNROLL for (int i = 0; i < kOwn; ++i) {
    const int64_t c = at.own + (by_rows ? 0 : i), x = at.left + (by_rows ? i : at.x);
    if (c < channels && y < map.height && x < map.width) write(map.at(at.image, c, y, x), sum[i]);
  }
}

// Of the RoIs [first, first + kThreads) those that `meets` says, in their order, as numbers from
// `first` on; how many. hits: kThreads, of_warp: one for each warp, both in shared memory.
template <class Meets>
__device__ int collect(int64_t first, int64_t count, const Meets& meets, int32_t* hits,
                       int32_t* of_warp) {
  const int64_t k = first + threadIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const bool hit = k < count && meets(k);
  const unsigned votes = __ballot_sync(0xffffffffu, hit);
  if (lane == 0) of_warp[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    before += w < warp ? of_warp[w] : 0;
    total += of_warp[w];
  }
  if (hit) hits[before + __popc(votes & ((1u << lane) - 1))] = static_cast<int32_t>(threadIdx.x);
  __syncthreads();
  return total;
}

// Whether channels are neighbours in all maps: threads are laid out accordingly.
inline bool channels_are_last(const std::vector<Array>& maps) {
  bool last = maps[0].shape[1] > 1;
  for (const Array& map : maps) last = last && map.stride[1] == 1;
  return last;
}

// Blocks that own all cells and channels; none where there are none.
inline dim3 grid_of_tiles(const std::string& op, const std::vector<Array>& maps,
                          PyramidTiles* tiles) {
  *tiles = {};
  int64_t blocks = 0;
  for (size_t l = 0; l < maps.size(); ++l) {
    const int64_t* s = maps[l].shape;
    const int64_t rows = (s[2] + kSide - 1) / kSide, cols = (s[3] + kSide - 1) / kSide;
    tiles->level[l] = {rows, cols, blocks};
    if (s[0] && rows * cols > 0x7fffffff / s[0] - blocks) blocks = 0x80000000;
    blocks += rows * cols * s[0];
    if (blocks > 0x7fffffff)
      throw std::invalid_argument(message(op, ": input has too many cells for a GPU's grid"));
  }
  const int64_t groups = (maps[0].shape[1] + kBlockChannels - 1) / kBlockChannels;
  if (groups > 65535)
    throw std::invalid_argument(message(op, ": input has too many channels for a GPU's grid"));
  return {static_cast<unsigned>(blocks), static_cast<unsigned>(groups), 1};
}

}  // namespace roiops::cuda
