#include "roiops/masks_to_boxes.h"

#include <algorithm>

#include "internal/mask_pixels.h"
#include "internal/masks_to_boxes_check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kBlock = 128;

// One row of a mask: where its first and its last set pixel lie.
template <class T>
struct Row {
  const T* data;
  int64_t stride;

  bool any(int64_t begin, int64_t end) const {
    bool found = false;
    if (stride == 1)
      for (int64_t x = begin; x < end; ++x) found |= is_set(data[x]);
    else
      for (int64_t x = begin; x < end; ++x) found |= is_set(data[x * stride]);
    return found;
  }
  // The first of [begin, end), or `end`: block by block, so that a block is read as vectors.
  int64_t first(int64_t begin, int64_t end) const {
    while (end - begin > kBlock && !any(begin, begin + kBlock)) begin += kBlock;
    while (begin < end && !is_set(data[begin * stride])) ++begin;
    return begin;
  }
  // The last of [begin, end), or begin - 1.
  int64_t last(int64_t begin, int64_t end) const {
    while (end - begin > kBlock && !any(end - kBlock, end)) end -= kBlock;
    while (end > begin && !is_set(data[(end - 1) * stride])) --end;
    return end - 1;
  }
};

template <class T>
void find_box(float* box, const Array& masks, int64_t mask) {
  const int64_t height = masks.shape[1], width = masks.shape[2];
  const auto row = [&](int64_t y) {
    return Row<T>{masks.at<T>() + mask * masks.stride[0] + y * masks.stride[1], masks.stride[2]};
  };
  for (int c = 0; c < 4; ++c) box[c] = 0.0f;
  if (!width) return;
  int64_t top = 0, bottom = height - 1, left = width;
  while (top < height && (left = row(top).first(0, width)) == width) ++top;
  if (top == height) return;
  int64_t right = left;
  while ((right = row(bottom).last(0, width)) < 0) --bottom;
  // What is left of `left` or right of `right` in the other rows.
  for (int64_t y = top; y <= bottom; ++y) {
    left = row(y).first(0, left);
    right = std::max(right, row(y).last(right + 1, width));
  }
  box[0] = static_cast<float>(left);
  box[1] = static_cast<float>(top);
  box[2] = static_cast<float>(right);
  box[3] = static_cast<float>(bottom);
}

}  // namespace

void masks_to_boxes(const Array& boxes, const Array& masks, const Execution& execution) {
  check_masks_to_boxes(boxes, masks);
  dispatch_mask(masks.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(masks.shape[0], 1, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float box[4];
        find_box<T>(box, masks, i);
        for (int c = 0; c < 4; ++c) boxes.at<float>(i, c) = box[c];
      }
    });
  });
}

}  // namespace roiops
