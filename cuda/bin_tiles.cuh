// How the outputs of a pooling are shared out: a block has an RoI and some channels, and takes its
// bins tile by tile.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "compat.cuh"
#include "divide.cuh"
#include "roiops/check.h"

namespace roiops::cuda {

constexpr int kThreads = 256;
constexpr int kBins = 32;  // bins of an axis in a tile: one per lane of a warp

// An output of the tile of bins that begins at (top, left): its channel and bin, from its number
// among `channels` x bins. Those of neighbouring threads are neighbours in memory.
struct Item {
  int64_t channel, y, x;
};
struct Tile {
  int64_t top, left, rows, cols;
  bool channels_last;

  __device__ int64_t items(int64_t channels) const { return channels * rows * cols; }
  __device__ Item item(int64_t i, int64_t channels) const {
    const Split of_bin = channels_last ? split(i, channels) : split(i, rows * cols);
    const int64_t bin = channels_last ? of_bin.quotient : of_bin.remainder;
    const Split of_row = split(bin, cols);
    return {channels_last ? of_bin.remainder : of_bin.quotient, top + of_row.quotient,
            left + of_row.remainder};
  }
};

// Calls visit(tile) for the tiles of all bins.
template <class Visit>
__device__ void each_tile(int64_t bins_y, int64_t bins_x, bool channels_last, const Visit& visit) {
  for (int64_t top = 0; top < bins_y; top += kBins)
    for (int64_t left = 0; left < bins_x; left += kBins)
      visit(Tile{top, left, bins_y - top < kBins ? bins_y - top : kBins,
                 bins_x - left < kBins ? bins_x - left : kBins, channels_last});
}

// Channels of a block: 64, or more where a grid has not as many rows. Whole vectors.
inline int64_t chunk_of(int64_t channels) {
  constexpr int64_t kMostRows = 65535, kUnit = 64;
  const int64_t units = (channels + kUnit - 1) / kUnit;
  return kUnit * std::max<int64_t>(1, (units + kMostRows - 1) / kMostRows);
}

inline dim3 grid_of(int64_t rois, int64_t channels) {
  const int64_t chunk = chunk_of(channels);
  return {static_cast<unsigned>(rois), static_cast<unsigned>((channels + chunk - 1) / chunk), 1};
}

// A thread for each of `count`, which is less than 2^31.
inline dim3 grid_of_threads(int64_t count) {
  return {static_cast<unsigned>((count + kThreads - 1) / kThreads), 1, 1};
}

inline void check_count(const std::string& op, int64_t rois) {
  if (rois > 0x7fffffff)
    throw std::invalid_argument(message(op, ": boxes must be fewer than 2^31 on a GPU"));
}

}  // namespace roiops::cuda
