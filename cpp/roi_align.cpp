// RoIAlign on the CPU: stencils from the sampling rule, then tasks of (RoIs, 16 channels).
//
// Forward: a task is a block of 16 channels of one map and a run of its RoIs. Backward to the
// input: a task owns 16 channels of one map and visits all its RoIs in an order that the boxes
// alone decide, so no two threads add to one cell and the order of additions is fixed. Backward to
// the boxes: a task owns an RoI. Position-sensitive pooling is the same for each bin by itself, the
// 16 channels being those that this bin of 16 output channels reads. Features that do not lie as 16
// neighbouring channels of the accumulation type are read through a scratch copy of what is needed:
// an RoI's patch, or the whole block when the patches would cover more than the map.
#include "roiops/roi_align.h"

#include <algorithm>
#include <string>
#include <vector>

#include "internal/channel_blocks.h"
#include "internal/huge_pages.h"
#include "internal/roi_align_check.h"
#include "internal/roi_align_kernels.h"
#include "internal/roi_align_plan.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

template <class Acc>
struct Tables;
template <>
struct Tables<float> {
  static const RoiAlignMeanKernels<float>& mean() { return pick_roi_align_mean_float(); }
  static const RoiAlignMaxKernels<float>& max() { return pick_roi_align_max_float(); }
};
template <>
struct Tables<double> {
  static const RoiAlignMeanKernels<double>& mean() { return pick_roi_align_mean_double(); }
  static const RoiAlignMaxKernels<double>& max() { return pick_roi_align_max_double(); }
};

// What the kernels read of one RoI.
template <class T, class Acc>
Block<const Acc> read(BlockReader<T, Acc>& input, const Plan<Acc>& plan, int64_t k,
                      const Patch& bins) {
  const Patch patch = plan.patch(k, bins);
  if (plan.reads_every_row(k, bins)) return input.read(patch);
  return input.read_rows(
      patch, [&](const auto& visit) { Plan<Acc>::each_row(plan.stencil(k, bins).y, visit); });
}

template <class T, class Acc>
void forward(const Array& output, const RoiAlignArgs& args, const std::vector<Array>& values) {
  const int64_t bins_y = output.shape[2], bins_x = output.shape[3];
  const Plan<Acc> plan(op_name(args), args, bins_y, bins_x, false);
  const int64_t blocks = blocks_of(output.shape[1]), owners = plan.parts() * blocks;
  ask_for_huge_pages(output);

  const std::vector<RoiGroup> runs = plan.groups().runs(
      owners, args.execution.threads, in_place<T, Acc>(args.inputs[0]) && !args.position_sensitive);
  parallel_for(static_cast<int64_t>(runs.size()) * owners, args.execution.threads, [&] {
    return [&, input = BlockReader<T, Acc>(), value = BlockReader<T, Acc>(),
            result = std::vector<Acc>(plan.bins(0).cells() * L),
            rows = std::vector<Acc>(kRowSlots * plan.bins(0).cols * L)](int64_t task) mutable {
      const RoiGroup run = runs[task / owners];
      const int64_t part = task % owners / blocks, block = task % blocks;
      const Patch bins = plan.bins(part);
      const int64_t cells = plan.cells(run, bins);
      const Array map = plan.template channels<T>(args.inputs[run.level], part);
      input.open(map, run.image, block, cells);
      if (!values.empty()) value.open(values[run.level], run.image, block, cells);
      for (int64_t i = 0; i < run.count; ++i) {
        const int64_t k = run.rois[i];
        const RoiStencil<Acc> roi = plan.stencil(k, bins);
        const Block<const Acc> in = read(input, plan, k, bins);
        if (!args.max)
          Tables<Acc>::mean().forward(result.data(), in, roi, rows.data());
        else if (values.empty())
          Tables<Acc>::max().forward(result.data(), in, roi);
        else
          Tables<Acc>::max().directional(result.data(), in, read(value, plan, k, bins), roi);
        store_patch(channel_block<T>(output, k, block), result.data(), bins);
      }
    };
  });
}

