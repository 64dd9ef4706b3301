// Soft-NMS' inner loops, vectorised over sixteen boxes; compiled without contraction, because they
// decide. Only groups that a selected box overlaps are touched, and only their best is played
// again.
#include "internal/soft_nms_kernels.h"

namespace roiops {
namespace ROIOPS_ISA {
namespace {

template <class T, class S>
struct SoftNms {
  const BoxTreeView<T>& tree;
  const Tournament<S>& scores;
  const DecayRule<T>& rule;
  const S score_threshold;
  const T unchanged;  // an overlap that is not greater changes no score

  // The best of a group, for the level above.
  void play(int k, int64_t group) const {
    const int64_t first = group * kTreeFanOut;
    const S* score = scores.score[k] + first;
    const S most = tree_greatest(score);
    scores.score[k + 1][group] = most;
    if (most < 0) {
      if (k + 1 < tree.levels) tree.level[k + 1].width[group] = T(-1);
      return;
    }
    const auto position = [&](int l) { return k ? scores.best[k][first + l] : first + l; };
    int ties = 0;
    for (int l = 0; l < kTreeFanOut; ++l) ties |= score[l] == most ? 1 << l : 0;
    int64_t best = position(__builtin_ctz(ties));
    for (ties &= ties - 1; ties; ties &= ties - 1) {
      const int64_t other = position(__builtin_ctz(ties));
      if (scores.index[other] < scores.index[best]) best = other;
    }
    scores.best[k + 1][group] = best;
  }

  void decay_boxes(int64_t first, const T* iou) const {
    T factor[kTreeFanOut];
    const T threshold = rule.iou_threshold, sigma = rule.sigma;
    switch (rule.method) {
      case Decay::linear:
        for (int l = 0; l < kTreeFanOut; ++l)
          factor[l] = decay_factor(Decay::linear, iou[l], threshold, sigma);
        break;
      case Decay::gaussian:
        for (int l = 0; l < kTreeFanOut; ++l)
          factor[l] = decay_factor(Decay::gaussian, iou[l], threshold, sigma);
        break;
      default:
        for (int l = 0; l < kTreeFanOut; ++l)
          factor[l] = decay_factor(Decay::hard, iou[l], threshold, sigma);
        break;
    }
    S* score = scores.score[0] + first;
    T* width = tree.level[0].width + first;
    for (int l = 0; l < kTreeFanOut; ++l) {
      const S decayed = decayed_score(score[l], factor[l]);
      const bool stays = decayed >= score_threshold;
      score[l] = stays ? decayed : S(-1);
      width[l] = stays ? width[l] : T(-1);
    }
  }

  void decay(int k, int64_t group, const TreeQuery<T>& box) const {
    const int64_t first = group * kTreeFanOut;
    T iou[kTreeFanOut];
    tree_ious(iou, tree.level[k], first, box);
    int hits = tree_above(iou, unchanged);
    if (!hits) return;
    if (k == 0)
      decay_boxes(first, iou);
    else
      for (; hits; hits &= hits - 1) decay(k - 1, first + __builtin_ctz(hits), box);
    play(k, group);
  }

  void run(S* selected) const {
    int64_t entries = scores.count;
    for (int k = 0; k < tree.levels; ++k) {
      entries = (entries + kTreeFanOut - 1) / kTreeFanOut;
      for (int64_t group = 0; group < entries; ++group) play(k, group);
    }
    while (scores.score[tree.levels][0] >= 0) {
      const int64_t position = scores.best[tree.levels][0];
      selected[position] = scores.score[0][position];
      scores.score[0][position] = S(-1);
      const TreeQuery<T> box = query_at(tree.level[0], position, T(0));
      tree.level[0].width[position] = T(-1);
      int64_t group = position;
      for (int k = 0; k < tree.levels; ++k) play(k, group /= kTreeFanOut);
      decay(tree.levels - 1, 0, box);
    }
  }
};

template <class T, class S>
void run(S* selected, const BoxTreeView<T>& tree, const Tournament<S>& scores,
         const DecayRule<T>& rule, S score_threshold) {
  SoftNms<T, S>{tree, scores, rule, score_threshold, unchanging_overlap(rule)}.run(selected);
}

}  // namespace

const SoftNmsKernels<float> soft_nms_float = {run<float, float>, run<float, double>};
const SoftNmsKernels<double> soft_nms_double = {run<double, float>, run<double, double>};

}  // namespace ROIOPS_ISA
}  // namespace roiops
