// RoIPool on the CPU; tasks and their owners as in roi_align.cpp. The winning cells are found again
// in the backward pass: that costs less than an index per output, and nothing where none is asked
// for.
#include "roiops/roi_pool.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "internal/channel_blocks.h"
#include "internal/huge_pages.h"
#include "internal/roi_groups.h"
#include "internal/roi_pool_check.h"
#include "internal/roi_pool_kernels.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

const RoiPoolKernels<float>& kernels(float) { return pick_roi_pool_float(); }
const RoiPoolKernels<double>& kernels(double) { return pick_roi_pool_double(); }

// The cells of every bin of every RoI: (K, PH + PW).
class PoolPlan {
 public:
  PoolPlan(const char* op, const RoiPoolArgs& args, int64_t rows, int64_t cols)
      : groups_(op, args.rois, Array{}, args.input.shape[0], 1),
        rows_(rows),
        cols_(cols),
        cells_(args.rois.shape[0] * (rows + cols)) {
    dispatch_float(args.rois.dtype, [&](auto zero) {
      using T = decltype(zero);
      const T scale = static_cast<T>(args.spatial_scale);
      parallel_ranges(args.rois.shape[0], 64, args.execution.threads,
                      [&](int64_t begin, int64_t end) {
                        for (int64_t k = begin; k < end; ++k) {
                          CellRange* to = &cells_[k * (rows_ + cols_)];
                          bool finite = true;
                          for (int side = 1; side < 5; ++side)
                            finite &= std::isfinite(args.rois.at<T>(k, side));
                          fill(to, args.rois.at<T>(k, 2), args.rois.at<T>(k, 4), scale, rows_,
                               finite ? args.input.shape[2] : 0);
                          fill(to + rows_, args.rois.at<T>(k, 1), args.rois.at<T>(k, 3), scale,
                               cols_, finite ? args.input.shape[3] : 0);
                        }
                      });
    });
  }

  const RoiGroups& groups() const { return groups_; }
  PoolBins bins(int64_t k) const {
    const CellRange* y = &cells_[k * (rows_ + cols_)];
    return {y, y + rows_, rows_, cols_};
  }
  Patch patch(int64_t k) const {
    const PoolBins b = bins(k);
    const CellRange y = hull(b.y, rows_), x = hull(b.x, cols_);
    if (y.begin >= y.end || x.begin >= x.end) return {0, 0, 0, 0};
    return {y.begin, x.begin, y.end - y.begin, x.end - x.begin};
  }
  int64_t cells(const RoiGroup& group) const {
    double cells = 0;  // many RoIs may each be as large as the largest map
    for (int64_t i = 0; i < group.count; ++i)
      cells += static_cast<double>(patch(group.rois[i]).cells());
    return static_cast<int64_t>(std::min(cells, 9e18));
  }

 private:
  template <class T>
  static void fill(CellRange* to, T low, T high, T scale, int64_t bins, int64_t size) {
    for (int64_t p = 0; p < bins; ++p)
      pool_cells(low, high, scale, true, p, bins, size, &to[p].begin, &to[p].end);
  }
  static CellRange hull(const CellRange* ranges, int64_t count) {
    CellRange all{std::numeric_limits<int32_t>::max(), 0};
    for (int64_t p = 0; p < count; ++p) {
      if (ranges[p].begin >= ranges[p].end) continue;
      all.begin = std::min(all.begin, ranges[p].begin);
      all.end = std::max(all.end, ranges[p].end);
    }
    return all;
  }

  const RoiGroups groups_;
  const int64_t rows_, cols_;
  std::vector<CellRange> cells_;
};

template <class T, class Acc>
void forward(const Array& output, const RoiPoolArgs& args, const Array& values) {
  const PoolPlan plan("roi_pool", args, output.shape[2], output.shape[3]);
  const int64_t blocks = blocks_of(output.shape[1]);
  const Patch bins{0, 0, output.shape[2], output.shape[3]};
  const std::vector<RoiGroup> runs =
      plan.groups().runs(blocks, args.execution.threads, in_place<T, Acc>(args.input));
  const auto width = static_cast<int32_t>(args.input.shape[3]);
  ask_for_huge_pages(output);

  parallel_for(static_cast<int64_t>(runs.size()) * blocks, args.execution.threads, [&] {
    return [&, input = BlockReader<T, Acc>(), value = BlockReader<T, Acc>(),
            result = std::vector<Acc>(bins.cells() * L)](int64_t task) mutable {
      const RoiGroup run = runs[task / blocks];
      const int64_t block = task % blocks, cells = plan.cells(run);
      input.open(args.input, run.image, block, cells);
      if (values.data) value.open(values, run.image, block, cells);
      for (int64_t i = 0; i < run.count; ++i) {
        const int64_t k = run.rois[i];
        const Patch patch = plan.patch(k);
        const Block<const Acc> in = input.read(patch);
        if (values.data)
          kernels(Acc()).directional(result.data(), in, value.read(patch), width, plan.bins(k));
        else
          kernels(Acc()).forward(result.data(), in, plan.bins(k));
        store_patch(channel_block<T>(output, k, block), result.data(), bins);
      }
    };
  });
}

template <class T, class Acc>
void grad_input(const Array& result, const Array& grad_output, const RoiPoolArgs& args) {
  const PoolPlan plan("roi_pool_backward", args, grad_output.shape[2], grad_output.shape[3]);
  const int64_t blocks = blocks_of(grad_output.shape[1]);
  const Patch bins{0, 0, grad_output.shape[2], grad_output.shape[3]};
  const Patch all{0, 0, result.shape[2], result.shape[3]};
  const auto width = static_cast<int32_t>(all.cols);
  ask_for_huge_pages(result);

  parallel_for(plan.groups().size() * blocks, args.execution.threads, [&] {
    return [&, sums = Scratch<Acc>(), input = BlockReader<T, Acc>(),
            grad = std::vector<Acc>(bins.cells() * L)](int64_t task) mutable {
      const RoiGroup group = plan.groups()[task / blocks];
      const int64_t block = task % blocks;
      Acc* sum = sums.get(all.cells());
      std::fill(sum, sum + all.cells() * L, Acc(0));
      input.open(args.input, group.image, block, plan.cells(group));
      for (int64_t i = 0; i < group.count; ++i) {
        const int64_t k = group.rois[i];
        load_patch(grad.data(), channel_block<T>(grad_output, k, block), bins);
        kernels(Acc()).grad_input(sum, input.read(plan.patch(k)), grad.data(), width, plan.bins(k));
      }
      store_patch(channel_block<T>(result, group.image, block), sum, all);
    };
  });
}

}  // namespace

void roi_pool_forward(const Array& output, const RoiPoolArgs& args, const Array& values) {
  check_roi_pool("roi_pool", args, output, "output");
  if (values.data) check_like_input("roi_pool", "values", values, args.input);
  if (output.size() == 0) {  // no channels: the RoIs are checked, no bins made
    RoiGroups("roi_pool", args.rois, Array{}, args.input.shape[0], 1);
    return;
  }
  dispatch_features(output.dtype, [&](auto stored, auto summed) {
    forward<decltype(stored), decltype(summed)>(output, args, values);
  });
}

void roi_pool_grad_input(const Array& result, const Array& grad_output, const RoiPoolArgs& args) {
  check_roi_pool("roi_pool_backward", args, grad_output, "grad_output");
  check_like_input("roi_pool_backward", "grad_input", result, args.input);
  dispatch_features(grad_output.dtype, [&](auto stored, auto summed) {
    grad_input<decltype(stored), decltype(summed)>(result, grad_output, args);
  });
}

}  // namespace roiops
