// Decoding: a task is one heatmap. Its resized picture is never stored: rows of the map are
// stretched to the box's width when a picture row first reads them, the last four are kept, and
// each picture row is blended from them and searched at once.
#include "roiops/keypoints.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The cell of a coordinate between low and high, or -1 outside.
template <class T>
int64_t cell_along(T at, T low, T high, int64_t size) {
  const T side = high - low;
  if (!(side > 0 && side <= std::numeric_limits<T>::max())) return -1;
  if (at == high) return size - 1;
  const T cell = std::floor((at - low) * (static_cast<T>(size) / side));
  return cell >= 0 && cell < static_cast<T>(size) ? static_cast<int64_t>(cell) : -1;
}

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
      const T source = ratio * (static_cast<T>(i) + T(0.5)) - T(0.5);
      const T low = std::floor(source), t = source - low;
      const T weights[4] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
      for (int tap = 0; tap < 4; ++tap) {
        const int64_t at = static_cast<int64_t>(low) + tap - 1;
        cell[4 * i + tap] = std::min(std::max(at, int64_t{0}), cells - 1);
        weight[4 * i + tap] = weights[tap];
      }
    }
  }

 private:
  static constexpr T a = T(-0.75);
  static T near(T t) { return ((a + 2) * t - (a + 3)) * t * t + 1; }
  static T far(T t) { return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; }
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
    if (usable_) {
      const Maximum<T> best = greatest(maps_.at<T>() + n * maps_.stride[0] + k * maps_.stride[1]);
      result[0] = (static_cast<T>(best.x) + T(0.5)) * pixel_[0] + boxes_.at<T>(n, 0);
      result[1] = (static_cast<T>(best.y) + T(0.5)) * pixel_[1] + boxes_.at<T>(n, 1);
      result[2] = best.value;
    }
    T* to = out_.at<T>() + n * out_.stride[0] + k * out_.stride[1];
    for (int i = 0; i < 3; ++i) to[i * out_.stride[2]] = result[i];
  }

 private:
  void open(int64_t n) {
    box_ = n;
    usable_ = true;
    int64_t* pixels[2] = {&width_, &height_};
    for (int axis = 0; axis < 2; ++axis) {
      const T low = boxes_.at<T>(n, axis), high = boxes_.at<T>(n, axis + 2);
      const T side = std::max(high - low, T(1));
      usable_ &= std::isfinite(low) && std::isfinite(high) && std::isfinite(side);
      if (!usable_) return;
      *pixels[axis] =
          static_cast<int64_t>(std::min(std::ceil(side), static_cast<T>(kMaxResizedSide)));
      pixel_[axis] = side / static_cast<T>(*pixels[axis]);
    }
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
        picture_row_[x] = weight[0] * rows[0][x] + weight[1] * rows[1][x] + weight[2] * rows[2][x] +
                          weight[3] * rows[3][x];
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
      const T* weight = &x_.weight[4 * x];
      row[x] = weight[0] * cells[cell[0] * step] + weight[1] * cells[cell[1] * step] +
               weight[2] * cells[cell[2] * step] + weight[3] * cells[cell[3] * step];
    }
    return row;
  }

  const Array &out_, &maps_, &boxes_;
  int64_t box_ = -1;  // the one opened, with what follows
  bool usable_ = false;
  int64_t width_ = 0, height_ = 0;
  T pixel_[2] = {};  // sides of a resized pixel, in pixels of the picture
  BicubicTaps<T> x_, y_;
  std::vector<T> stretched_[4], picture_row_;
  int64_t holds_[4] = {};
};

}  // namespace

void keypoints_to_heatmap(const Array& cells, const Array& valid, const Array& keypoints,
                          const Array& boxes, int64_t size, const Execution& execution) {
  const char* op = "keypoints_to_heatmap";
  check_floating(op, "keypoints", keypoints);
  check_shape(op, "keypoints", keypoints, {-1, -1, 3});
  const int64_t n = keypoints.shape[0], each = keypoints.shape[1];
  check_shape(op, "boxes", boxes, {n, 4});
  check_dtype(op, "boxes", boxes, keypoints.dtype);
  for (const Array* out : {&cells, &valid}) {
    check_shape(op, "out", *out, {n, each});
    check_dtype(op, "out", *out, DType::int64);
  }
  if (size < 1 || size > int64_t{1} << 30)
    throw std::invalid_argument(message(op, ": size must be from 1 to 2^30; got ", size));
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
  const char* op = "heatmaps_to_keypoints";
  check_floating(op, "heatmaps", heatmaps);
  check_shape(op, "heatmaps", heatmaps, {-1, -1, -1, -1});
  const int64_t n = heatmaps.shape[0], each = heatmaps.shape[1];
  check_shape(op, "boxes", boxes, {n, 4});
  check_dtype(op, "boxes", boxes, heatmaps.dtype);
  check_shape(op, "keypoints", keypoints, {n, each, 3});
  check_dtype(op, "keypoints", keypoints, heatmaps.dtype);
  if (heatmaps.shape[2] < 1 || heatmaps.shape[3] < 1)
    throw std::invalid_argument(
        message(op, ": heatmaps must have cells; got ", shape_text(heatmaps)));
  dispatch_float(heatmaps.dtype, [&](auto zero) {
    parallel_for(n * each, execution.threads,
                 [&] { return Decoder<decltype(zero)>(keypoints, heatmaps, boxes); });
  });
}

}  // namespace roiops
