// RoIAlign on the CPU: stencils from the sampling rule, then tasks of (RoIs, 16 channels).
//
// Forward: a task is a block of 16 channels of one map and a run of its RoIs. Backward to the
// input: a task owns 16 channels of one map and visits all its RoIs in index order, so no two
// threads add to one cell and the order of additions is fixed. Backward to the boxes: a task owns
// an RoI. Features that do not lie as 16 neighbouring channels of the accumulation type are read
// through a scratch copy of what is needed: an RoI's patch, or the whole block when the patches
// would cover more than the map.
#include "roiops/roi_align.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "roiops/check.h"
#include "roiops/geometry.h"
#include "roiops/parallel.h"
#include "roiops/roi_align_kernels.h"

namespace roiops {
namespace {

constexpr int L = ROIOPS_LANES;
constexpr int64_t kChunk = 64;  // RoIs whose stencils share memory

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

struct Patch {
  int64_t top, left, rows, cols;
  int64_t cells() const { return rows * cols; }
};

// The stencils of up to kChunk RoIs. Offsets instead of pointers while the vectors grow.
template <class Acc>
struct StencilChunk {
  struct Axis {
    int64_t ranges;  // first of this axis' bins in `ranges`
    int32_t low, high;  // cells it touches: [low, high]; empty if low > high
  };
  std::vector<BinRange> ranges;
  std::vector<Acc> weights, start_weights, end_weights;
  std::vector<SampleTaps<Acc>> samples;
  std::vector<Axis> axes;  // y, x of each RoI
};

template <class T>
bool finite_roi(const T* roi, const RoiAxis<T>& y, const RoiAxis<T>& x) {
  return std::isfinite(roi[0]) && std::isfinite(roi[1]) && std::isfinite(roi[2]) &&
         std::isfinite(roi[3]) && std::isfinite(y.start) && std::isfinite(y.length) &&
         std::isfinite(x.start) && std::isfinite(x.length);
}

template <class Acc>
class Plan {
 public:
  Plan(const char* op, const RoiAlignArgs& args, int64_t bins_y, int64_t bins_x, bool gradients)
      : args_(args), bins_y_(bins_y), bins_x_(bins_x), gradients_(gradients) {
    const int64_t images = args.inputs[0].shape[0];
    dispatch_float(args.rois.dtype, [&](auto zero) {
      using T = decltype(zero);
      group_rois<T>(op, images);
      const int64_t rois = args.rois.shape[0];
      chunks_.resize((rois + kChunk - 1) / kChunk);
      parallel_for(chunks_.size(), args.threads, [&] {
        return [&](int64_t c) {
          for (int64_t k = c * kChunk; k < std::min(rois, (c + 1) * kChunk); ++k)
            add_roi<T>(chunks_[c], k);
        };
      });
    });
  }

  // RoIs of one (level, image), in index order.
  struct Group {
    int64_t level, image;
    const int64_t* rois;
    int64_t count;
  };
  Group group(int64_t g) const {
    return {g / images(), g % images(), order_.data() + begin_[g], begin_[g + 1] - begin_[g]};
  }
  int64_t groups() const { return static_cast<int64_t>(begin_.size()) - 1; }
  int64_t images() const { return args_.inputs[0].shape[0]; }
  int64_t level(int64_t k) const { return level_[k]; }
  int64_t image(int64_t k) const { return image_[k]; }

  RoiStencil<Acc> stencil(int64_t k) const {
    const StencilChunk<Acc>& chunk = chunks_[k / kChunk];
    const auto* axes = &chunk.axes[2 * (k % kChunk)];
    return {axis(chunk, axes[0], bins_y_), axis(chunk, axes[1], bins_x_)};
  }
  // The part of the map an RoI reads or writes; no cells if none.
  Patch patch(int64_t k) const {
    const auto* axes = &chunks_[k / kChunk].axes[2 * (k % kChunk)];
    if (axes[0].low > axes[0].high || axes[1].low > axes[1].high) return {0, 0, 0, 0};
    return {axes[0].low, axes[1].low, axes[0].high - axes[0].low + 1,
            axes[1].high - axes[1].low + 1};
  }

