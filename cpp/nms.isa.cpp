// NMS' inner loops, vectorised over sixteen boxes; compiled without contraction, because they
// decide.
#include "internal/nms_kernels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

// Calls of(l) for sixteen pairs; whether one of their IoUs is greater than the threshold. Without a
// branch inside.
template <class T, class Overlap>
bool any_above(T threshold, const Overlap& of) {
  int near = 0;
  for (int l = 0; l < ROIOPS_LANES; ++l) near |= may_exceed(of(l), threshold);
  if (!near) return false;
  int above = 0;
  for (int l = 0; l < ROIOPS_LANES; ++l) above |= iou_of(of(l)) > threshold;
  return above;
}

template <class T>
bool suppressed(const T* box, const KeptBoxes<T>& kept, T threshold, T one) {
  const T x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
  const T area = area_of(box, one);
  // Sixteen at a time, then the question: most candidates are answered early.
  for (int64_t i = 0; i < kept.count; i += ROIOPS_LANES) {
    const bool hit = any_above(threshold, [&](int l) {
      const T own[4] = {x1, y1, x2, y2};
      const T other[4] = {kept.x1[i + l], kept.y1[i + l], kept.x2[i + l], kept.y2[i + l]};
      return overlap_of_areas(own, other, area, kept.area[i + l], one);
    });
    if (hit) return true;
  }
  return false;
}

// `group` of the entries of level k. A group of which nothing is left is gone in the level above.
template <class T>
void suppress_in(const BoxTreeView<T>& tree, int k, int64_t group, const TreeQuery<T>& kept,
                 T threshold) {
  const TreeLevel<T>& level = tree.level[k];
  const int64_t first = group * kTreeFanOut;
  TreeOverlaps<T> pairs;
  tree_overlaps(pairs, level, first, kept);
  int near = 0;
  for (int l = 0; l < kTreeFanOut; ++l)
    near |= may_exceed<T>({pairs.common[l], pairs.joined[l]}, threshold) ? 1 << l : 0;
  if (!near) return;
  if (k == 0) {
    T* width = level.width + first;
    for (int l = 0; l < kTreeFanOut; ++l)
      width[l] = pairs.common[l] / pairs.joined[l] > threshold ? T(-1) : width[l];
  } else {
    for (; near; near &= near - 1)
      suppress_in(tree, k - 1, first + __builtin_ctz(near), kept, threshold);
  }
  if (k + 1 < tree.levels && tree_greatest(level.width + first) < 0)
    tree.level[k + 1].width[group] = T(-1);
}

template <class T>
void suppress(const BoxTreeView<T>& tree, int64_t kept, T threshold, T one) {
  const TreeQuery<T> query = query_at(tree.level[0], kept, one);
  tree.level[0].width[kept] = T(-1);
  suppress_in(tree, tree.levels - 1, 0, query, threshold);
}

}  // namespace

const NmsKernels<float> nms_float = {suppressed<float>, suppress<float>};
const NmsKernels<double> nms_double = {suppressed<double>, suppress<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
