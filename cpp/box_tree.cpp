// Boxes are sorted like a k-d tree over centre, width and height, so that neighbours in memory are
// of similar place and size; each level of groups then is one pass over the level below.
#include "internal/box_tree.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace roiops {
namespace {

template <class T>
struct Box {
  T x1, y1, x2, y2, width, height;
  bool finite() const {
    return std::isfinite(x1) && std::isfinite(y1) && std::isfinite(x2) && std::isfinite(y2);
  }
};

template <class T>
Box<T> box_at(const Array& boxes, int64_t i, T one) {
  const T x1 = boxes.at<T>(i, 0), y1 = boxes.at<T>(i, 1), x2 = boxes.at<T>(i, 2),
          y2 = boxes.at<T>(i, 3);
  return {x1, y1, x2, y2, x2 - x1 + one, y2 - y1 + one};
}

// What a box is sorted by: centre x, y, width, height.
template <class T>
struct Record {
  T key[4];
  int64_t member;
};

// Along which of the four the records differ most: centres in units of the largest size, sizes by
// their ratio.
template <class T>
int widest_axis(const Record<T>* records, int64_t count) {
  T low[4], high[4];
  for (int a = 0; a < 4; ++a) low[a] = high[a] = records[0].key[a];
  for (int64_t i = 1; i < count; ++i) {
    for (int a = 0; a < 4; ++a) {
      const T k = records[i].key[a];
      low[a] = k < low[a] ? k : low[a];
      high[a] = k > high[a] ? k : high[a];
    }
  }
  int widest = 0;
  double most = -1;
  for (int a = 0; a < 4; ++a) {
    const double spread = a < 2 ? (static_cast<double>(high[a]) - low[a]) / high[a + 2]
                                : std::log(static_cast<double>(high[a]) / low[a]);
    if (spread > most) {
      most = spread;
      widest = a;
    }
  }
  return widest;
}

// The records that `belongs` says first; how many. Without a branch that depends on the data:
// these would be mispredicted every other time, which is what sorting costs.
template <class T, class Belongs>
int64_t partition(Record<T>* records, int64_t count, const Belongs& belongs) {
  int64_t first = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Record<T> r = records[i];
    records[i] = records[first];
    records[first] = r;
    first += belongs(r);
  }
  return first;
}

// As std::nth_element by key[axis]: the `nth` smallest records first.
template <class T>
void select(Record<T>* records, int64_t count, int64_t nth, int axis) {
  const auto less_along = [axis](const Record<T>& a, const Record<T>& b) {
    return a.key[axis] < b.key[axis];
  };
  // Each round leaves a fraction of the records; if not, for an order made to prevent it, the
  // library's selection has a bound.
  for (int rounds = 0; count > kTreeFanOut; ++rounds) {
    if (rounds == 40) {
      std::nth_element(records, records + nth, records + count, less_along);
      return;
    }
    // The pivot has about the right rank among a few samples, but is none of the outermost: of
    // records in order the first sample may be the least of all.
    constexpr int kSamples = 16;
    T sample[kSamples];
    for (int i = 0; i < kSamples; ++i) sample[i] = records[count * i / kSamples].key[axis];
    std::sort(sample, sample + kSamples);
    const T pivot = sample[std::clamp<int64_t>(nth * kSamples / count, 1, kSamples - 2)];
    int64_t less =
        partition(records, count, [&](const Record<T>& r) { return r.key[axis] < pivot; });
    if (nth < less) {
      count = less;
      continue;
    }
    records += less, count -= less, nth -= less;
    if (less < count / 8) {  // many may be equal to the pivot: they are in place
      less = partition(records, count, [&](const Record<T>& r) { return r.key[axis] <= pivot; });
      if (nth < less) return;
      records += less, count -= less, nth -= less;
    }
  }
  std::sort(records, records + count, less_along);
}