 private:
  static AxisStencil<Acc> axis(const StencilChunk<Acc>& chunk,
                               const typename StencilChunk<Acc>::Axis& a, int64_t bins) {
    return {bins,
            chunk.ranges.data() + a.ranges,
            chunk.weights.data(),
            chunk.start_weights.data(),
            chunk.end_weights.data(),
            chunk.samples.data()};
  }

  template <class T>
  void group_rois(const char* op, int64_t images) {
    const int64_t rois = args_.rois.shape[0], levels = args_.inputs.size();
    level_.resize(rois);
    image_.resize(rois);
    begin_.assign(levels * images + 1, 0);
    for (int64_t k = 0; k < rois; ++k) {
      const T index = args_.rois.at<T>(k, 0);
      if (!(index >= 0 && index < static_cast<T>(images) && index == std::floor(index)))
        throw std::out_of_range(message(op, ": boxes[", k,
                                        ", 0] (batch index) must be a whole number in [0, ", images,
                                        "); got ", index));
      image_[k] = static_cast<int64_t>(index);
      level_[k] = args_.levels.data ? args_.levels.at<int64_t>(k) : 0;
      if (level_[k] < 0 || level_[k] >= levels)
        throw std::out_of_range(message(op, ": levels[", k, "] must be in [0, ", levels,
                                        "); got ", level_[k]));
      ++begin_[level_[k] * images + image_[k] + 1];
    }
    for (size_t g = 1; g < begin_.size(); ++g) begin_[g] += begin_[g - 1];
    order_.resize(rois);
    std::vector<int64_t> next(begin_.begin(), begin_.end() - 1);
    for (int64_t k = 0; k < rois; ++k) order_[next[level_[k] * images + image_[k]]++] = k;
  }

  template <class T>
  void add_roi(StencilChunk<Acc>& chunk, int64_t k) {
    const Array& input = args_.inputs[level_[k]];
    const T scale = static_cast<T>(args_.spatial_scales[level_[k]]);
    const T roi[4] = {args_.rois.at<T>(k, 1), args_.rois.at<T>(k, 2), args_.rois.at<T>(k, 3),
                      args_.rois.at<T>(k, 4)};
    RoiAxis<T> y = make_axis(roi[1], roi[3], scale, args_.aligned, bins_y_, args_.sampling_ratio);
    RoiAxis<T> x = make_axis(roi[0], roi[2], scale, args_.aligned, bins_x_, args_.sampling_ratio);
    T inverse = T(1) / std::max(y.grid * x.grid, T(1));
    if (!finite_roi(roi, y, x)) y.grid = x.grid = inverse = T(0);
    // The mean's 1/n rides on the row weights. The maximum takes one sample: its weight is 1.
    add_axis(chunk, y, bins_y_, input.shape[2], scale, args_.max ? T(1) : inverse);
    add_axis(chunk, x, bins_x_, input.shape[3], scale, T(1));
  }

  template <class T>
  void add_axis(StencilChunk<Acc>& chunk, const RoiAxis<T>& axis, int64_t bins, int64_t size,
                T scale, T factor) {
    typename StencilChunk<Acc>::Axis touched{static_cast<int64_t>(chunk.ranges.size()),
                                             std::numeric_limits<int32_t>::max(), -1};
    for (int64_t p = 0; p < bins; ++p) {
      const SampleRange range = visited_samples(axis, p, size);
      int32_t low = std::numeric_limits<int32_t>::max(), high = -1;
      const int64_t begin = chunk.samples.size();
      for (int64_t m = 0; m < range.count; ++m) {
        const AxisSample<T> s =
            sample_axis(axis, p, range.first + static_cast<double>(m), bins, size);
        const T slope = s.sloped ? scale : T(0);
        const T end = axis.clamped ? T(0) : s.position;
        chunk.samples.push_back({s.low, s.high, static_cast<Acc>(s.weight_low),
                                 static_cast<Acc>(s.weight_high),
                                 static_cast<Acc>(slope * (T(1) - end)),
                                 static_cast<Acc>(slope * end), s.valid});
        if (!s.valid) continue;
        low = std::min(low, s.low);
        high = std::max(high, s.high);
      }
      touched.low = std::min(touched.low, low);
      touched.high = std::max(touched.high, high);
      if (args_.max)
        chunk.ranges.push_back({0, static_cast<int32_t>(range.count), begin});
      else
        merge_samples(chunk, begin, low, high, static_cast<Acc>(factor));
    }
    chunk.axes.push_back(touched);
  }

