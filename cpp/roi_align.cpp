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
#include "internal/roi_align_kernels.h"
#include "internal/roi_align_plan.h"
#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

// The public function that an error speaks of.
std::string op_name(const RoiAlignArgs& args, const char* suffix = "") {
  if (args.placement == Placement::warp || args.placement == Placement::warp_mnc)
    return std::string("roi_warp") + suffix;
  if (args.position_sensitive)
    return (args.placement == Placement::cells ? "ps_roi_pool" : "ps_roi_align") +
           std::string(suffix);
  return (args.levels.data ? "multiscale_roi_align" : "roi_align") + std::string(suffix);
}

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

void check(const std::string& name, const RoiAlignArgs& args, const Array& pooled,
           const char* pooled_name) {
  const char* op = name.c_str();
  if (args.inputs.empty() || args.inputs.size() != args.spatial_scales.size())
    throw std::invalid_argument(
        message(op, ": input and spatial_scale must come in equal number, at least one"));
  const Array& first = args.inputs[0];
  check_features(op, "input", first);
  check_floating(op, "boxes", args.rois);
  check_shape(op, "boxes", args.rois, {-1, 5});
  if (args.levels.data) {
    check_shape(op, "levels", args.levels, {args.rois.shape[0]});
    check_dtype(op, "levels", args.levels, DType::int64);
  }
  for (const Array& input : args.inputs) {
    check_shape(op, "input", input, {first.shape[0], first.shape[1], -1, -1});
    check_dtype(op, "input", input, first.dtype);
    if (input.shape[2] < 1 || input.shape[3] < 1 || input.shape[2] > kMaxMapSide ||
        input.shape[3] > kMaxMapSide)
      throw std::invalid_argument(
          message(op, ": input must have height and width in [1, 2^30]; got ", shape_text(input)));
  }
  const int64_t channels = args.position_sensitive ? -1 : first.shape[1];
  check_shape(op, pooled_name, pooled, {args.rois.shape[0], channels, -1, -1});
  const int64_t rows = pooled.shape[2], cols = pooled.shape[3];
  if (rows < 1 || cols < 1)
    throw std::invalid_argument(
        message(op, ": output_size must be at least 1; got ", shape_text(pooled)));
  if (args.position_sensitive && (first.shape[1] % rows || first.shape[1] / rows % cols ||
                                  first.shape[1] / rows / cols != pooled.shape[1]))
    throw std::invalid_argument(message(op, ": input must have a channel per bin and channel of ",
                                        pooled_name, " ", shape_text(pooled), "; got ",
                                        shape_text(first)));
  if (args.max && args.position_sensitive)
    throw std::invalid_argument(message(op, ": reduction must be the mean"));
  if (args.placement == Placement::cells && !args.position_sensitive)
    throw std::invalid_argument(message(op, ": whole cells are pooled position-sensitively"));
  check_dtype(op, pooled_name, pooled, first.dtype);
  if (args.sampling_ratio > kMaxSamplingRatio)
    throw std::invalid_argument(message(op, ": sampling_ratio must be at most ", kMaxSamplingRatio,
                                        "; got ", args.sampling_ratio));
}

void check_like_inputs(const std::string& op, const char* name, const std::vector<Array>& maps,
                       const RoiAlignArgs& args) {
  if (maps.size() != args.inputs.size())
    throw std::invalid_argument(message(op, ": ", name, " must have one map per input"));
  for (size_t l = 0; l < maps.size(); ++l) {
    const int64_t* s = args.inputs[l].shape;
    check_shape(op.c_str(), name, maps[l], {s[0], s[1], s[2], s[3]});
    check_dtype(op.c_str(), name, maps[l], args.inputs[l].dtype);
  }
}

}  // namespace

void roi_align_forward(const Array& output, const RoiAlignArgs& args,
                       const std::vector<Array>& values) {
  check(op_name(args), args, output, "output");
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
  check(op, args, grad_output, "grad_output");
  check_like_inputs(op, "grad_input", grad_inputs, args);
  dispatch_features(grad_output.dtype, [&](auto stored, auto summed) {
    grad_input<decltype(stored), decltype(summed)>(grad_inputs, grad_output, args);
  });
}

void roi_align_grad_rois(const Array& result, const Array& grad_output, const RoiAlignArgs& args) {
  const std::string op = op_name(args, "_backward");
  check(op, args, grad_output, "grad_output");
  if (args.placement == Placement::cells)
    throw std::invalid_argument(message(op, ": whole cells give the boxes no gradient"));
  check_shape(op.c_str(), "grad_rois", result, {args.rois.shape[0], 5});
  check_floating(op.c_str(), "grad_rois", result);
  dispatch_features(grad_output.dtype, [&](auto stored, auto summed) {
    grad_rois<decltype(stored), decltype(summed)>(result, grad_output, args);
  });
}

}  // namespace roiops
