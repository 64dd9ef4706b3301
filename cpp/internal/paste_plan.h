// Which mask cells a pasted pixel reads, how it blends them, and when it counts as inside: one rule
// for pictures and for run lengths. Internal to the CPU kernels; no floating-point contraction.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "roiops/check.h"
#include "roiops/paste_masks.h"

namespace roiops {

// What the pixels [first, first + size) of one axis read: cells of the padded mask, and the weight
// of the higher one.
template <class T>
struct Taps {
  int64_t first = 0;
  std::vector<int64_t> low, high;
  std::vector<T> weight;
  int64_t size() const { return static_cast<int64_t>(low.size()); }
  void clear() {
    low.clear();
    high.clear();
    weight.clear();
  }
};

// torchvision: `cells` resized to the whole pixels of the grown box.
template <class T, class B>
void resize_taps(Taps<T>& taps, B box_low, B box_high, double growth, int64_t pixels,
                 int64_t cells) {
  taps.clear();
  const B half = (box_high - box_low) * B(0.5) * static_cast<B>(growth);
  const B centre = (box_high + box_low) * B(0.5);
  const double first = std::trunc(centre - half), last = std::trunc(centre + half);
  if (!std::isfinite(first) || !std::isfinite(last)) return;
  const double begin = std::max(first, 0.0);
  const double end = std::min(last + 1, static_cast<double>(pixels));
  const double extent = std::max(last - first + 1, 1.0);
  const double ratio = static_cast<double>(cells) / extent;
  taps.first = begin < end ? static_cast<int64_t>(begin) : 0;
  for (double pixel = begin; pixel < end; ++pixel) {
    const double source = std::max((pixel - first + 0.5) * ratio - 0.5, 0.0);
    const int64_t low = std::min(static_cast<int64_t>(source), cells - 1);
    taps.low.push_back(low);
    taps.high.push_back(std::min(low + 1, cells - 1));
    taps.weight.push_back(static_cast<T>(source - static_cast<double>(low)));
  }
}

// detectron2: the pixel centres between whose taps a cell of the mask lies. Its one cell of zeros
// on each side counts in the cell numbers, not in `cells`.
template <class T>
void centre_taps(Taps<T>& taps, double start, double end, int64_t pixels, int64_t cells) {
  taps.clear();
  if (!(std::isfinite(start) && std::isfinite(end) && end > start)) return;
  // The pixels between which the mask lies, and one more on either side; each is then tested.
  const double cell = (end - start) / static_cast<double>(cells);
  const double first = std::floor(start - 0.5 * cell - 0.5) - 1;
  const double last = std::ceil(end + 0.5 * cell - 0.5) + 1;
  const auto begin = static_cast<int64_t>(std::clamp(first, 0.0, static_cast<double>(pixels)));
  const auto stop = static_cast<int64_t>(std::clamp(last + 1, 0.0, static_cast<double>(pixels)));
  for (int64_t pixel = begin; pixel < stop; ++pixel) {
    const double source =
        (static_cast<double>(pixel) + 0.5 - start) / (end - start) * static_cast<double>(cells) -
        0.5;
    if (!(source > -1 && source < static_cast<double>(cells))) continue;
    if (!taps.size()) taps.first = pixel;
    const double low = std::floor(source);
    taps.low.push_back(static_cast<int64_t>(low) + 1);
    taps.high.push_back(static_cast<int64_t>(low) + 2);
    taps.weight.push_back(static_cast<T>(source - low));
  }
}

template <class T>
T blend(T low, T high, T weight) {
  return (T(1) - weight) * low + weight * high;
}

// The taps of one mask after another, in a picture of height x width pixels.
template <class T>
class PastePlan {
 public:
  PastePlan(const PasteMasksArgs& args, int64_t height, int64_t width)
      : args_(args),
        height_(height),
        width_(width),
        border_(args.convention == PasteConvention::torchvision ? args.padding : 1),
        cells_(args.masks.shape[1] + 2 * border_) {}

  void open(int64_t n) {
    n_ = n;
    dispatch_float(args_.boxes.dtype, [&](auto zero) { find_taps<decltype(zero)>(); });
  }

  const Taps<T>& x() const { return x_; }
  const Taps<T>& y() const { return y_; }
  int64_t cells() const { return cells_; }  // the mask's side with the zeros around it

  T cell(int64_t y, int64_t x) const {
    const int64_t inner = args_.masks.shape[1];
    y -= border_;
    x -= border_;
    if (y < 0 || y >= inner || x < 0 || x >= inner) return T(0);
    const Array& m = args_.masks;
    return m.at<T>()[n_ * m.stride[0] + y * m.stride[1] + x * m.stride[2]];
  }

  T limit() const { return static_cast<T>(*args_.threshold); }
  bool inside(T value, T limit) const {
    return args_.convention == PasteConvention::torchvision ? value > limit : value >= limit;
  }

 private:
  template <class B>
  void find_taps() {
    const int64_t inner = args_.masks.shape[1];
    const B x1 = args_.boxes.at<B>(n_, 0), y1 = args_.boxes.at<B>(n_, 1);
    const B x2 = args_.boxes.at<B>(n_, 2), y2 = args_.boxes.at<B>(n_, 3);
    if (args_.convention == PasteConvention::detectron2) {
      centre_taps(x_, x1, x2, width_, inner);
      centre_taps(y_, y1, y2, height_, inner);
    } else {
      const double growth = static_cast<double>(cells_) / static_cast<double>(inner);
      resize_taps(x_, x1, x2, growth, width_, cells_);
      resize_taps(y_, y1, y2, growth, height_, cells_);
    }
  }

  const PasteMasksArgs& args_;
  const int64_t height_, width_, border_, cells_;
  int64_t n_ = 0;
  Taps<T> x_, y_;
};

inline void check_paste_args(const char* op, const PasteMasksArgs& args) {
  check_floating(op, "masks", args.masks);
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "masks", args.masks, {-1, -1, -1});
  const int64_t n = args.masks.shape[0];
  check_shape(op, "masks", args.masks, {n, args.masks.shape[1], args.masks.shape[1]});
  check_shape(op, "boxes", args.boxes, {n, 4});
  if (args.masks.shape[1] < 1 || args.padding < 0)
    throw std::invalid_argument(message(op, ": masks must have cells, and padding be at least 0"));
}

}  // namespace roiops
