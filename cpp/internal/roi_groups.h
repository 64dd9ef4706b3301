// Which RoIs read which map: sorted by level and image. Internal to the CPU
// kernels.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "internal/roi_indices.h"
#include "internal/stable_sort.h"

namespace roiops {

// RoIs of one image on one level.
struct RoiGroup {
  int64_t level, image;
  const int64_t* rois;
  int64_t count;
};

class RoiGroups {
 public:
  // levels.data may be null: a single map. Throws std::out_of_range, naming `op`, for a batch index
  // that is not a whole number in [0, images) or a level outside [0, level_count).
  RoiGroups(const std::string& op, const Array& rois, const Array& levels, int64_t images,
            int64_t level_count)
      : images_(images),
        level_(rois.shape[0]),
        image_(rois.shape[0]),
        begin_(level_count * images + 1),
        order_(rois.shape[0]) {
    dispatch_float(rois.dtype, [&](auto zero) {
      for (int64_t k = 0; k < rois.shape[0]; ++k) {
        const auto index = rois.at<decltype(zero)>(k, 0);
        if (!is_image(index, images)) refuse_image(op, k, images, static_cast<double>(index));
        image_[k] = static_cast<int64_t>(index);
        level_[k] = levels.data ? levels.at<int64_t>(k) : 0;
        if (!is_level(level_[k], level_count)) refuse_level(op, k, level_count, level_[k]);
        ++begin_[level_[k] * images + image_[k] + 1];
      }
    });
    for (size_t g = 1; g < begin_.size(); ++g) begin_[g] += begin_[g - 1];
    std::vector<int64_t> next(begin_.begin(), begin_.end() - 1);
    for (int64_t k = 0; k < rois.shape[0]; ++k) order_[next[level_[k] * images + image_[k]]++] = k;
  }

  // Sorts every group by key(k), equal keys in index order.
  template <class Key>
  void sort(const Key& key) {
    std::vector<Keyed> keyed;
    for (size_t g = 0; g + 1 < begin_.size(); ++g) {
      keyed.clear();
      for (int64_t i = begin_[g]; i < begin_[g + 1]; ++i)
        keyed.push_back({key(order_[i]), order_[i]});
      stable_sort_by_key(keyed);
      for (size_t i = 0; i < keyed.size(); ++i) order_[begin_[g] + i] = keyed[i].index;
    }
  }

  int64_t size() const { return static_cast<int64_t>(begin_.size()) - 1; }
  RoiGroup operator[](int64_t g) const {
    return {g / images_, g % images_, order_.data() + begin_[g], begin_[g + 1] - begin_[g]};
  }
  int64_t level(int64_t k) const { return level_[k]; }
  int64_t image(int64_t k) const { return image_[k]; }

  // Every group cut into runs short enough that `threads` threads with `blocks` channel blocks per
  // run are all kept busy. Where a run has no copy of its map to share, RoIs are alone: their
  // blocks follow each other, and with them the lines of memory that are written.
  std::vector<RoiGroup> runs(int64_t blocks, int threads, bool alone) const {
    const int64_t rois = static_cast<int64_t>(order_.size());
    const int64_t most =
        alone ? 1 : std::max<int64_t>(16, rois * blocks / (int64_t{8} * threads) + 1);
    std::vector<RoiGroup> runs;
    for (int64_t g = 0; g < size(); ++g) {
      const RoiGroup group = (*this)[g];
      for (int64_t i = 0; i < group.count; i += most)
        runs.push_back({group.level, group.image, group.rois + i, std::min(most, group.count - i)});
    }
    return runs;
  }

 private:
  int64_t images_;
  std::vector<int64_t> level_, image_, begin_, order_;
};

}  // namespace roiops
