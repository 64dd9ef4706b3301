// Which cells of a mask a pasted pixel reads, how it blends them, and when it counts as inside: one
// rule for pictures and for run lengths, on the CPU and on a GPU. No floating-point contraction.
#pragma once

#include <cmath>
#include <cstdint>

#include "roiops/config.h"
#include "roiops/paste_masks.h"

namespace roiops {

// What a pixel reads along one axis: two cells of the mask with its border of zeros, and the weight
// of the higher one.
template <class T>
struct PasteTap {
  int64_t low, high;
  T weight;
};

// One axis of a box in the picture: its pixels [begin, end), which may be none.
struct PasteAxis {
  PasteConvention convention;
  int64_t begin, end, cells;  // torchvision's cells are those of the border too
  double start, length;       // torchvision: the first pixel, cells per pixel; else the exact box

  // Where a pixel's centre lies among the cells, cell i being centred at i.
  ROIOPS_HD double source(int64_t pixel) const {
    const double at = static_cast<double>(pixel);
    if (convention == PasteConvention::torchvision) {
      const double clamped = (at - start + 0.5) * length - 0.5;
      return clamped < 0.0 ? 0.0 : clamped;
    }
    return (at + 0.5 - start) / length * static_cast<double>(cells) - 0.5;
  }
  ROIOPS_HD bool reads(int64_t pixel) const {
    const double at = source(pixel);
    return at > -1 && at < static_cast<double>(cells);
  }
  template <class T>
  ROIOPS_HD PasteTap<T> tap(int64_t pixel) const {
    const double at = source(pixel);
    if (convention == PasteConvention::torchvision) {
      const int64_t whole = static_cast<int64_t>(at), last = cells - 1;
      const int64_t low = whole < last ? whole : last;
      return {low, low < last ? low + 1 : last, static_cast<T>(at - static_cast<double>(low))};
    }
    const double low = std::floor(at);  // from -1 on; the border is one cell
    return {static_cast<int64_t>(low) + 1, static_cast<int64_t>(low) + 2, static_cast<T>(at - low)};
  }
};

ROIOPS_INLINE double clamped_pixel(double at, int64_t pixels) {
  const double most = static_cast<double>(pixels);
  return at < 0.0 ? 0.0 : most < at ? most : at;
}

// torchvision: `cells` resized to the whole pixels of the grown box.
template <class B>
ROIOPS_INLINE PasteAxis resize_axis(B box_low, B box_high, double growth, int64_t pixels,
                                    int64_t cells) {
  PasteAxis axis{PasteConvention::torchvision, 0, 0, cells, 0.0, 0.0};
  const B half = (box_high - box_low) * B(0.5) * static_cast<B>(growth);
  const B centre = (box_high + box_low) * B(0.5);
  const double first = std::trunc(centre - half), last = std::trunc(centre + half);
  if (!std::isfinite(first) || !std::isfinite(last)) return axis;
  const double extent = last - first + 1;
  axis.start = first;
  axis.length = static_cast<double>(cells) / (extent < 1.0 ? 1.0 : extent);
  axis.begin = static_cast<int64_t>(clamped_pixel(first, pixels));
  axis.end = static_cast<int64_t>(clamped_pixel(last + 1, pixels));
  if (axis.end < axis.begin) axis.end = axis.begin;
  return axis;
}

// detectron2: the pixel centres between whose taps a cell of the mask lies.
ROIOPS_INLINE PasteAxis centre_axis(double start, double end, int64_t pixels, int64_t cells) {
  PasteAxis axis{PasteConvention::detectron2, 0, 0, cells, start, end - start};
  if (!(std::isfinite(start) && std::isfinite(end) && end > start)) return axis;
  // The pixels between which the mask lies, and one more on either side; each end is then tested.
  const double cell = (end - start) / static_cast<double>(cells);
  const double first = std::floor(start - 0.5 * cell - 0.5) - 1;
  const double last = std::ceil(end + 0.5 * cell - 0.5) + 1;
  axis.begin = static_cast<int64_t>(clamped_pixel(first, pixels));
  axis.end = static_cast<int64_t>(clamped_pixel(last + 1, pixels));
  while (axis.begin < axis.end && !axis.reads(axis.begin)) ++axis.begin;
  while (axis.begin < axis.end && !axis.reads(axis.end - 1)) --axis.end;
  return axis;
}

// How the masks of a call are pasted.
struct PasteRule {
  PasteConvention convention;
  int64_t inner, border;  // cells along a mask's side, and of zeros on each side of it

  explicit PasteRule(const PasteMasksArgs& args)
      : convention(args.convention),
        inner(args.masks.shape[1]),
        border(args.convention == PasteConvention::torchvision ? args.padding : 1) {}

  ROIOPS_HD int64_t cells() const { return inner + 2 * border; }

  template <class B>
  ROIOPS_HD PasteAxis axis(B low, B high, int64_t pixels) const {
    if (convention == PasteConvention::detectron2)
      return centre_axis(static_cast<double>(low), static_cast<double>(high), pixels, inner);
    const double growth = static_cast<double>(cells()) / static_cast<double>(inner);
    return resize_axis(low, high, growth, pixels, cells());
  }
  // The cell (y, x) of a mask with its border.
  template <class T>
  ROIOPS_HD T cell(const T* mask, int64_t row_stride, int64_t stride, int64_t y, int64_t x) const {
    y -= border;
    x -= border;
    if (y < 0 || y >= inner || x < 0 || x >= inner) return T(0);
    return mask[y * row_stride + x * stride];
  }
  template <class T>
  ROIOPS_HD bool inside(T value, T limit) const {
    return convention == PasteConvention::torchvision ? value > limit : value >= limit;
  }
};

template <class T>
ROIOPS_INLINE T blend(T low, T high, T weight) {
  return (T(1) - weight) * low + weight * high;
}

}  // namespace roiops
