// Sixteen channels at a time, whatever the layout: blocks of a map, and their scratch copies
// [rows][cols][16]. Internal to the CPU kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "internal/block.h"
#include "internal/channel_blocks_kernels.h"
#include "roiops/array.h"
#include "roiops/config.h"

namespace roiops {

constexpr int L = ROIOPS_LANES;

struct Patch {
  int64_t top, left, rows, cols;
  int64_t cells() const { return rows * cols; }
};

// Scratch memory of one thread: 16 channels of so many cells. Not zeroed: whoever reads it has
// written it.
template <class Acc>
struct Scratch {
  std::unique_ptr<Acc[]> data;
  int64_t capacity = 0;
  Acc* get(int64_t cells) {
    if (cells > std::numeric_limits<int64_t>::max() / int64_t{L * sizeof(Acc)})
      throw std::bad_alloc();
    if (cells > capacity) {
      data.reset(new Acc[cells * L]);
      capacity = cells;
    }
    return data.get();
  }
};

inline const ChannelBlockKernels<Float16>& copies(Float16) { return pick_channel_blocks_float16(); }
inline const ChannelBlockKernels<BFloat16>& copies(BFloat16) {
  return pick_channel_blocks_bfloat16();
}
inline const ChannelBlockKernels<float>& copies(float) { return pick_channel_blocks_float(); }
inline const ChannelBlockKernels<double>& copies(double) { return pick_channel_blocks_double(); }

template <class T>
ChannelBlock<T> channel_block(const Array& map, int64_t image, int64_t block) {
  const int64_t first = block * L;
  return {map.at<T>() + image * map.stride[0] + first * map.stride[1], map.stride[1], map.stride[2],
          map.stride[3], static_cast<int>(std::min<int64_t>(L, map.shape[1] - first))};
}

template <class T>
ChannelBlock<T> at(ChannelBlock<T> block, const Patch& p) {
  block.data += p.top * block.row + p.left * block.cell;
  return block;
}

// Copies a patch to [rows][cols][16]; lanes past the last channel are zero.
template <class Acc, class T>
void load_patch(Acc* to, const ChannelBlock<T>& from, const Patch& p) {
  copies(T{}).load(to, at(from, p), p.rows, p.cols);
}

template <class T, class Acc>
void store_patch(const ChannelBlock<T>& to, const Acc* from, const Patch& p) {
  copies(T{}).store(at(to, p), from, p.rows, p.cols);
}

// A scratch copy of a patch, its pointer shifted so that map coordinates address it.
template <class Acc>
Block<const Acc> as_map(Acc* copy, const Patch& p) {
  return {copy - (p.top * p.cols + p.left) * L, p.cols * L, L};
}

// Whether no block of 16 channels needs a copy.
template <class T, class Acc>
bool in_place(const Array& map) {
  return std::is_same_v<T, Acc> && map.stride[1] == 1 && map.shape[1] % L == 0;
}

// Reads 16 channels of one map for one run of RoIs: decides once between a copy of the whole map
// and a copy per RoI. Both give the same values.
template <class T, class Acc>
class BlockReader {
 public:
  // `cells`: of all that will be read, RoI by RoI, together.
  void open(const Array& map, int64_t image, int64_t block, int64_t cells) {
    block_ = channel_block<T>(map, image, block);
    mode_ = Mode::patches;
    if constexpr (std::is_same_v<T, Acc>) {
      if (block_.lanes == L && block_.channel == 1) {
        mode_ = Mode::in_place;
        shared_ = {block_.data, block_.row, block_.cell};
        return;
      }
    }
    const Patch all{0, 0, map.shape[2], map.shape[3]};
    if (cells <= all.cells()) return;
    mode_ = Mode::whole_map;
    Acc* copy = scratch_.get(all.cells());
    load_patch(copy, block_, all);
    shared_ = as_map(copy, all);
  }
  Block<const Acc> read(const Patch& patch) {
    if (mode_ != Mode::patches) return shared_;
    Acc* copy = scratch_.get(patch.cells());
    load_patch(copy, block_, patch);
    return as_map(copy, patch);
  }
  // Only those rows of the patch that each_row(visit) visits.
  template <class EachRow>
  Block<const Acc> read_rows(const Patch& patch, const EachRow& each_row) {
    if (mode_ != Mode::patches) return shared_;
    Acc* copy = scratch_.get(patch.cells());
    each_row([&](int64_t row) {
      load_patch(copy + (row - patch.top) * patch.cols * L, block_,
                 Patch{row, patch.left, 1, patch.cols});
    });
    return as_map(copy, patch);
  }

 private:
  enum class Mode { in_place, whole_map, patches };
  ChannelBlock<T> block_;
  Mode mode_;
  Block<const Acc> shared_;
  Scratch<Acc> scratch_;
};

inline int64_t blocks_of(int64_t channels) { return (channels + L - 1) / L; }

}  // namespace roiops
