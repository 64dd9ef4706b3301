// Matching, vectorised over boxes; compiled without contraction, because it decides.
#include "internal/match_boxes_kernels.h"
#include "internal/tile.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

// The least number of a column, times `sign`, sixteen at a time; NaN is none.
template <class T, int sign = 1>
T least_of(const T* column) {
  Lanes<T> least;
  for (auto& v : least.v) v = typename Lanes<T>::Register{} + T(__builtin_inf());
  for (int64_t i = 0; i < kMatchBlock; i += ROIOPS_LANES) {
    const Lanes<T> x = Lanes<T>::load(column + i).scaled(sign);
    for (int r = 0; r < x.kRegisters; ++r) least.v[r] = x.v[r] < least.v[r] ? x.v[r] : least.v[r];
  }
  T lows[ROIOPS_LANES];
  least.store(lows);
  for (int l = 1; l < ROIOPS_LANES; ++l) lows[0] = lows[l] < lows[0] ? lows[l] : lows[0];
  return lows[0];
}

template <class T>
MatchExtent<T> load(MatchBlock<T>& block, const T* boxes, int64_t row, int64_t column,
                    int64_t count) {
  T* const sides = block.x1;
  Tile<T>::columns_of(sides, kMatchBlock, boxes, row, column, count);
  for (int c = 0; c < 4; ++c)
    for (int64_t i = count; i < kMatchBlock; ++i) sides[c * kMatchBlock + i] = __builtin_nan("");
  return {least_of(block.x1), least_of(block.y1), -least_of<T, -1>(block.x2),
          -least_of<T, -1>(block.y2)};
}

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

const MatchKernels<float> match_boxes_float = {load<float>, update<float>, find_ties<float>};
const MatchKernels<double> match_boxes_double = {load<double>, update<double>, find_ties<double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