  // Adds up a bin's samples to one weight per cell, and forgets them.
  void merge_samples(StencilChunk<Acc>& chunk, int64_t begin, int32_t low, int32_t high,
                     Acc factor) {
    const int32_t cells = high < low ? 0 : high - low + 1;
    const int64_t at = chunk.weights.size();
    chunk.ranges.push_back({cells ? low : 0, cells, at});
    chunk.weights.resize(at + cells, Acc(0));
    if (gradients_) {
      chunk.start_weights.resize(at + cells, Acc(0));
      chunk.end_weights.resize(at + cells, Acc(0));
    }
    for (size_t i = begin; i < chunk.samples.size(); ++i) {
      const SampleTaps<Acc>& s = chunk.samples[i];
      if (!s.valid) continue;
      chunk.weights[at + s.low - low] += factor * s.weight_low;
      chunk.weights[at + s.high - low] += factor * s.weight_high;
      if (!gradients_) continue;
      chunk.start_weights[at + s.low - low] -= factor * s.slope_start;
      chunk.start_weights[at + s.high - low] += factor * s.slope_start;
      chunk.end_weights[at + s.low - low] -= factor * s.slope_end;
      chunk.end_weights[at + s.high - low] += factor * s.slope_end;
    }
    chunk.samples.resize(begin);
  }

