// Greedy NMS on the CPU. Groups are independent tasks. A small group compares each candidate with
// all kept boxes; a large one only with those that cover one of a few points of the candidate.
//
// The points: IoU > t means that the overlap is wider than t times the wider box, so it contains
// one of the points that divide the candidate's width into parts of at most t (height alike); for
// t >= 1/2 that is its centre alone. Kept boxes are filed under the cells they cover, of a grid as
// coarse as the box is large, so that each covers a few cells only and no size is special.
#include "roiops/nms.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/nms_kernels.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kSmallGroup = 1024;
constexpr double kMinIndexedThreshold = 0.1;  // below it the points would be many

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

template <class T>
struct Box {
  T side[4];
  bool finite() const {
    return std::isfinite(side[0]) && std::isfinite(side[1]) && std::isfinite(side[2]) &&
           std::isfinite(side[3]);
  }
};

template <class T>
Box<T> box_at(const Array& boxes, int64_t i) {
  return {{boxes.at<T>(i, 0), boxes.at<T>(i, 1), boxes.at<T>(i, 2), boxes.at<T>(i, 3)}};
}

// Indices by descending score; stable, NaN last.
template <class S>
std::vector<int64_t> rank_by_score(const Array& scores) {
  std::vector<int64_t> order(scores.shape[0]);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const S x = scores.at<S>(a), y = scores.at<S>(b);
    return x > y || (y != y && x == x);
  });
  return order;
}

template <class T>
class KeptList {
 public:
  explicit KeptList(T threshold, T one) : threshold_(threshold), one_(one) {}
  void add(const Box<T>& b) {
    for (int s = 0; s < 4; ++s) sides_[s].push_back(b.side[s]);
  }
  bool suppresses(const Box<T>& b) const {
    const KeptBoxes<T> kept{sides_[0].data(), sides_[1].data(), sides_[2].data(), sides_[3].data(),
                            static_cast<int64_t>(sides_[0].size())};
    return kernels<T>().suppressed(b.side, kept, threshold_, one_);
  }

 private:
  const T threshold_, one_;
  std::vector<T> sides_[4];
};

// Kept boxes filed by place: a hash table of cells. Two cells that collide cost time, no more.
template <class T>
class KeptIndex {
 public:
  KeptIndex(T threshold, T one, int64_t boxes) : threshold_(threshold), one_(one) {
    const double inverse = 1.0 / static_cast<double>(threshold);
    parts_ = std::max(2, static_cast<int>(std::ceil(inverse)));
    // Boxes of IoU > t differ in either side by a factor of less than 1 / t.
    reach_ = static_cast<int>(std::ceil(std::log2(inverse) + 1e-5));
    size_t buckets = 64;
    while (buckets < static_cast<size_t>(boxes) * 4) buckets *= 2;
    heads_.assign(buckets, -1);
  }

  void add(const Box<T>& b) {
    const int level = level_of(b);
    const double cell = std::ldexp(1.0, level);
    // A little larger than the box: rounding in the IoU must not make a point miss its cell.
    const double margin = 1e-3 * cell;
    const int64_t kept = static_cast<int64_t>(kept_.size());
    kept_.push_back(b);
    const double left = std::floor((b.side[0] - margin) / cell);
    const double right = std::floor((b.side[2] + static_cast<double>(one_) + margin) / cell);
    const double top = std::floor((b.side[1] - margin) / cell);
    const double bottom = std::floor((b.side[3] + static_cast<double>(one_) + margin) / cell);
    for (double y = top; y <= bottom; ++y) {
      for (double x = left; x <= right; ++x) {
        int64_t& head = heads_[bucket(level, x, y)];
        entries_.push_back({kept, head});
        head = static_cast<int64_t>(entries_.size()) - 1;
      }
    }
    levels_ |= uint64_t{1} << slot(level);
  }

  bool suppresses(const Box<T>& b) const {
    const double width = static_cast<double>(b.side[2]) - b.side[0] + static_cast<double>(one_);
    const double height = static_cast<double>(b.side[3]) - b.side[1] + static_cast<double>(one_);
    const int own = level_of(b);
    for (int level = own - reach_; level <= own + reach_; ++level) {
      if (!(levels_ >> slot(level) & 1)) continue;
      const double cell = std::ldexp(1.0, level);
      for (int j = 1; j < parts_; ++j) {
        const double y = std::floor((b.side[1] + height * j / parts_) / cell);
        for (int i = 1; i < parts_; ++i) {
          const double x = std::floor((b.side[0] + width * i / parts_) / cell);
          for (int64_t e = heads_[bucket(level, x, y)]; e >= 0; e = entries_[e].next)
            if (box_iou(b.side, kept_[entries_[e].kept].side, one_) > threshold_) return true;
        }
      }
    }
    return false;
  }

  // Whether the argument at the top of the file holds for a box: finite, of positive size, and not
  // so far out that the cells' numbers lose their last digit.
  bool takes(const Box<T>& b) const {
    if (!b.finite()) return false;
    const double width = static_cast<double>(b.side[2]) - b.side[0] + static_cast<double>(one_);
    const double height = static_cast<double>(b.side[3]) - b.side[1] + static_cast<double>(one_);
    const double side = std::max(width, height);
    double far = 0.0;
    for (T s : b.side) far = std::max(far, std::fabs(static_cast<double>(s)));
    return width > 0 && height > 0 && far < side * 1e6 && side < 1e15 && width * height > 1e-30;
  }

