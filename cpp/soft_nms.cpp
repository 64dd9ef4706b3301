// Soft-NMS on the CPU. Groups are independent tasks; each finds the final scores of its boxes,
// which decide the order in which boxes of all groups would have been selected.
#include "roiops/soft_nms.h"

#include <algorithm>
#include <vector>

#include "internal/box_groups.h"
#include "internal/box_tree.h"
#include "internal/soft_nms_check.h"
#include "internal/soft_nms_kernels.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

void run(float* selected, const BoxTreeView<float>& tree, const Tournament<float>& scores,
         const DecayRule<float>& rule, float threshold) {
  pick_soft_nms_float().with_float_scores(selected, tree, scores, rule, threshold);
}
void run(double* selected, const BoxTreeView<float>& tree, const Tournament<double>& scores,
         const DecayRule<float>& rule, double threshold) {
  pick_soft_nms_float().with_double_scores(selected, tree, scores, rule, threshold);
}
void run(float* selected, const BoxTreeView<double>& tree, const Tournament<float>& scores,
         const DecayRule<double>& rule, float threshold) {
  pick_soft_nms_double().with_float_scores(selected, tree, scores, rule, threshold);
}
void run(double* selected, const BoxTreeView<double>& tree, const Tournament<double>& scores,
         const DecayRule<double>& rule, double threshold) {
  pick_soft_nms_double().with_double_scores(selected, tree, scores, rule, threshold);
}

// One group: `score`, by index, becomes that of selection, -1 for a box that was dropped.
template <class T, class S>
void decay_group(S* score, const SoftNmsArgs& args, const int64_t* members, int64_t count) {
  const BoxTree<T> tree(args.boxes, members, count, T(0));
  const int64_t boxes = static_cast<int64_t>(tree.member().size());
  if (boxes < 2) return;  // the others overlap nothing
  std::vector<int64_t> index;
  index.reserve(boxes);
  for (int64_t member : tree.member()) index.push_back(members[member]);

  Tournament<S> scores{};
  scores.count = boxes;
  scores.index = index.data();
  std::vector<S> numbers[kTreeMaxLevels + 1];
  std::vector<int64_t> best[kTreeMaxLevels + 1];
  int64_t entries = boxes;
  for (int k = 0; k <= tree.view().levels; ++k) {
    numbers[k].assign(tree_padded(entries), S(-1));
    best[k].resize(k ? tree_padded(entries) : 0);
    scores.score[k] = numbers[k].data();
    scores.best[k] = best[k].data();
    entries = tree_padded(entries) / kTreeFanOut;
  }
  for (int64_t p = 0; p < boxes; ++p) scores.score[0][p] = score[index[p]];

  std::vector<S> selected(boxes, S(-1));
  run(selected.data(), tree.view(), scores, decay_rule<T>(args),
      static_cast<S>(args.score_threshold));
  for (int64_t p = 0; p < boxes; ++p) score[index[p]] = selected[p];
}

template <class S>
int64_t soft_nms_of(const Array& keep, const Array& new_scores, const SoftNmsArgs& args) {
  const int64_t n = args.scores.shape[0];
  const S threshold = static_cast<S>(args.score_threshold);
  std::vector<S> score(n);
  std::vector<int64_t> order;
  for (int64_t i = 0; i < n; ++i) {
    score[i] = args.scores.at<S>(i);
    if (score[i] >= threshold) order.push_back(i);
  }
  const BoxGroups groups(args.idxs, order);
  parallel_for(groups.count(), args.execution.threads, [&] {
    return [&](int64_t g) {
      dispatch_float(args.boxes.dtype, [&](auto zero) {
        decay_group<decltype(zero)>(score.data(), args, groups.members.data() + groups.begin[g],
                                    groups.begin[g + 1] - groups.begin[g]);
      });
    };
  });
  order.erase(std::remove_if(order.begin(), order.end(), [&](int64_t i) { return score[i] < 0; }),
              order.end());
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return score[a] > score[b]; });
  const int64_t count = static_cast<int64_t>(order.size());
  for (int64_t i = 0; i < count; ++i) {
    keep.at<int64_t>(i) = order[i];
    new_scores.at<S>(i) = score[order[i]];
  }
  return count;
}

}  // namespace

int64_t soft_nms(const Array& keep, const Array& new_scores, const SoftNmsArgs& args) {
  check_soft_nms(keep, new_scores, args);
  return dispatch_float(args.scores.dtype, [&](auto zero) {
    return soft_nms_of<decltype(zero)>(keep, new_scores, args);
  });
}

}  // namespace roiops
