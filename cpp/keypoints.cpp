// Decoding: a task is one heatmap. Its resized picture is never stored: rows of the map are
// stretched to the box's width when a picture row first reads them, the last four are kept, and
// each picture row is blended from them and searched at once.
#include "roiops/keypoints.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "internal/keypoint_geometry.h"
#include "internal/keypoints_check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The four cells that each pixel of a resized axis reads, and their weights.
template <class T>
struct BicubicTaps {
  std::vector<int64_t> cell;
  std::vector<T> weight;

  void fill(int64_t pixels, int64_t cells) {
    cell.resize(4 * pixels);
    weight.resize(4 * pixels);
    const T ratio = static_cast<T>(cells) / static_cast<T>(pixels);
    for (int64_t i = 0; i < pixels; ++i) {
      const BicubicTap<T> taps = bicubic_tap(i, ratio);
      for (int tap = 0; tap < 4; ++tap) {
        cell[4 * i + tap] = edge_cell(taps.low + tap - 1, cells);
        weight[4 * i + tap] = taps.weight[tap];
      }
    }
  }
};

// A running maximum in reading order: the first of the greatest, the first NaN for good.
template <class T>
struct Maximum {
  T value = 0;
  int64_t y = -1, x = 0;  // y = -1: nothing seen yet

  void search(const T* row, int64_t size, int64_t at_y) {
    constexpr int kLanes = 16;
    T most[kLanes];
    std::fill(most, most + kLanes, y < 0 ? -std::numeric_limits<T>::infinity() : value);
    int unordered[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= size; i += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) {
        const T v = row[i + lane];
        most[lane] = v > most[lane] ? v : most[lane];
        unordered[lane] |= v != v;
      }
    for (; i < size; ++i) {
      most[0] = std::max(most[0], row[i]);
      unordered[0] |= row[i] != row[i];
    }
    const bool any_nan = std::any_of(unordered, unordered + kLanes, [](int n) { return n != 0; });
    const T greatest = *std::max_element(most, most + kLanes);
    if (!any_nan && y >= 0 && !(greatest > value)) return;
    const T* found =
        std::find_if(row, row + size, [&](T v) { return any_nan ? std::isnan(v) : v == greatest; });
    value = *found;
    y = at_y;
    x = found - row;
  }
};

template <class T>
class Decoder {
 public:
  Decoder(const Array& keypoints, const Array& heatmaps, const Array& boxes)
      : out_(keypoints), maps_(heatmaps), boxes_(boxes) {}

  void operator()(int64_t task) {
    const int64_t n = task / maps_.shape[1], k = task % maps_.shape[1];
    if (n != box_) open(n);
    T result[3] = {0, 0, 0};
    if (x_side_.usable && y_side_.usable) {
      const Maximum<T> best = greatest(maps_.at<T>() + n * maps_.stride[0] + k * maps_.stride[1]);
      result[0] = x_side_.centre(best.x);
      result[1] = y_side_.centre(best.y);
      result[2] = best.value;
    }
    T* to = out_.at<T>() + n * out_.stride[0] + k * out_.stride[1];
    for (int i = 0; i < 3; ++i) to[i * out_.stride[2]] = result[i];
  }

 private:
  void open(int64_t n) {
    box_ = n;
    x_side_ = resized_side(boxes_.at<T>(n, 0), boxes_.at<T>(n, 2));
    y_side_ = resized_side(boxes_.at<T>(n, 1), boxes_.at<T>(n, 3));
    if (!x_side_.usable || !y_side_.usable) return;
    width_ = x_side_.pixels;
    height_ = y_side_.pixels;
    x_.fill(width_, maps_.shape[3]);
    y_.fill(height_, maps_.shape[2]);
    picture_row_.resize(width_);
    for (auto& row : stretched_) row.resize(width_);
  }

  Maximum<T> greatest(const T* map) {
    std::fill(holds_, holds_ + 4, -1);
    Maximum<T> best;
    for (int64_t y = 0; y < height_ && !std::isnan(best.value); ++y) {
      const T* rows[4];
      for (int tap = 0; tap < 4; ++tap) rows[tap] = stretched(map, y_.cell[4 * y + tap]);
      const T* weight = &y_.weight[4 * y];
      for (int64_t x = 0; x < width_; ++x)
        picture_row_[x] = weighted_sum(weight, rows[0][x], rows[1][x], rows[2][x], rows[3][x]);
      best.search(picture_row_.data(), width_, y);
    }
    return best;
  }

  // A row of the map at the picture's width. The four rows of one blend are neighbours, so they
  // have places of their own.
  const T* stretched(const T* map, int64_t y) {
    T* row = stretched_[y % 4].data();
    if (holds_[y % 4] == y) return row;
    holds_[y % 4] = y;
    const T* cells = map + y * maps_.stride[2];
    const int64_t step = maps_.stride[3];
    for (int64_t x = 0; x < width_; ++x) {
      const int64_t* cell = &x_.cell[4 * x];
      row[x] = weighted_sum(&x_.weight[4 * x], cells[cell[0] * step], cells[cell[1] * step],
                            cells[cell[2] * step], cells[cell[3] * step]);
    }
    return row;
  }

  const Array &out_, &maps_, &boxes_;
  int64_t box_ = -1;  // the one opened, with what follows
  ResizedSide<T> x_side_{}, y_side_{};
  int64_t width_ = 0, height_ = 0;
  BicubicTaps<T> x_, y_;
  std::vector<T> stretched_[4], picture_row_;
  int64_t holds_[4] = {};
};

}  // namespace

void keypoints_to_heatmap(const Array& cells, const Array& valid, const Array& keypoints,
                          const Array& boxes, int64_t size, const Execution& execution) {
  check_keypoints_to_heatmap(cells, valid, keypoints, boxes, size);
  const int64_t n = keypoints.shape[0], each = keypoints.shape[1];
  dispatch_float(keypoints.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(n * each, 4096, execution.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t box = i / each, k = i % each;
        const T* point = keypoints.at<T>() + box * keypoints.stride[0] + k * keypoints.stride[1];
        const int64_t step = keypoints.stride[2];
        const int64_t x = cell_along(point[0], boxes.at<T>(box, 0), boxes.at<T>(box, 2), size);
        const int64_t y = cell_along(point[step], boxes.at<T>(box, 1), boxes.at<T>(box, 3), size);
        const bool ok = point[2 * step] > 0 && x >= 0 && y >= 0;
        cells.at<int64_t>(box, k) = ok ? y * size + x : 0;
        valid.at<int64_t>(box, k) = ok;
      }
    });
  });
}

void heatmaps_to_keypoints(const Array& keypoints, const Array& heatmaps, const Array& boxes,
                           const Execution& execution) {
  check_heatmaps_to_keypoints(keypoints, heatmaps, boxes);
  const int64_t n = heatmaps.shape[0], each = heatmaps.shape[1];
  dispatch_float(heatmaps.dtype, [&](auto zero) {
    parallel_for(n * each, execution.threads,
                 [&] { return Decoder<decltype(zero)>(keypoints, heatmaps, boxes); });
  });
}

}  // namespace roiops
