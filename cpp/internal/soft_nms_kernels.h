// What an overlap does to a score, on the CPU and on a GPU, and the inner loop of the CPU's
// soft-NMS: a tree of boxes that is a tournament of their scores at once.
#pragma once

#include <cmath>
#include <cstdint>

#include "internal/box_tree_kernels.h"
#include "internal/exponential.h"
#include "roiops/decay.h"
#include "roiops/isa.h"

namespace roiops {

template <class T>
struct DecayRule {
  Decay method;
  T iou_threshold;  // of linear and hard
  T sigma;          // of gaussian
};

// An overlap that is not greater changes no score.
template <class T>
ROIOPS_INLINE T unchanging_overlap(const DecayRule<T>& rule) {
  return rule.method == Decay::gaussian ? T(0) : rule.iou_threshold;
}

// The factor of a score. Who is to have no score at all gets none that is a number: it is dropped
// whatever the threshold is.
template <class T>
ROIOPS_INLINE T decay_factor(Decay method, T iou, T iou_threshold, T sigma) {
  switch (method) {
    case Decay::linear:
      return iou > iou_threshold ? 1 - iou : T(1);
    case Decay::gaussian:
      return exponential(-(iou * iou) / sigma);
    default:
      return iou > iou_threshold ? static_cast<T>(NAN) : T(1);
  }
}

// A box stays if this is at least the threshold: NaN is not.
template <class T, class S>
ROIOPS_INLINE S decayed_score(S score, T factor) {
  return score * static_cast<S>(factor);
}

// Level 0: the scores of the boxes in the tree. Above: the best score of each group and the
// position of the box that has it, of equal scores the one of the least index; up to the best of
// all at level `levels` of the tree. What is gone has the score -1; the others are not negative.
template <class S>
struct Tournament {
  int64_t count;         // of boxes
  const int64_t* index;  // of a position
  S* score[kTreeMaxLevels + 1];
  int64_t* best[kTreeMaxLevels + 1];
};

template <class T>
struct SoftNmsKernels {
  // Empties the tree. selected[position] becomes the score with which a box was selected; it is
  // left alone for boxes that were dropped.
  void (*with_float_scores)(float* selected, const BoxTreeView<T>& tree,
                            const Tournament<float>& scores, const DecayRule<T>& rule,
                            float score_threshold);
  void (*with_double_scores)(double* selected, const BoxTreeView<T>& tree,
                             const Tournament<double>& scores, const DecayRule<T>& rule,
                             double score_threshold);
};

ROIOPS_DECLARE_KERNELS(SoftNmsKernels<float>, soft_nms_float)
ROIOPS_DECLARE_KERNELS(SoftNmsKernels<double>, soft_nms_double)

}  // namespace roiops
