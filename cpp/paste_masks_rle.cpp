// A task is one mask. A pixel column of the box blends two columns of cells to one; between two
// cells of that lie a few pixels, most often all inside or all outside, and then neither blended
// nor visited. What is held: the mask with its border, one column of it, the runs.
#include "roiops/paste_masks_rle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "internal/paste_masks_check.h"
#include "internal/paste_plan.h"
#include "internal/rle_text.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The runs of one picture, whose pixels are numbered down the columns.
class Runs {
 public:
  // The pixels from `position` on are inside or outside; positions ascend.
  void set(int64_t position, bool inside) {
    if (inside == (ends_.size() % 2 == 1)) return;
    if (!ends_.empty() && ends_.back() == position)  // what began here has no pixel
      ends_.pop_back();
    else
      ends_.push_back(position);
  }
  std::string text(int64_t pixels) const {
    return rle_text(ends_.data(), static_cast<int64_t>(ends_.size()), pixels);
  }

 private:
  std::vector<int64_t> ends_;
};

template <class T>
class RunPaster {
 public:
  RunPaster(std::vector<std::string>& texts, const PasteMasksArgs& args, int64_t height,
            int64_t width)
      : texts_(texts), plan_(args, height, width), height_(height), width_(width) {}

  void operator()(int64_t n) {
    plan_.open(n);
    Runs runs;
    const bool nothing = plan_.inside(T(0), plan_.limit());
    runs.set(0, nothing);
    const Taps<T>&x = plan_.x(), &y = plan_.y();
    if (x.size() && y.size()) {
      load();
      find_spans();
      const int64_t bottom = y.first + y.size();
      for (int64_t i = 0; i < x.size(); ++i) {
        const int64_t top = (x.first + i) * height_;
        if (y.first > 0) runs.set(top, nothing);
        blend_column(i);
        write_column(runs, top + y.first);
        if (bottom < height_) runs.set(top + bottom, nothing);
      }
      const int64_t right = x.first + x.size();
      if (right < width_) runs.set(right * height_, nothing);
    }
    texts_[n] = runs.text(height_ * width_);
  }

 private:
  // Pixels [begin, end) of the box's columns that lie between the same two cells.
  struct Span {
    int64_t low, high, begin, end;
  };

  // The mask with its border, column by column, and between which values nothing is certain.
  void load() {
    const int64_t cells = plan_.cells();
    mask_.resize(cells * cells);
    column_.resize(cells);
    T largest = 0;
    bool finite = true;
    for (int64_t x = 0; x < cells; ++x)
      for (int64_t y = 0; y < cells; ++y) {
        const T value = plan_.cell(y, x);
        mask_[x * cells + y] = value;
        finite &= std::isfinite(value);
        largest = std::max(largest, std::abs(value));
      }
    // A blend may leave the range of its two ends by the rounding of its three operations.
    using Limits = std::numeric_limits<T>;
    const T margin = finite ? 8 * Limits::epsilon() * largest + Limits::min() : Limits::infinity();
    surely_above_ = plan_.limit() + margin;
    surely_below_ = plan_.limit() - margin;
  }

  void find_spans() {
    const Taps<T>& y = plan_.y();
    spans_.clear();
    for (int64_t j = 0; j < y.size(); ++j) {
      if (spans_.empty() || y.low[j] != spans_.back().low || y.high[j] != spans_.back().high)
        spans_.push_back({y.low[j], y.high[j], j, j});
      spans_.back().end = j + 1;
    }
  }

  void blend_column(int64_t i) {
    const Taps<T>& x = plan_.x();
    const int64_t cells = plan_.cells();
    const T* low = &mask_[x.low[i] * cells];
    const T* high = &mask_[x.high[i] * cells];
    const T weight = x.weight[i];
    T* column = column_.data();
    for (int64_t y = 0; y < cells; ++y) column[y] = blend(low[y], high[y], weight);
  }

  void write_column(Runs& runs, int64_t top) const {
    const T* weights = plan_.y().weight.data();
    const T limit = plan_.limit();
    for (const Span& span : spans_) {
      const T low = column_[span.low], high = column_[span.high];
      if (low > surely_above_ && high > surely_above_)
        runs.set(top + span.begin, true);
      else if (low < surely_below_ && high < surely_below_)
        runs.set(top + span.begin, false);
      else
        for (int64_t j = span.begin; j < span.end; ++j)
          runs.set(top + j, plan_.inside(blend(low, high, weights[j]), limit));
    }
  }

  std::vector<std::string>& texts_;
  PastePlan<T> plan_;
  const int64_t height_, width_;
  std::vector<T> mask_, column_;
  std::vector<Span> spans_;
  T surely_above_ = 0, surely_below_ = 0;
};

}  // namespace

std::vector<std::string> paste_masks_rle(const PasteMasksArgs& args, int64_t height,
                                         int64_t width) {
  check_paste_masks_rle(args, height, width);
  std::vector<std::string> texts(args.masks.shape[0]);
  dispatch_float(args.masks.dtype, [&](auto zero) {
    parallel_for(args.masks.shape[0], args.execution.threads,
                 [&] { return RunPaster<decltype(zero)>(texts, args, height, width); });
  });
  return texts;
}

}  // namespace roiops
