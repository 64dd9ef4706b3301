// NMS' inner loops, vectorised over sixteen boxes; compiled without contraction, because they
// decide.
#include "internal/nms_kernels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T>
bool suppressed(const T* box, const KeptBoxes<T>& kept, T threshold, T one) {
  int64_t i = 0;
  // Sixteen at a time without a branch, then the question: most candidates are answered early.
  for (; i + ROIOPS_LANES <= kept.count; i += ROIOPS_LANES) {
    int hits = 0;
    for (int l = 0; l < ROIOPS_LANES; ++l) {
      const T other[4] = {kept.x1[i + l], kept.y1[i + l], kept.x2[i + l], kept.y2[i + l]};
      hits |= box_iou(box, other, one) > threshold;
    }
    if (hits) return true;
  }
  for (; i < kept.count; ++i) {
    const T other[4] = {kept.x1[i], kept.y1[i], kept.x2[i], kept.y2[i]};
    if (box_iou(box, other, one) > threshold) return true;
  }
  return false;
}

// `group` of the entries of level k. A group of which nothing is left is gone in the level above.
template <class T>
void suppress_in(const BoxTreeView<T>& tree, int k, int64_t group, const TreeQuery<T>& kept,
                 T threshold) {
  const TreeLevel<T>& level = tree.level[k];
  const int64_t first = group * kTreeFanOut;
  T iou[kTreeFanOut];
  tree_overlaps(iou, level, first, kept);
  int hits = tree_above(iou, threshold);
  if (!hits) return;
  if (k == 0) {
    for (int l = 0; l < kTreeFanOut; ++l)
      level.width[first + l] = iou[l] > threshold ? T(-1) : level.width[first + l];
  } else {
    for (; hits; hits &= hits - 1)
      suppress_in(tree, k - 1, first + __builtin_ctz(hits), kept, threshold);
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
