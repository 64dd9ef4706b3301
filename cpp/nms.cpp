// Greedy NMS on the CPU. Images, and groups in an image, are independent tasks. The best boxes of a
// group are compared with all kept ones. In a large group each box kept later takes those that it
// suppresses out of a tree of the boxes that are left: whatever the boxes, and whatever the
// threshold, it meets few others.
#include "roiops/nms.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "internal/box_groups.h"
#include "internal/box_tree.h"
#include "internal/nms_check.h"
#include "internal/nms_kernels.h"
#include "internal/stable_sort.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The best boxes of a group that a list answers for. With a tree alone, groups of a hundred take
// twice as long; from here on a tree is faster, unless the list is still as short as this.
constexpr int64_t kListed = 512;
constexpr int64_t kShort = 64;

template <class T>
const NmsKernels<T>& kernels();
template <>
const NmsKernels<float>& kernels<float>() {
  return pick_nms_float();
}
template <>
const NmsKernels<double>& kernels<double>() {
  return pick_nms_double();
}

// Indices of those that take part, by descending score; stable, NaN last.
template <class S>
std::vector<int64_t> rank_by_score(const Array& scores, const std::optional<double>& threshold) {
  std::vector<Keyed> candidates;
  candidates.reserve(scores.shape[0]);
  for (int64_t i = 0; i < scores.shape[0]; ++i) {
    const S score = scores.at<S>(i);
    if (threshold && !(score > static_cast<S>(*threshold))) continue;
    candidates.push_back({descending_key(score), i});
  }
  stable_sort_by_key(candidates);
  std::vector<int64_t> order;
  order.reserve(candidates.size());
  for (const Keyed& c : candidates) order.push_back(c.index);
  return order;
}

// One group, its members in rank order: marks the kept ones, up to the `most` first. No image needs
// more of a group than it may keep in all.
struct Group {
  const Array &boxes, &scores;
  const int64_t* members;
  int64_t count, most;
  bool* kept;

  bool has_score(int64_t member) const {
    return dispatch_float(scores.dtype, [&](auto zero) {
      const auto score = scores.at<decltype(zero)>(member);
      return score == score;
    });
  }
};

template <class T>
class KeptList {
 public:
  KeptList(T threshold, T one) : threshold_(threshold), one_(one) {}
  void add(const Array& boxes, int64_t i) {
    if (count_ % L == 0)  // up to whole vectors, NaN meets nobody
      for (std::vector<T>& column : columns_)
        column.resize(count_ + L, std::numeric_limits<T>::quiet_NaN());
    const T side[4] = {boxes.at<T>(i, 0), boxes.at<T>(i, 1), boxes.at<T>(i, 2), boxes.at<T>(i, 3)};
    for (int s = 0; s < 4; ++s) columns_[s][count_] = side[s];
    columns_[4][count_++] = area_of(side, one_);
  }
  int64_t count() const { return count_; }
  bool suppresses(const Array& boxes, int64_t i) const {
    const T box[4] = {boxes.at<T>(i, 0), boxes.at<T>(i, 1), boxes.at<T>(i, 2), boxes.at<T>(i, 3)};
    const KeptBoxes<T> kept{columns_[0].data(), columns_[1].data(), columns_[2].data(),
                            columns_[3].data(), columns_[4].data(), count_};
    return kernels<T>().suppressed(box, kept, threshold_, one_);
  }

 private:
  static constexpr int64_t L = ROIOPS_LANES;
  const T threshold_, one_;
  int64_t count_ = 0;
  std::vector<T> columns_[5];
};

template <class T>
void suppress_by_tree(const Group& group, T threshold, T one) {
  const BoxTree<T> tree(group.boxes, group.members, group.count, one);
  std::vector<int64_t> position(group.count, -1);  // -1: not in the tree, meets nobody
  for (size_t p = 0; p < tree.member().size(); ++p)
    position[tree.member()[p]] = static_cast<int64_t>(p);
  const T* width = tree.view().level[0].width;
  int64_t found = 0;
  for (int64_t i = 0; i < group.count && found < group.most; ++i) {
    const int64_t m = group.members[i], p = position[i];
    if (p >= 0 && width[p] < 0) continue;
    group.kept[m] = true;
    ++found;
    if (p >= 0 && group.has_score(m)) kernels<T>().suppress(tree.view(), p, threshold, one);
  }
}

