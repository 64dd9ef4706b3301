// A task is one mask. Of each row of bins the mask's rows are summed to one, over the columns that
// any bin reads (a loop that vectorises, and converts the bitmap as it goes), and that to the bins.
#include "roiops/crop_masks.h"

#include <algorithm>
#include <vector>

#include "internal/crop_masks_bins.h"
#include "internal/crop_masks_check.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The cells of one axis that each bin reads, and their weights.
class AxisCells {
 public:
  struct Bin {
    int64_t first, count, weights;
  };

  template <class T>
  void set(const RoiAxis<T>& axis, int64_t bins, int64_t size) {
    bins_.clear();
    weights_.clear();
    low_ = size;
    high_ = -1;
    for (int64_t p = 0; p < bins; ++p) {
      Bin bin{0, 0, static_cast<int64_t>(weights_.size())};
      each_cell(axis, p, bins, size, [&](int64_t cell, double weight) {
        if (!bin.count) bin.first = cell;
        bin.count = cell - bin.first + 1;
        weights_.resize(bin.weights + bin.count, 0.0);
        weights_.back() = weight;
      });
      if (bin.count) {
        low_ = std::min(low_, bin.first);
        high_ = std::max(high_, bin.first + bin.count - 1);
      }
      bins_.push_back(bin);
    }
  }

  const std::vector<Bin>& bins() const { return bins_; }
  const double* weights(const Bin& bin) const { return weights_.data() + bin.weights; }
  int64_t low() const { return low_; }  // of all bins; none if low > high
  int64_t high() const { return high_; }

 private:
  std::vector<Bin> bins_;
  std::vector<double> weights_;
  int64_t low_ = 0, high_ = -1;
};

template <class Cell>
void add_row(double* sums, const Cell* row, int64_t cells, int64_t step, double weight) {
  if (step == 1)
    for (int64_t x = 0; x < cells; ++x) sums[x] += weight * value_of(row[x]);
  else
    for (int64_t x = 0; x < cells; ++x) sums[x] += weight * value_of(row[x * step]);
}

template <class Cell>
class Cropper {
 public:
  Cropper(const Array& out, const CropMasksArgs& args) : out_(out), args_(args) {}

  void operator()(int64_t n) {
    dispatch_float(args_.boxes.dtype, [&](auto zero) { place<decltype(zero)>(n); });
    const int64_t cells = std::max<int64_t>(x_.high() - x_.low() + 1, 0);
    const Array& m = args_.masks;
    const Cell* mask = m.at<Cell>() + n * m.stride[0] + (cells ? x_.low() : 0) * m.stride[2];
    sums_.resize(cells);
    for (int64_t p = 0; p < out_.shape[1]; ++p) {
      std::fill(sums_.begin(), sums_.end(), 0.0);
      const AxisCells::Bin& bin = y_.bins()[p];
      for (int64_t j = 0; j < bin.count; ++j)
        if (y_.weights(bin)[j] != 0)
          add_row(sums_.data(), mask + (bin.first + j) * m.stride[1], cells, m.stride[2],
                  y_.weights(bin)[j]);
      for (int64_t q = 0; q < out_.shape[2]; ++q) {
        const int64_t at = n * out_.stride[0] + p * out_.stride[1] + q * out_.stride[2];
        write_target(out_.data, out_.dtype, at, mean(x_.bins()[q]));
      }
    }
  }

 private:
  template <class T>
  void place(int64_t n) {
    T box[4];
    for (int side = 0; side < 4; ++side) box[side] = args_.boxes.at<T>(n, side);
    const RoiAxes<T> axes = crop_axes(box, args_.aligned, out_.shape[1], out_.shape[2]);
    count_ = samples_of_bin(axes);
    y_.set(axes.y, out_.shape[1], args_.masks.shape[1]);
    x_.set(axes.x, out_.shape[2], args_.masks.shape[2]);
  }

  double mean(const AxisCells::Bin& bin) const {
    if (!bin.count) return 0.0;
    const double* weights = x_.weights(bin);
    const double* sums = sums_.data() + bin.first - x_.low();
    double sum = 0.0;
    for (int64_t i = 0; i < bin.count; ++i) sum += weights[i] != 0 ? sums[i] * weights[i] : 0.0;
    return sum / count_;
  }

  const Array& out_;
  const CropMasksArgs& args_;
  AxisCells y_, x_;
  double count_ = 1.0;  // samples of a bin
  std::vector<double> sums_;
};

}  // namespace

void crop_masks(const Array& out, const CropMasksArgs& args) {
  check_crop_masks(out, args);
  const auto run = [&](auto cell) {
    parallel_for(args.masks.shape[0], args.execution.threads,
                 [&] { return Cropper<decltype(cell)>(out, args); });
  };
  if (args.masks.dtype == DType::uint8)
    run(uint8_t{});
  else
    dispatch_features(args.masks.dtype, [&](auto stored, auto) { run(stored); });
}

}  // namespace roiops
