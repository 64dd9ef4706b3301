// A tree over boxes for finding those that overlap one of them by more than a threshold: what the
// operators on suppression share. Its memory is linear in the number of boxes.
#pragma once

#include <vector>

#include "internal/box_tree_kernels.h"
#include "roiops/array.h"

namespace roiops {

template <class T>
class BoxTree {
 public:
  // Over boxes (N, 4), members[0 .. count). Only those that overlap anything at all are in it: not
  // the ones with a non-finite coordinate, no width, no height, or an area that is no finite,
  // positive number in T.
  BoxTree(const Array& boxes, const int64_t* members, int64_t count, T one);

  const BoxTreeView<T>& view() const { return view_; }
  // Which member lies at a position of level 0.
  const std::vector<int64_t>& member() const { return member_; }

 private:
  BoxTreeView<T> view_;
  std::vector<T> numbers_;
  std::vector<int64_t> member_;
};

extern template class BoxTree<float>;
extern template class BoxTree<double>;

}  // namespace roiops
