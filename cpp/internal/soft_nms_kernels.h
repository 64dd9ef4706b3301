// The inner loop of soft-NMS: a tree of boxes that is a tournament of their scores at once.
#pragma once

#include <cstdint>

#include "internal/box_tree_kernels.h"
#include "roiops/decay.h"
#include "roiops/isa.h"

namespace roiops {

template <class T>
struct DecayRule {
  Decay method;
  T iou_threshold;  // of linear and hard
  T sigma;          // of gaussian
};

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