// Every run of 16^k records that begins at a multiple of 16^k becomes a cell of the k-d tree.
template <class T>
void arrange(Record<T>* records, int64_t count) {
  while (count > kTreeFanOut) {
    int64_t half = kTreeFanOut;
    while (half * 2 < count) half *= 2;
    select(records, count, half, widest_axis(records, count));
    arrange(records, half);
    records += half;
    count -= half;
  }
}

template <class T>
TreeLevel<T> level_at(T* numbers, int64_t entries) {
  return {numbers,
          numbers + entries,
          numbers + 2 * entries,
          numbers + 3 * entries,
          numbers + 4 * entries,
          numbers + 5 * entries,
          numbers + 6 * entries};
}

template <class T>
void bound_group(const TreeLevel<T>& above, const TreeLevel<T>& below, int64_t group) {
  const int64_t first = group * kTreeFanOut;
  const auto least = [&](const T* of) { return *std::min_element(of, of + kTreeFanOut); };
  const auto most = [&](const T* of) { return *std::max_element(of, of + kTreeFanOut); };
  above.x1[group] = least(below.x1 + first);
  above.y1[group] = least(below.y1 + first);
  above.x2[group] = most(below.x2 + first);
  above.y2[group] = most(below.y2 + first);
  above.width[group] = most(below.width + first);
  above.height[group] = most(below.height + first);
  above.area[group] = least(below.area + first);
}

// With copies of the last entry that are gone: they do not loosen the group's bounds.
template <class T>
void fill_last_group(const TreeLevel<T>& level, int64_t entries) {
  for (int64_t i = entries; i % kTreeFanOut; ++i) {
    for (T* of : {level.x1, level.y1, level.x2, level.y2, level.height, level.area})
      of[i] = of[entries - 1];
    level.width[i] = T(-1);
  }
}

}  // namespace

template <class T>
BoxTree<T>::BoxTree(const Array& boxes, const int64_t* members, int64_t count, T one) {
  std::vector<Record<T>> records;
  records.reserve(count);
  for (int64_t i = 0; i < count; ++i) {
    const Box<T> b = box_at<T>(boxes, members[i], one);
    const T area = b.width * b.height;
    if (b.finite() && b.width > 0 && b.height > 0 && area > 0 &&
        area <= std::numeric_limits<T>::max())
      records.push_back({{b.x1 + b.width / 2, b.y1 + b.height / 2, b.width, b.height}, i});
  }
  arrange(records.data(), static_cast<int64_t>(records.size()));

  view_.levels = 0;
  int64_t sizes[kTreeMaxLevels], total = 0;
  for (int64_t entries = static_cast<int64_t>(records.size());;
       entries = tree_padded(entries) / kTreeFanOut) {
    sizes[view_.levels] = tree_padded(entries);
    total += 7 * tree_padded(entries);
    ++view_.levels;
    if (entries <= kTreeFanOut) break;
  }
  numbers_.resize(total);
  T* at = numbers_.data();
  for (int k = 0; k < view_.levels; ++k) {
    view_.level[k] = level_at(at, sizes[k]);
    at += 7 * sizes[k];
  }
  const TreeLevel<T>& leaf = view_.level[0];
  member_.reserve(records.size());
  for (const Record<T>& r : records) {
    const int64_t i = static_cast<int64_t>(member_.size());
    const Box<T> b = box_at<T>(boxes, members[r.member], one);
    leaf.x1[i] = b.x1;
    leaf.y1[i] = b.y1;
    leaf.x2[i] = b.x2;
    leaf.y2[i] = b.y2;
    leaf.width[i] = b.width;
    leaf.height[i] = b.height;
    leaf.area[i] = b.width * b.height;
    member_.push_back(r.member);
  }
  int64_t entries = static_cast<int64_t>(records.size());
  fill_last_group(leaf, entries);
  for (int k = 1; k < view_.levels; ++k) {
    entries = sizes[k - 1] / kTreeFanOut;
    for (int64_t group = 0; group < entries; ++group)
      bound_group(view_.level[k], view_.level[k - 1], group);
    fill_last_group(view_.level[k], entries);
  }
}

template class BoxTree<float>;
template class BoxTree<double>;

}  // namespace roiops