 private:
  // Cells of level l are 2^l wide, at least half as wide as the boxes of that level.
  int level_of(const Box<T>& b) const {
    const double width = static_cast<double>(b.side[2]) - b.side[0] + static_cast<double>(one_);
    const double height = static_cast<double>(b.side[3]) - b.side[1] + static_cast<double>(one_);
    return std::ilogb(std::max(width, height));
  }
  static int slot(int level) { return level & 63; }
  size_t bucket(int level, double x, double y) const {
    uint64_t h = static_cast<uint64_t>(static_cast<int64_t>(x)) * 0x9E3779B97F4A7C15ull;
    h ^= (h >> 29) + static_cast<uint64_t>(static_cast<int64_t>(y)) * 0xBF58476D1CE4E5B9ull;
    h = (h ^ (h >> 32)) * 0x94D049BB133111EBull;
    h += static_cast<uint64_t>(level + 2048) * 0xD6E8FEB86659FD93ull;
    return (h ^ (h >> 31)) & (heads_.size() - 1);
  }

  struct Entry {
    int64_t kept, next;
  };
  const T threshold_, one_;
  int parts_, reach_;
  uint64_t levels_ = 0;  // bit per level that has boxes
  std::vector<Box<T>> kept_;
  std::vector<Entry> entries_;
  std::vector<int64_t> heads_;
};

// One group: `members` in rank order; marks the kept ones.
template <class T>
void suppress_group(const NmsArgs& args, const int64_t* members, int64_t count, bool* kept) {
  const T threshold = static_cast<T>(args.iou_threshold), one = T(args.plus_one);
  const bool indexed = count > kSmallGroup && args.iou_threshold >= kMinIndexedThreshold;
  KeptList<T> all(threshold, one), unfiled(threshold, one);
  KeptIndex<T> index(indexed ? threshold : T(1), one, indexed ? count : 0);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t m = members[i];
    const Box<T> box = box_at<T>(args.boxes, m);
    const bool filed = indexed && index.takes(box);
    kept[m] = !(filed ? index.suppresses(box) || unfiled.suppresses(box) : all.suppresses(box));
    const bool nan_score = dispatch_float(args.scores.dtype, [&](auto zero) {
      const auto score = args.scores.at<decltype(zero)>(m);
      return score != score;
    });
    if (!kept[m] || nan_score) continue;
    all.add(box);
    if (filed)
      index.add(box);
    else if (indexed)
      unfiled.add(box);
  }
}

// Ranks in one run per group, each in rank order; `begin` has the runs' bounds.
std::vector<int64_t> split_by_group(const Array& idxs, const std::vector<int64_t>& order,
                                    std::vector<int64_t>& begin) {
  std::vector<int64_t> members = order;
  begin = {0};
  if (idxs.data) {
    std::stable_sort(members.begin(), members.end(), [&](int64_t a, int64_t b) {
      return idxs.at<int64_t>(a) < idxs.at<int64_t>(b);
    });
    for (size_t i = 1; i < members.size(); ++i)
      if (idxs.at<int64_t>(members[i]) != idxs.at<int64_t>(members[i - 1])) begin.push_back(i);
  }
  begin.push_back(static_cast<int64_t>(members.size()));
  return members;
}

}  // namespace

int64_t nms(const Array& keep, const NmsArgs& args) {
  check_floating("nms", "boxes", args.boxes);
  check_floating("nms", "scores", args.scores);
  check_shape("nms", "boxes", args.boxes, {-1, 4});
  const int64_t n = args.boxes.shape[0];
  check_shape("nms", "scores", args.scores, {n});
  check_shape("nms", "keep", keep, {n});
  check_dtype("nms", "keep", keep, DType::int64);
  if (args.idxs.data) {
    check_shape("nms", "idxs", args.idxs, {n});
    check_dtype("nms", "idxs", args.idxs, DType::int64);
  }
  if (!(args.iou_threshold >= 0.0 && args.iou_threshold <= 1.0))
    throw std::invalid_argument(
        message("nms: iou_threshold must be in [0, 1]; got ", args.iou_threshold));

  const std::vector<int64_t> order = dispatch_float(
      args.scores.dtype, [&](auto zero) { return rank_by_score<decltype(zero)>(args.scores); });
  std::vector<int64_t> begin;
  const std::vector<int64_t> members = split_by_group(args.idxs, order, begin);
  const std::unique_ptr<bool[]> kept(new bool[n]);
  parallel_for(static_cast<int64_t>(begin.size()) - 1, args.threads, [&] {
    return [&](int64_t g) {
      dispatch_float(args.boxes.dtype, [&](auto zero) {
        suppress_group<decltype(zero)>(args, members.data() + begin[g], begin[g + 1] - begin[g],
                                       kept.get());
      });
    };
  });
  int64_t count = 0;
  for (int64_t i : order)
    if (kept[i]) keep.at<int64_t>(count++) = i;
  return count;
}

}  // namespace roiops
