// Masks that are pasted, inside a kernel: where their boxes lie, and a pixel column of one.
#pragma once

#include "each.cuh"
#include "internal/paste_geometry.h"

namespace roiops::cuda {

// Of a mask; where one has no pixels, neither has the other.
struct PasteAxes {
  PasteAxis x, y;
};

template <class B>
struct FindAxes {
  PasteRule rule;
  Strided<const B> boxes;
  int64_t height, width;
  PasteAxes* axes;

  __device__ void operator()(int64_t n) const {
    PasteAxes found{rule.axis(boxes.at(n, 0), boxes.at(n, 2), width),
                    rule.axis(boxes.at(n, 1), boxes.at(n, 3), height)};
    const bool empty = found.x.begin == found.x.end || found.y.begin == found.y.end;
    if (empty) found.x.begin = found.x.end = found.y.begin = found.y.end = 0;
    axes[n] = found;
  }
};

// The axes of all masks in a picture of height x width, in device memory.
inline const PasteAxes* find_axes(const char* op, const PasteMasksArgs& args, int64_t height,
                                  int64_t width) {
  const int64_t count = args.masks.shape[0];
  auto* axes = static_cast<PasteAxes*>(
      args.execution.workspace(static_cast<size_t>(count) * sizeof(PasteAxes)));
  dispatch_float(args.boxes.dtype, [&](auto zero) {
    using B = decltype(zero);
    for_each(op, count, args.execution,
             FindAxes<B>{PasteRule(args), Strided<const B>(args.boxes), height, width, axes});
  });
  return axes;
}

template <class T>
struct PastedMasks {
  PasteRule rule;
  Strided<const T> masks;
  const PasteAxes* axes;
  T limit;  // 0 without a threshold

  PastedMasks(const PasteMasksArgs& args, const PasteAxes* axes)
      : rule(args),
        masks(args.masks),
        axes(axes),
        limit(static_cast<T>(args.threshold.value_or(0))) {}
  __device__ bool inside(T value) const { return rule.inside(value, limit); }
};

// A pixel column, at rows that mostly lie between the same two cells as the one asked for before.
template <class T>
class PastedColumn {
 public:
  __device__ PastedColumn(const PastedMasks<T>& all, int64_t n, int64_t x)
      : all_(all), mask_(&all.masks.at(n)), x_{} {
    const PasteAxis& axis = all.axes[n].x;
    there_ = x >= axis.begin && x < axis.end;
    if (there_) x_ = axis.template tap<T>(x);
  }

  __device__ bool there() const { return there_; }  // else there is none, and no `at`
  __device__ T at(const PasteTap<T>& row) {
    if (row.low != held_) {
      held_ = row.low;
      low_ = blended(row.low);
      high_ = blended(row.high);
    }
    return blend(low_, high_, row.weight);
  }

 private:
  __device__ T cell(int64_t y, int64_t x) const {
    return all_.rule.cell(mask_, all_.masks.stride[1], all_.masks.stride[2], y, x);
  }
  __device__ T blended(int64_t y) const {
    return blend(cell(y, x_.low), cell(y, x_.high), x_.weight);
  }

  const PastedMasks<T>& all_;
  const T* mask_;
  bool there_;
  PasteTap<T> x_;
  int64_t held_ = -1;
  T low_ = 0, high_ = 0;  // the cells of a row's tap at this column
};

}  // namespace roiops::cuda
