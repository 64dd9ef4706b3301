// A task is one mask: taps of both axes first, then the mask's rows stretched to the box's width,
// then each picture row as a blend of two of those.
#include "roiops/paste_masks.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "roiops/check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

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
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
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

template <class T>
class Paster {
 public:
  Paster(const Array& out, const PasteMasksArgs& args)
      : out_(out),
        args_(args),
        border_(args.convention == PasteConvention::torchvision ? args.padding : 1),
        cells_(args.masks.shape[1] + 2 * border_) {}

  void operator()(int64_t n) {
    dispatch_float(args_.boxes.dtype, [&](auto zero) { find_taps<decltype(zero)>(n); });
    stretch_rows(n);
    if (args_.threshold)
      write<uint8_t>(n);
    else
      write<T>(n);
  }

 private:
  template <class B>
  void find_taps(int64_t n) {
    const int64_t height = out_.shape[1], width = out_.shape[2], inner = args_.masks.shape[1];
    const B x1 = args_.boxes.at<B>(n, 0), y1 = args_.boxes.at<B>(n, 1);
    const B x2 = args_.boxes.at<B>(n, 2), y2 = args_.boxes.at<B>(n, 3);
    if (args_.convention == PasteConvention::detectron2) {
      centre_taps(x_, x1, x2, width, inner);
      centre_taps(y_, y1, y2, height, inner);
    } else {
      const double growth = static_cast<double>(cells_) / static_cast<double>(inner);
      resize_taps(x_, x1, x2, growth, width, cells_);
      resize_taps(y_, y1, y2, growth, height, cells_);
    }
  }

  T cell(int64_t n, int64_t y, int64_t x) const {
    const int64_t inner = args_.masks.shape[1];
    y -= border_;
    x -= border_;
    if (y < 0 || y >= inner || x < 0 || x >= inner) return T(0);
    const Array& m = args_.masks;
    return m.at<T>()[n * m.stride[0] + y * m.stride[1] + x * m.stride[2]];
  }

  void stretch_rows(int64_t n) {
    rows_.resize(cells_ * x_.size());
    T* row = rows_.data();
    for (int64_t y = 0; y < cells_; ++y)
      for (int64_t x = 0; x < x_.size(); ++x)
        *row++ = blend(cell(n, y, x_.low[x]), cell(n, y, x_.high[x]), x_.weight[x]);
  }

  T finish(T value, T*) const { return value; }
  uint8_t finish(T value, uint8_t*) const {
    const T limit = static_cast<T>(*args_.threshold);
    return args_.convention == PasteConvention::torchvision ? value > limit : value >= limit;
  }

  template <class Pixel>
  void write(int64_t n) const {
    const int64_t height = out_.shape[1], width = out_.shape[2];
    const Pixel nothing = finish(T(0), static_cast<Pixel*>(nullptr));
    const int64_t right = x_.first + x_.size();
    for (int64_t y = 0; y < height; ++y) {
      Pixel* picture = out_.at<Pixel>() + n * out_.stride[0] + y * out_.stride[1];
      const int64_t j = y - y_.first;
      if (j < 0 || j >= y_.size() || !x_.size()) {
        std::fill(picture, picture + width, nothing);
        continue;
      }
      std::fill(picture, picture + x_.first, nothing);
      const T* low = rows_.data() + y_.low[j] * x_.size();
      const T* high = rows_.data() + y_.high[j] * x_.size();
      for (int64_t x = 0; x < x_.size(); ++x)
        picture[x_.first + x] =
            finish(blend(low[x], high[x], y_.weight[j]), static_cast<Pixel*>(nullptr));
      std::fill(picture + right, picture + width, nothing);
    }
  }

  const Array& out_;
  const PasteMasksArgs& args_;
  const int64_t border_, cells_;  // zeros on each side of the mask; its side with them
  Taps<T> x_, y_;
  std::vector<T> rows_;  // [cells][pixels of the box]
};

}  // namespace

void paste_masks(const Array& out, const PasteMasksArgs& args) {
  const char* op = "paste_masks";
  check_floating(op, "masks", args.masks);
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "masks", args.masks, {-1, -1, -1});
  const int64_t n = args.masks.shape[0];
  check_shape(op, "masks", args.masks, {n, args.masks.shape[1], args.masks.shape[1]});
  check_shape(op, "boxes", args.boxes, {n, 4});
  check_shape(op, "out", out, {n, -1, -1});
  check_dtype(op, "out", out, args.threshold ? DType::uint8 : args.masks.dtype);
  if (args.masks.shape[1] < 1 || args.padding < 0 ||
      (n > 0 && out.shape[2] > 1 && out.stride[2] != 1))
    throw std::invalid_argument(
        message(op, ": masks must have cells, padding be at least 0, and out have whole rows"));
  dispatch_float(args.masks.dtype, [&](auto zero) {
    parallel_for(n, args.threads, [&] { return Paster<decltype(zero)>(out, args); });
  });
}

}  // namespace roiops