// The best boxes are compared with a list. Where boxes crowd, these few suppress most of the
// others, and the tree of what they leave is small.
template <class T>
void suppress_in_group(const Group& group, T threshold, T one) {
  KeptList<T> list(threshold, one);
  int64_t i = 0, found = 0;
  for (; i < group.count && found < group.most && (i < kListed || list.count() < kShort); ++i) {
    const int64_t m = group.members[i];
    if (list.suppresses(group.boxes, m)) continue;
    group.kept[m] = true;
    ++found;
    if (group.has_score(m)) list.add(group.boxes, m);
  }
  if (i == group.count || found == group.most) return;
  std::vector<int64_t> left;
  for (; i < group.count; ++i)
    if (!list.suppresses(group.boxes, group.members[i])) left.push_back(group.members[i]);
  suppress_by_tree<T>({group.boxes, group.scores, left.data(), static_cast<int64_t>(left.size()),
                       group.most - found, group.kept},
                      threshold, one);
}

void suppress_group(const Group& group, double iou_threshold, bool plus_one) {
  dispatch_float(group.boxes.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T threshold = static_cast<T>(iou_threshold), one = T(plus_one);
    if (threshold >= 1)  // no IoU is greater
      for (int64_t i = 0; i < std::min(group.count, group.most); ++i)
        group.kept[group.members[i]] = true;
    else
      suppress_in_group(group, threshold, one);
  });
}

// One image's share of arrays with an image dimension in front.
Array of_image(const Array& a, int64_t image) {
  Array part = a;
  if (!a.ndim) return part;  // no groups
  const int64_t bytes = a.dtype == DType::float32 ? 4 : 8;
  if (a.data) part.data = a.at<char>() + image * a.stride[0] * bytes;  // empty ones may have none
  --part.ndim;
  std::copy(a.shape + 1, a.shape + a.ndim, part.shape);
  std::copy(a.stride + 1, a.stride + a.ndim, part.stride);
  return part;
}

struct Image {
  Array boxes, scores, idxs;
  std::vector<int64_t> order;  // by rank, those that take part
  std::unique_ptr<BoxGroups> groups;
  std::unique_ptr<bool[]> kept;  // by index

  Image(const Array& boxes, const Array& scores, const Array& idxs,
        const std::optional<double>& score_threshold)
      : boxes(boxes), scores(scores), idxs(idxs), kept(new bool[scores.shape[0]]()) {
    order = dispatch_float(scores.dtype, [&](auto zero) {
      return rank_by_score<decltype(zero)>(scores, score_threshold);
    });
    groups = std::make_unique<BoxGroups>(idxs, order);
  }
};

// Marks what each image keeps, or of it what can be among the `most` first.
std::vector<std::unique_ptr<Image>> suppress(int64_t count, int64_t most, const NmsArgs& args) {
  const bool batched = args.boxes.ndim == 3;
  std::vector<std::unique_ptr<Image>> images(count);
  parallel_for(count, args.execution.threads, [&] {
    return [&](int64_t b) {
      const auto part = [&](const Array& a) { return batched ? of_image(a, b) : a; };
      images[b] = std::make_unique<Image>(part(args.boxes), part(args.scores), part(args.idxs),
                                          args.score_threshold);
    };
  });
  struct Task {
    const Image* image;
    int64_t group;
  };
  std::vector<Task> tasks;
  for (const auto& image : images)
    for (int64_t g = 0; g < image->groups->count(); ++g) tasks.push_back({image.get(), g});
  parallel_for(static_cast<int64_t>(tasks.size()), args.execution.threads, [&] {
    return [&](int64_t t) {
      const Image& image = *tasks[t].image;
      const int64_t begin = image.groups->begin[tasks[t].group],
                    end = image.groups->begin[tasks[t].group + 1];
      suppress_group({image.boxes, image.scores, image.groups->members.data() + begin, end - begin,
                      most, image.kept.get()},
                     args.iou_threshold, args.plus_one);
    };
  });
  return images;
}

}  // namespace

int64_t nms(const Array& keep, const NmsArgs& args) {
  check_nms(keep, args);
  const int64_t n = args.boxes.shape[0];
  const auto images = suppress(1, n, args);
  int64_t count = 0;
  for (int64_t i : images[0]->order)
    if (images[0]->kept[i]) keep.at<int64_t>(count++) = i;
  return count;
}

void padded_nms(const Array& indices, const Array& counts, const NmsArgs& args) {
  check_padded_nms(indices, counts, args);
  const int64_t count = args.boxes.shape[0];
  const int64_t most = indices.shape[1];
  const auto images = suppress(count, most, args);
  for (int64_t b = 0; b < count; ++b) {
    int64_t found = 0;
    for (int64_t i : images[b]->order) {
      if (found == most) break;
      if (images[b]->kept[i]) indices.at<int64_t>(b, found++) = i;
    }
    counts.at<int64_t>(b) = found;
    for (int64_t j = found; j < most; ++j) indices.at<int64_t>(b, j) = -1;
  }
}

}  // namespace roiops