  const RoiAlignArgs& args_;
  const int64_t bins_y_, bins_x_;
  const bool gradients_;
  std::vector<int64_t> level_, image_, order_, begin_;
  std::vector<StencilChunk<Acc>> chunks_;
};

// Scratch memory of one thread. Not zeroed: whoever reads it has written it.
template <class Acc>
struct Scratch {
  std::unique_ptr<Acc[]> data;
  int64_t capacity = 0;
  Acc* get(int64_t n) {
    if (n > capacity) {
      data.reset(new Acc[n]);
      capacity = n;
    }
    return data.get();
  }
};

// 16 (or the last few) channels of one image of one map.
template <class Acc>
struct ChannelBlock {
  Acc* data;  // of channel `first` at cell (0, 0)
  int64_t channel, row, cell;  // strides
  int lanes;
  bool side_by_side() const { return lanes == L && channel == 1; }
};

template <class Acc>
ChannelBlock<Acc> channel_block(const Array& map, int64_t image, int64_t block) {
  const int64_t first = block * L;
  return {map.at<Acc>() + image * map.stride[0] + first * map.stride[1], map.stride[1],
          map.stride[2], map.stride[3],
          static_cast<int>(std::min<int64_t>(L, map.shape[1] - first))};
}

// Copies a patch to [rows][cols][16]; lanes past the last channel are zero.
template <class Acc>
void load_patch(Acc* to, const ChannelBlock<Acc>& from, const Patch& p) {
  for (int64_t y = 0; y < p.rows; ++y, to += p.cols * L) {
    const Acc* row = from.data + (p.top + y) * from.row + p.left * from.cell;
    for (int lane = 0; lane < L; ++lane) {
      if (lane >= from.lanes) {
        for (int64_t x = 0; x < p.cols; ++x) to[x * L + lane] = Acc(0);
        continue;
      }
      const Acc* cells = row + lane * from.channel;
      for (int64_t x = 0; x < p.cols; ++x) to[x * L + lane] = cells[x * from.cell];
    }
  }
}

template <class Acc>
void store_patch(const ChannelBlock<Acc>& to, const Acc* from, const Patch& p) {
  for (int64_t y = 0; y < p.rows; ++y, from += p.cols * L) {
    Acc* row = to.data + (p.top + y) * to.row + p.left * to.cell;
    for (int lane = 0; lane < to.lanes; ++lane) {
      Acc* cells = row + lane * to.channel;
      for (int64_t x = 0; x < p.cols; ++x) cells[x * to.cell] = from[x * L + lane];
    }
  }
}

// A block read in place, or through a scratch copy whose pointer is shifted so that map coordinates
// address it.
template <class Acc>
Block<const Acc> in_place(const ChannelBlock<Acc>& b) {
  return {b.data, b.row, b.cell};
}
template <class Acc>
Block<const Acc> copied(Acc* scratch, const ChannelBlock<Acc>& b, const Patch& p) {
  load_patch(scratch, b, p);
  return {scratch - (p.top * p.cols + p.left) * L, p.cols * L, L};
}

int64_t blocks_of(int64_t channels) { return (channels + L - 1) / L; }

// Reads the blocks of one map for one run of RoIs: decides once between a copy of the whole map and
// a copy per RoI. Both give the same values.
template <class Acc>
class BlockReader {
 public:
  void open(const Plan<Acc>& plan, const Array& map, int64_t image, int64_t block,
            const int64_t* rois, int64_t count) {
    block_ = channel_block<Acc>(map, image, block);
    whole_ = false;
    if (block_.side_by_side()) return;
    const Patch all{0, 0, map.shape[2], map.shape[3]};
    int64_t cells = 0;
    for (int64_t i = 0; i < count && cells <= all.cells(); ++i) cells += plan.patch(rois[i]).cells();
    whole_ = cells > all.cells();
    if (whole_) map_ = copied(scratch_.get(all.cells() * L), block_, all);
  }
  Block<const Acc> read(const Patch& patch) {
    if (block_.side_by_side()) return in_place(block_);
    if (whole_) return map_;
    return copied(scratch_.get(patch.cells() * L), block_, patch);
  }

