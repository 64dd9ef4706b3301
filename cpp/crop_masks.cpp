// A task is one mask. Of each row of bins the mask's rows are summed to one, over the columns that
// any bin reads (a loop that vectorises, and converts the bitmap as it goes), and that to the bins.
#include "roiops/crop_masks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The cells of one axis that each bin reads, and the summed weights of its samples. In float64:
// the result decides, and the weights of float32 boxes have exact products there.
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
      const SampleRange range = visited_samples(axis, p, size);
      Bin bin{0, 0, static_cast<int64_t>(weights_.size())};
      for (int64_t i = 0; i < range.count; ++i) {
        const AxisSample<T> s =
            sample_axis(axis, p, range.first + static_cast<double>(i), bins, size);
        if (s.valid) add(bin, s.low, s.high, s.weight_low, s.weight_high);
      }
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
  // Samples ascend: the first one's cell is the bin's first.
  void add(Bin& bin, int64_t low, int64_t high, double weight_low, double weight_high) {
    if (!bin.count) bin.first = low;
    bin.count = std::max(bin.count, high - bin.first + 1);
    weights_.resize(bin.weights + bin.count, 0.0);
    weights_[bin.weights + low - bin.first] += weight_low;
    weights_[bin.weights + high - bin.first] += weight_high;
  }

  std::vector<Bin> bins_;
  std::vector<double> weights_;
  int64_t low_ = 0, high_ = -1;
};

double value_of(uint8_t cell) { return cell; }
template <class Cell>
double value_of(Cell cell) {
  return static_cast<double>(widen(cell));
}

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
        if (y_.weights(bin)[j] != 0)  // whatever a cell of weight 0 holds, also NaN, is not read
          add_row(sums_.data(), mask + (bin.first + j) * m.stride[1], cells, m.stride[2],
                  y_.weights(bin)[j]);
      for (int64_t q = 0; q < out_.shape[2]; ++q) write(n, p, q, mean(x_.bins()[q]));
    }
  }

 private:
  template <class T>
  void place(int64_t n) {
    const T x1 = args_.boxes.at<T>(n, 0), y1 = args_.boxes.at<T>(n, 1);
    const T x2 = args_.boxes.at<T>(n, 2), y2 = args_.boxes.at<T>(n, 3);
    const Placement placement = args_.aligned ? Placement::aligned : Placement::align;
    RoiAxis<T> y = make_axis(y1, y2, T(1), placement, out_.shape[1], -1);
    RoiAxis<T> x = make_axis(x1, x2, T(1), placement, out_.shape[2], -1);
    const bool finite = std::isfinite(x1) && std::isfinite(y1) && std::isfinite(x2) &&
                        std::isfinite(y2) && std::isfinite(y.length) && std::isfinite(x.length);
    if (!finite) y.grid = x.grid = T(0);
    count_ = std::max(static_cast<double>(y.grid) * static_cast<double>(x.grid), 1.0);
    y_.set(y, out_.shape[1], args_.masks.shape[1]);
    x_.set(x, out_.shape[2], args_.masks.shape[2]);
  }

  double mean(const AxisCells::Bin& bin) const {
    if (!bin.count) return 0.0;
    const double* weights = x_.weights(bin);
    const double* sums = sums_.data() + bin.first - x_.low();
    double sum = 0.0;
    for (int64_t i = 0; i < bin.count; ++i) sum += weights[i] != 0 ? sums[i] * weights[i] : 0.0;
    return sum / count_;
  }

  void write(int64_t n, int64_t p, int64_t q, double mean) const {
    const int64_t at = n * out_.stride[0] + p * out_.stride[1] + q * out_.stride[2];
    if (args_.aligned)
      out_.at<uint8_t>()[at] = mean >= 0.5;
    else if (out_.dtype == DType::float64)
      out_.at<double>()[at] = mean;
    else
      out_.at<float>()[at] = static_cast<float>(mean);
  }

  const Array& out_;
  const CropMasksArgs& args_;
  AxisCells y_, x_;
  double count_ = 1.0;  // samples of a bin
  std::vector<double> sums_;
};

}  // namespace

void crop_masks(const Array& out, const CropMasksArgs& args) {
  const char* op = "crop_masks";
  const Array& masks = args.masks;
  if (masks.dtype != DType::uint8) check_features(op, "masks", masks);
  check_floating(op, "boxes", args.boxes);
  check_shape(op, "masks", masks, {-1, -1, -1});
  const int64_t n = masks.shape[0];
  check_shape(op, "boxes", args.boxes, {n, 4});
  check_shape(op, "out", out, {n, -1, -1});
  const DType mean = masks.dtype == DType::float64 ? DType::float64 : DType::float32;
  check_dtype(op, "out", out, args.aligned ? DType::uint8 : mean);
  for (int side = 1; side < 3; ++side)
    if (masks.shape[side] < 1 || masks.shape[side] > kMaxMapSide || out.shape[side] < 1)
      throw std::invalid_argument(
          message(op, ": masks must have sides of 1 to 2^30, and size be at least 1"));
  const auto run = [&](auto cell) {
    parallel_for(n, args.execution.threads, [&] { return Cropper<decltype(cell)>(out, args); });
  };
  if (masks.dtype == DType::uint8)
    run(uint8_t{});
  else
    dispatch_features(masks.dtype, [&](auto stored, auto) { run(stored); });
}

}  // namespace roiops
