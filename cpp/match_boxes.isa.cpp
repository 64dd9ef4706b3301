// Matching, vectorised over boxes; compiled without contraction, because it decides.
#include "internal/match_boxes_kernels.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T>
T iou_with(const MatchBlock<T>& block, int i, const T* target) {
  const T box[4] = {block.x1[i], block.y1[i], block.x2[i], block.y2[i]};
  return box_iou(target, box, T(0));
}

template <class T>
T update(MatchBlock<T>& block, const T* target, typename MatchIndex<T>::type index) {
  const T own[4] = {target[0], target[1], target[2], target[3]};
  // A maximum per lane: one maximum of all would make the loop a chain of comparisons.
  T top[ROIOPS_LANES] = {};
  for (int i = 0; i < kMatchBlock; i += ROIOPS_LANES)
    for (int l = 0; l < ROIOPS_LANES; ++l) {
      const T iou = iou_with(block, i + l, own);
      const bool better = iou > block.best[i + l];
      block.best[i + l] = better ? iou : block.best[i + l];
      block.index[i + l] = better ? index : block.index[i + l];
      top[l] = iou > top[l] ? iou : top[l];
    }
  for (int l = 1; l < ROIOPS_LANES; ++l) top[0] = top[l] > top[0] ? top[l] : top[0];
  return top[0];
}

template <class T>
void find_ties(int8_t* ties, const MatchBlock<T>& block, const T* target, T iou) {
  const T own[4] = {target[0], target[1], target[2], target[3]};
  for (int i = 0; i < kMatchBlock; ++i) ties[i] |= iou_with(block, i, own) == iou;
}

}  // namespace

const MatchKernels<float> match_boxes_float = {update<float>, find_ties<float>};
const MatchKernels<double> match_boxes_double = {update<double>, find_ties<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
