// Matching, vectorised over boxes; compiled without contraction, because it decides.
#include "internal/match_boxes_kernels.h"
#include "internal/tile.h"
#include "roiops/geometry.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

// Widens [low, high] to the numbers of a column, sixteen at a time; NaN changes nothing.
template <class T>
void column_range(T& low, T& high, const T* column) {
  Lanes<T> least, most;
  for (int r = 0; r < least.kRegisters; ++r) {
    least.v[r] = typename Lanes<T>::Register{} + low;
    most.v[r] = typename Lanes<T>::Register{} + high;
  }
  for (int64_t i = 0; i < kMatchBlock; i += ROIOPS_LANES) {
    const Lanes<T> x = Lanes<T>::load(column + i);
    for (int r = 0; r < x.kRegisters; ++r) {
      least.v[r] = x.v[r] < least.v[r] ? x.v[r] : least.v[r];
      most.v[r] = x.v[r] > most.v[r] ? x.v[r] : most.v[r];
    }
  }
  T lows[ROIOPS_LANES], highs[ROIOPS_LANES];
  least.store(lows);
  most.store(highs);
  for (int l = 0; l < ROIOPS_LANES; ++l) {
    low = lows[l] < low ? lows[l] : low;
    high = highs[l] > high ? highs[l] : high;
  }
}

template <class T>
MatchExtent<T> load(MatchBlock<T>& block, const T* boxes, int64_t row, int64_t column,
                    int64_t count) {
  constexpr int W = Tile<T>::W;
  T* const sides[4] = {block.x1, block.y1, block.x2, block.y2};
  int64_t done = 0;
  if (column == 1)
    for (; done + W <= count; done += W)
      Tile<T>::template transpose<4>(block.x1 + done, kMatchBlock, boxes + done * row, row);
  for (int c = 0; c < 4; ++c) {
    for (int64_t i = done; i < count; ++i) sides[c][i] = boxes[i * row + c * column];
    for (int64_t i = count; i < kMatchBlock; ++i) sides[c][i] = __builtin_nan("");
  }
  T low[4], high[4];
  for (int c = 0; c < 4; ++c) {
    low[c] = __builtin_inf();
    high[c] = -low[c];
    column_range(low[c], high[c], sides[c]);
  }
  return {low[0], low[1], high[2], high[3]};
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