 private:
  ChannelBlock<Acc> block_;
  bool whole_;
  Block<const Acc> map_;
  Scratch<Acc> scratch_;
};

// One RoI's 16 channels of the output (or of its gradient) as [PH * PW][16].
template <class Acc>
ChannelBlock<Acc> output_block(const Array& output, int64_t k, int64_t block) {
  return channel_block<Acc>(output, k, block);
}

template <class Acc>
void forward(const Array& output, const RoiAlignArgs& args, const std::vector<Array>& values) {
  const int64_t bins_y = output.shape[2], bins_x = output.shape[3];
  const Plan<Acc> plan("roi_align", args, bins_y, bins_x, false);
  const int64_t blocks = blocks_of(output.shape[1]);
  const Patch bins{0, 0, bins_y, bins_x};

  // Runs of RoIs of one map, short enough to keep every thread busy.
  struct Run {
    int64_t group, begin, end;
  };
  std::vector<Run> runs;
  const int64_t rois = args.rois.shape[0];
  const int64_t per_run = std::max<int64_t>(16, rois * blocks / (8 * args.threads) + 1);
  for (int64_t g = 0; g < plan.groups(); ++g)
    for (int64_t i = 0; i < plan.group(g).count; i += per_run)
      runs.push_back({g, i, std::min(plan.group(g).count, i + per_run)});

  parallel_for(static_cast<int64_t>(runs.size()) * blocks, args.threads, [&] {
    return [&, input = BlockReader<Acc>(), value = BlockReader<Acc>(),
            result = std::vector<Acc>(bins.cells() * L)](int64_t task) mutable {
      const Run run = runs[task / blocks];
      const int64_t block = task % blocks;
      const auto group = plan.group(run.group);
      const int64_t* members = group.rois + run.begin;
      const int64_t count = run.end - run.begin;
      input.open(plan, args.inputs[group.level], group.image, block, members, count);
      if (!values.empty())
        value.open(plan, values[group.level], group.image, block, members, count);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t k = members[i];
        const Patch patch = plan.patch(k);
        const RoiStencil<Acc> roi = plan.stencil(k);
        const Block<const Acc> in = input.read(patch);
        if (args.max) {
          const Block<const Acc> at = values.empty() ? Block<const Acc>{} : value.read(patch);
          Tables<Acc>::max().forward(result.data(), in, at, roi);
        } else {
          Tables<Acc>::mean().forward(result.data(), in, roi);
        }
        store_patch(output_block<Acc>(output, k, block), result.data(), bins);
      }
    };
  });
}

template <class Acc>
void grad_input(const std::vector<Array>& grad_inputs, const Array& grad_output,
                const RoiAlignArgs& args) {
  const int64_t bins_y = grad_output.shape[2], bins_x = grad_output.shape[3];
  const Plan<Acc> plan("roi_align_backward", args, bins_y, bins_x, false);
  const int64_t blocks = blocks_of(grad_output.shape[1]);
  const Patch bins{0, 0, bins_y, bins_x};

  parallel_for(plan.groups() * blocks, args.threads, [&] {
    return [&, sums = Scratch<Acc>(), input = BlockReader<Acc>(),
            grad = std::vector<Acc>(bins.cells() * L)](int64_t task) mutable {
      const auto group = plan.group(task / blocks);
      const int64_t block = task % blocks;
      const Array& map = grad_inputs[group.level];
      const ChannelBlock<Acc> target = channel_block<Acc>(map, group.image, block);
      const Patch all{0, 0, map.shape[2], map.shape[3]};
      Acc* sum = sums.get(all.cells() * L);
      std::fill(sum, sum + all.cells() * L, Acc(0));
      const Block<Acc> to{sum, all.cols * L, L};
      if (args.max)
        input.open(plan, args.inputs[group.level], group.image, block, group.rois, group.count);
      for (int64_t i = 0; i < group.count; ++i) {
        const int64_t k = group.rois[i];
        load_patch(grad.data(), output_block<Acc>(grad_output, k, block), bins);
        if (args.max)
          Tables<Acc>::max().grad_input(to, input.read(plan.patch(k)), grad.data(),
                                        plan.stencil(k));
        else
          Tables<Acc>::mean().grad_input(to, grad.data(), plan.stencil(k));
      }
      store_patch(target, sum, all);
    };
  });
}

template <class Acc>
void grad_rois(const Array& result, const Array& grad_output, const RoiAlignArgs& args) {
  const int64_t bins_y = grad_output.shape[2], bins_x = grad_output.shape[3];
  const Plan<Acc> plan("roi_align_backward", args, bins_y, bins_x, true);
  const int64_t blocks = blocks_of(grad_output.shape[1]);
  const Patch bins{0, 0, bins_y, bins_x};

  parallel_for(args.rois.shape[0], args.threads, [&] {
    return [&, input = BlockReader<Acc>(),
            grad = std::vector<Acc>(bins.cells() * L)](int64_t k) mutable {
      Acc sums[4 * L] = {};
      const Array& map = args.inputs[plan.level(k)];
      const Patch patch = plan.patch(k);
      for (int64_t block = 0; block < blocks && patch.cells(); ++block) {
        input.open(plan, map, plan.image(k), block, &k, 1);
        const Block<const Acc> in = input.read(patch);
        load_patch(grad.data(), output_block<Acc>(grad_output, k, block), bins);
        if (args.max)
          Tables<Acc>::max().grad_rois(sums, in, grad.data(), plan.stencil(k));
        else
          Tables<Acc>::mean().grad_rois(sums, in, grad.data(), plan.stencil(k));
      }
      // A tree of fixed shape over the lanes: the same bits for every vector width.
      for (int half = L / 2; half > 0; half /= 2)
        for (int side = 0; side < 4; ++side)
          for (int l = 0; l < half; ++l) sums[side * L + l] += sums[side * L + l + half];
      dispatch_float(result.dtype, [&](auto zero) {
        using T = decltype(zero);
        result.at<T>(k, 0) = T(0);
        for (int side = 0; side < 4; ++side)
          result.at<T>(k, 1 + side) = static_cast<T>(sums[side * L]);
      });
    };
  });
}

void check(const char* op, const RoiAlignArgs& args, const Array& pooled, const char* pooled_name) {
  if (args.inputs.empty() || args.inputs.size() != args.spatial_scales.size())
    throw std::invalid_argument(
        message(op, ": input and spatial_scale must come in equal number, at least one"));
  const Array& first = args.inputs[0];
  check_floating(op, "input", first);
  check_floating(op, "boxes", args.rois);
  check_shape(op, "boxes", args.rois, {-1, 5});
  if (args.levels.data) {
    check_shape(op, "levels", args.levels, {args.rois.shape[0]});
    check_dtype(op, "levels", args.levels, DType::int64);
  }
  for (const Array& input : args.inputs) {
    check_shape(op, "input", input, {first.shape[0], first.shape[1], -1, -1});
    check_dtype(op, "input", input, first.dtype);
    if (input.shape[2] < 1 || input.shape[3] < 1 || input.shape[2] >= INT32_MAX ||
        input.shape[3] >= INT32_MAX)
      throw std::invalid_argument(
          message(op, ": input must have height and width in [1, 2^31 - 2]; got ",
                  shape_text(input)));
  }
  check_shape(op, pooled_name, pooled, {args.rois.shape[0], first.shape[1], -1, -1});
  if (pooled.shape[2] < 1 || pooled.shape[3] < 1)
    throw std::invalid_argument(message(op, ": output_size must be at least 1; got ",
                                        shape_text(pooled)));
  check_dtype(op, pooled_name, pooled, first.dtype);
  if (args.sampling_ratio > kMaxSamplingRatio)
    throw std::invalid_argument(message(op, ": sampling_ratio must be at most ", kMaxSamplingRatio,
                                        "; got ", args.sampling_ratio));
}

void check_like_inputs(const char* op, const char* name, const std::vector<Array>& maps,
                       const RoiAlignArgs& args) {
  if (maps.size() != args.inputs.size())
    throw std::invalid_argument(message(op, ": ", name, " must have one map per input"));
  for (size_t l = 0; l < maps.size(); ++l) {
    const int64_t* s = args.inputs[l].shape;
    check_shape(op, name, maps[l], {s[0], s[1], s[2], s[3]});
    check_dtype(op, name, maps[l], args.inputs[l].dtype);
  }
}

}  // namespace

