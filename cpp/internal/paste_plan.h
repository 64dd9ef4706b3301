// The taps of one pasted mask after another, for the CPU's loops.
#pragma once

#include <vector>

#include "internal/paste_geometry.h"
#include "roiops/array.h"

namespace roiops {

// What the pixels [first, first + size) of one axis read.
template <class T>
struct Taps {
  int64_t first = 0;
  std::vector<int64_t> low, high;
  std::vector<T> weight;
  int64_t size() const { return static_cast<int64_t>(low.size()); }

  void fill(const PasteAxis& axis) {
    const int64_t size = axis.end - axis.begin;
    low.resize(size);
    high.resize(size);
    weight.resize(size);
    first = axis.begin;
    for (int64_t i = 0; i < size; ++i) {
      const PasteTap<T> tap = axis.tap<T>(first + i);
      low[i] = tap.low;
      high[i] = tap.high;
      weight[i] = tap.weight;
    }
  }
};

// In a picture of height x width pixels.
template <class T>
class PastePlan {
 public:
  PastePlan(const PasteMasksArgs& args, int64_t height, int64_t width)
      : args_(args), rule_(args), height_(height), width_(width) {}

  void open(int64_t n) {
    mask_ = args_.masks.at<const T>() + n * args_.masks.stride[0];
    dispatch_float(args_.boxes.dtype, [&](auto zero) {
      using B = decltype(zero);
      const Array& b = args_.boxes;
      x_.fill(rule_.axis(b.at<B>(n, 0), b.at<B>(n, 2), width_));
      y_.fill(rule_.axis(b.at<B>(n, 1), b.at<B>(n, 3), height_));
    });
  }

  const Taps<T>& x() const { return x_; }
  const Taps<T>& y() const { return y_; }
  int64_t cells() const { return rule_.cells(); }  // the mask's side with the zeros around it

  T cell(int64_t y, int64_t x) const {
    return rule_.cell(mask_, args_.masks.stride[1], args_.masks.stride[2], y, x);
  }

  T limit() const { return static_cast<T>(*args_.threshold); }
  bool inside(T value, T limit) const { return rule_.inside(value, limit); }

 private:
  const PasteMasksArgs& args_;
  const PasteRule rule_;
  const int64_t height_, width_;
  const T* mask_ = nullptr;
  Taps<T> x_, y_;
};

}  // namespace roiops