template <class T, class Acc>
void grad_input(const std::vector<Array>& grad_inputs, const Array& grad_output,
                const RoiAlignArgs& args) {
  const int64_t bins_y = grad_output.shape[2], bins_x = grad_output.shape[3];
  const Plan<Acc> plan(op_name(args, "_backward"), args, bins_y, bins_x, false);
  const int64_t blocks = blocks_of(grad_output.shape[1]), owners = plan.parts() * blocks;
  for (const Array& map : grad_inputs) ask_for_huge_pages(map);

  parallel_for(plan.groups().size() * owners, args.execution.threads, [&] {
    return [&, sums = Scratch<Acc>(), input = BlockReader<T, Acc>(),
            grad = std::vector<Acc>(plan.bins(0).cells() * L),
            rows = std::vector<Acc>(kRowSlots * plan.bins(0).cols * L)](int64_t task) mutable {
      const RoiGroup group = plan.groups()[task / owners];
      const int64_t part = task % owners / blocks, block = task % blocks;
      const Patch bins = plan.bins(part);
      const Array map = plan.template channels<T>(grad_inputs[group.level], part);
      const ChannelBlock<T> target = channel_block<T>(map, group.image, block);
      const Patch all{0, 0, map.shape[2], map.shape[3]};
      Acc* sum = sums.get(all.cells());
      std::fill(sum, sum + all.cells() * L, Acc(0));
      const Block<Acc> to{sum, all.cols * L, L};
      if (args.max)
        input.open(args.inputs[group.level], group.image, block, plan.cells(group, bins));
      for (int64_t i = 0; i < group.count; ++i) {
        const int64_t k = group.rois[i];
        load_patch(grad.data(), channel_block<T>(grad_output, k, block), bins);
        if (args.max)
          Tables<Acc>::max().grad_input(to, read(input, plan, k, bins), grad.data(),
                                        plan.stencil(k, bins));
        else
          Tables<Acc>::mean().grad_input(to, grad.data(), plan.stencil(k, bins), rows.data());
      }
      store_patch(target, sum, all);
    };
  });
}

template <class T, class Acc>
void grad_rois(const Array& result, const Array& grad_output, const RoiAlignArgs& args) {
  const int64_t bins_y = grad_output.shape[2], bins_x = grad_output.shape[3];
  const Plan<Acc> plan(op_name(args, "_backward"), args, bins_y, bins_x, true);
  const int64_t blocks = blocks_of(grad_output.shape[1]);

  parallel_for(args.rois.shape[0], args.execution.threads, [&] {
    return [&, input = BlockReader<T, Acc>(), grad = std::vector<Acc>(plan.bins(0).cells() * L),
            rows = std::vector<Acc>(3 * kRowSlots * plan.bins(0).cols * L)](int64_t k) mutable {
      Acc sums[4 * L] = {};
      for (int64_t part = 0; part < plan.parts(); ++part) {
        const Patch bins = plan.bins(part), patch = plan.patch(k, bins);
        const Array map = plan.template channels<T>(args.inputs[plan.groups().level(k)], part);
        for (int64_t block = 0; block < blocks && patch.cells(); ++block) {
          input.open(map, plan.groups().image(k), block, patch.cells());
          const Block<const Acc> in = read(input, plan, k, bins);
          load_patch(grad.data(), channel_block<T>(grad_output, k, block), bins);
          if (args.max)
            Tables<Acc>::max().grad_rois(sums, in, grad.data(), plan.stencil(k, bins));
          else
            Tables<Acc>::mean().grad_rois(sums, in, grad.data(), plan.stencil(k, bins),
                                          rows.data());
        }
      }
      // A tree of fixed shape over the lanes: the same bits for every vector width.
      for (int half = L / 2; half > 0; half /= 2)
        for (int side = 0; side < 4; ++side)
          for (int l = 0; l < half; ++l) sums[side * L + l] += sums[side * L + l + half];
      dispatch_float(result.dtype, [&](auto zero) {
        using Coord = decltype(zero);
        result.at<Coord>(k, 0) = Coord(0);
        for (int side = 0; side < 4; ++side)
          result.at<Coord>(k, 1 + side) = static_cast<Coord>(sums[side * L]);
      });
    };
  });
}

}  // namespace

void roi_align_forward(const Array& output, const RoiAlignArgs& args,
                       const std::vector<Array>& values) {
  check_roi_align(op_name(args), args, output, "output");
  if (!values.empty()) check_like_inputs(op_name(args), "values", values, args);
  if (output.size() == 0) {  // no channels: the RoIs are checked, no stencils made
    RoiGroups(op_name(args), args.rois, args.levels, args.inputs[0].shape[0],
              static_cast<int64_t>(args.inputs.size()));
    return;
  }
  dispatch_features(output.dtype, [&](auto stored, auto summed) {
    forward<decltype(stored), decltype(summed)>(output, args, values);
  });
}

void roi_align_grad_input(const std::vector<Array>& grad_inputs, const Array& grad_output,
                          const RoiAlignArgs& args) {
  const std::string op = op_name(args, "_backward");
  check_roi_align(op, args, grad_output, "grad_output");
  check_like_inputs(op, "grad_input", grad_inputs, args);
  dispatch_features(grad_output.dtype, [&](auto stored, auto summed) {
    grad_input<decltype(stored), decltype(summed)>(grad_inputs, grad_output, args);
  });
}

void roi_align_grad_rois(const Array& result, const Array& grad_output, const RoiAlignArgs& args) {
  const std::string op = op_name(args, "_backward");
  check_roi_align(op, args, grad_output, "grad_output");
  check_grad_rois(op, result, args);
  dispatch_features(grad_output.dtype, [&](auto stored, auto summed) {
    grad_rois<decltype(stored), decltype(summed)>(result, grad_output, args);
  });
}

}  // namespace roiops