void roi_align_forward(const Array& output, const RoiAlignArgs& args,
                       const std::vector<Array>& values) {
  check("roi_align", args, output, "output");
  if (!values.empty()) check_like_inputs("roi_align", "values", values, args);
  dispatch_float(output.dtype, [&](auto zero) {
    forward<decltype(zero)>(output, args, values);
  });
}

void roi_align_grad_input(const std::vector<Array>& grad_inputs, const Array& grad_output,
                          const RoiAlignArgs& args) {
  check("roi_align_backward", args, grad_output, "grad_output");
  check_like_inputs("roi_align_backward", "grad_input", grad_inputs, args);
  dispatch_float(grad_output.dtype, [&](auto zero) {
    grad_input<decltype(zero)>(grad_inputs, grad_output, args);
  });
}

void roi_align_grad_rois(const Array& result, const Array& grad_output, const RoiAlignArgs& args) {
  check("roi_align_backward", args, grad_output, "grad_output");
  check_shape("roi_align_backward", "grad_rois", result, {args.rois.shape[0], 5});
  check_floating("roi_align_backward", "grad_rois", result);
  dispatch_float(grad_output.dtype, [&](auto zero) {
    grad_rois<decltype(zero)>(result, grad_output, args);
  });
}

}  // namespace roiops
