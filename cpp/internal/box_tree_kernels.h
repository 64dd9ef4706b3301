// What the inner loops see of a tree over boxes: sixteen boxes make a group, sixteen groups a group
// of the next level, until one group is left. A group is bounded so tightly that its overlap with a
// box, computed by the very formula of the IoU, is at least that of each of its boxes.
//
// That holds to the last bit: every step of the formula is monotone, also after rounding. So a
// group whose bound is not above a threshold can be passed over, and no decision changes.
#pragma once

#include <cstdint>

#include "roiops/config.h"

namespace roiops {

constexpr int64_t kTreeFanOut = 16;
constexpr int kTreeMaxLevels = 16;

// Entries of a level, whole groups of them.
ROIOPS_INLINE int64_t tree_padded(int64_t entries) {
  return (entries + kTreeFanOut - 1) / kTreeFanOut * kTreeFanOut;
}

// Level 0: the boxes. Above: of each group the least x1, y1 and area of its boxes and their
// greatest x2, y2, width and height. A negative width: the box, or the whole group, is gone.
template <class T>
struct TreeLevel {
  T *x1, *y1, *x2, *y2, *width, *height, *area;
};

template <class T>
struct BoxTreeView {
  int levels;
  TreeLevel<T> level[kTreeMaxLevels];
};

// The box that a tree is asked about; of a box in the tree all this is known already.
template <class T>
struct TreeQuery {
  T x1, y1, x2, y2, area, one;
};

template <class T>
ROIOPS_INLINE TreeQuery<T> query_at(const TreeLevel<T>& boxes, int64_t i, T one) {
  return {boxes.x1[i], boxes.y1[i], boxes.x2[i], boxes.y2[i], boxes.area[i], one};
}

// What the query shares with, and covers together with, the entries `first` + l of a level; of
// groups: bounds of them. What is gone shares nothing. Boxes in the tree have a finite, positive
// area, so that the union of two is positive; that of a bound may be 0.
template <class T>
struct TreeOverlaps {
  T common[kTreeFanOut], joined[kTreeFanOut];
};

template <class T>
ROIOPS_INLINE void tree_overlaps(TreeOverlaps<T>& out, const TreeLevel<T>& level, int64_t first,
                                 const TreeQuery<T>& q) {
  const T *x1 = level.x1 + first, *y1 = level.y1 + first, *x2 = level.x2 + first,
          *y2 = level.y2 + first, *widest = level.width + first, *highest = level.height + first,
          *area = level.area + first;
  const TreeQuery<T> box = q;
  for (int l = 0; l < kTreeFanOut; ++l) {
    const T left = box.x1 > x1[l] ? box.x1 : x1[l];
    const T top = box.y1 > y1[l] ? box.y1 : y1[l];
    const T right = box.x2 < x2[l] ? box.x2 : x2[l];
    const T bottom = box.y2 < y2[l] ? box.y2 : y2[l];
    T width = right - left + box.one, height = bottom - top + box.one;
    width = width < widest[l] ? width : widest[l];
    height = height < highest[l] ? height : highest[l];
    out.common[l] = (width > 0 ? width : T(0)) * (height > 0 ? height : T(0));
    out.joined[l] = box.area + area[l] - out.common[l];
  }
}

// iou[l] of the query with those entries; of groups: a bound, which may be infinite.
template <class T>
ROIOPS_INLINE void tree_ious(T* iou, const TreeLevel<T>& level, int64_t first,
                             const TreeQuery<T>& q) {
  TreeOverlaps<T> pairs;
  tree_overlaps(pairs, level, first, q);
  for (int l = 0; l < kTreeFanOut; ++l) iou[l] = pairs.common[l] / pairs.joined[l];
}

// Bit l: value[l] > threshold.
template <class T>
ROIOPS_INLINE int tree_above(const T* value, T threshold) {
  int bits = 0;
  for (int l = 0; l < kTreeFanOut; ++l) bits |= value[l] > threshold ? 1 << l : 0;
  return bits;
}

template <class T>
ROIOPS_INLINE T tree_greatest(const T* value) {
  T most[kTreeFanOut];
  for (int l = 0; l < 8; ++l) most[l] = value[l] > value[l + 8] ? value[l] : value[l + 8];
  for (int l = 0; l < 4; ++l) most[l] = most[l] > most[l + 4] ? most[l] : most[l + 4];
  for (int l = 0; l < 2; ++l) most[l] = most[l] > most[l + 2] ? most[l] : most[l + 2];
  return most[0] > most[1] ? most[0] : most[1];
}

}  // namespace roiops
