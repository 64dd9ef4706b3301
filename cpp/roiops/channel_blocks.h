// Sixteen channels at a time, whatever the layout: blocks of a map, and their scratch copies
// [rows][cols][16]. Internal to the CPU kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "roiops/array.h"
#include "roiops/config.h"
#include "roiops/roi_align_kernels.h"

namespace roiops {

constexpr int L = ROIOPS_LANES;

struct Patch {
  int64_t top, left, rows, cols;
  int64_t cells() const { return rows * cols; }
};

// Scratch memory of one thread. Not zeroed: whoever reads it has written it.
template <class Acc>
struct Scratch {
  std::unique_ptr<Acc[]> data;
  int64_t capacity = 0;
  Acc* get(int64_t n) {
    if (n > capacity) {
      data.reset(new Acc[n]);
      capacity = n;
    }
    return data.get();
  }
};

// 16 (or the last few) channels of one image of one map.
template <class Acc>
struct ChannelBlock {
  Acc* data;  // of channel `first` at cell (0, 0)
  int64_t channel, row, cell;  // strides
  int lanes;
  bool side_by_side() const { return lanes == L && channel == 1; }
};

template <class Acc>
ChannelBlock<Acc> channel_block(const Array& map, int64_t image, int64_t block) {
  const int64_t first = block * L;
  return {map.at<Acc>() + image * map.stride[0] + first * map.stride[1], map.stride[1],
          map.stride[2], map.stride[3],
          static_cast<int>(std::min<int64_t>(L, map.shape[1] - first))};
}

// Copies a patch to [rows][cols][16]; lanes past the last channel are zero.
template <class Acc>
void load_patch(Acc* to, const ChannelBlock<Acc>& from, const Patch& p) {
  for (int64_t y = 0; y < p.rows; ++y, to += p.cols * L) {
    const Acc* row = from.data + (p.top + y) * from.row + p.left * from.cell;
    for (int lane = 0; lane < L; ++lane) {
      if (lane >= from.lanes) {
        for (int64_t x = 0; x < p.cols; ++x) to[x * L + lane] = Acc(0);
        continue;
      }
      const Acc* cells = row + lane * from.channel;
      for (int64_t x = 0; x < p.cols; ++x) to[x * L + lane] = cells[x * from.cell];
    }
  }
}

template <class Acc>
void store_patch(const ChannelBlock<Acc>& to, const Acc* from, const Patch& p) {
  for (int64_t y = 0; y < p.rows; ++y, from += p.cols * L) {
    Acc* row = to.data + (p.top + y) * to.row + p.left * to.cell;
    for (int lane = 0; lane < to.lanes; ++lane) {
      Acc* cells = row + lane * to.channel;
      for (int64_t x = 0; x < p.cols; ++x) cells[x * to.cell] = from[x * L + lane];
    }
  }
}

// A block read in place, or through a scratch copy whose pointer is shifted so that map coordinates
// address it.
template <class Acc>
Block<const Acc> in_place(const ChannelBlock<Acc>& b) {
  return {b.data, b.row, b.cell};
}
template <class Acc>
Block<const Acc> copied(Acc* scratch, const ChannelBlock<Acc>& b, const Patch& p) {
  load_patch(scratch, b, p);
  return {scratch - (p.top * p.cols + p.left) * L, p.cols * L, L};
}

int64_t blocks_of(int64_t channels) { return (channels + L - 1) / L; }

}  // namespace roiops
