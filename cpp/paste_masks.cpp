// A task is one mask: taps of both axes first, then the mask's rows stretched to the box's width,
// then each picture row as a blend of two of those.
#include "roiops/paste_masks.h"

#include <algorithm>
#include <vector>

#include "internal/paste_masks_check.h"
#include "internal/paste_plan.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

template <class T>
class Paster {
 public:
  Paster(const Array& out, const PasteMasksArgs& args)
      : out_(out), args_(args), plan_(args, out.shape[1], out.shape[2]) {}

  void operator()(int64_t n) {
    plan_.open(n);
    stretch_rows();
    if (args_.threshold)
      write<uint8_t>(n);
    else
      write<T>(n);
  }

 private:
  void stretch_rows() {
    const Taps<T>& taps = plan_.x();
    rows_.resize(plan_.cells() * taps.size());
    T* row = rows_.data();
    for (int64_t y = 0; y < plan_.cells(); ++y)
      for (int64_t x = 0; x < taps.size(); ++x)
        *row++ = blend(plan_.cell(y, taps.low[x]), plan_.cell(y, taps.high[x]), taps.weight[x]);
  }

  T finish(T value, T*) const { return value; }
  uint8_t finish(T value, uint8_t*) const { return plan_.inside(value, plan_.limit()); }

  template <class Pixel>
  void write(int64_t n) const {
    const Taps<T>&along_x = plan_.x(), &along_y = plan_.y();
    const int64_t height = out_.shape[1], width = out_.shape[2];
    if (!width) return;
    const Pixel nothing = finish(T(0), static_cast<Pixel*>(nullptr));
    const int64_t right = along_x.first + along_x.size();
    for (int64_t y = 0; y < height; ++y) {
      Pixel* picture = out_.at<Pixel>() + n * out_.stride[0] + y * out_.stride[1];
      const int64_t j = y - along_y.first;
      if (j < 0 || j >= along_y.size() || !along_x.size()) {
        std::fill(picture, picture + width, nothing);
        continue;
      }
      std::fill(picture, picture + along_x.first, nothing);
      const T* low = rows_.data() + along_y.low[j] * along_x.size();
      const T* high = rows_.data() + along_y.high[j] * along_x.size();
      for (int64_t x = 0; x < along_x.size(); ++x)
        picture[along_x.first + x] =
            finish(blend(low[x], high[x], along_y.weight[j]), static_cast<Pixel*>(nullptr));
      std::fill(picture + right, picture + width, nothing);
    }
  }

  const Array& out_;
  const PasteMasksArgs& args_;
  PastePlan<T> plan_;
  std::vector<T> rows_;  // [cells][pixels of the box]
};

}  // namespace

void paste_masks(const Array& out, const PasteMasksArgs& args) {
  check_paste_masks(out, args);
  dispatch_float(args.masks.dtype, [&](auto zero) {
    parallel_for(args.masks.shape[0], args.execution.threads,
                 [&] { return Paster<decltype(zero)>(out, args); });
  });
}

}  // namespace roiops
