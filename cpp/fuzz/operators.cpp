#include "operators.h"

#include <array>
#include <stdexcept>

#include "roiops/anchors.h"
#include "roiops/box_coding.h"
#include "roiops/box_iou.h"
#include "roiops/check.h"
#include "roiops/clip_boxes.h"
#include "roiops/fpn_levels.h"
#include "roiops/match_boxes.h"
#include "roiops/nms.h"
#include "roiops/paste_masks.h"
#include "roiops/roi_align.h"
#include "roiops/roi_pool.h"
#include "roiops/soft_nms.h"
#include "source.h"

namespace roiops::fuzz {
namespace {

// What a call left behind: its outputs' bytes, or the core's words why not.
struct Outcome {
  std::vector<unsigned char> bytes;
  std::string refusal;
};

Outcome outcome(const std::vector<Owned*>& outputs, unsigned char rubbish, int threads,
                const std::function<void(int)>& call) {
  for (Owned* output : outputs)
    output->each([&](unsigned char* p) { std::memset(p, rubbish, item_size(output->view.dtype)); });
  Outcome result;
  try {
    call(threads);
  } catch (const std::invalid_argument& error) {  // TypeError too
    result.refusal = error.what();
    return result;
  } catch (const std::out_of_range& error) {
    result.refusal = error.what();
    return result;
  }
  for (Owned* output : outputs) {
    const auto bytes = output->bytes();
    result.bytes.insert(result.bytes.end(), bytes.begin(), bytes.end());
  }
  return result;
}

// Whether the call gave a result.
bool twice(Source& s, const std::vector<Owned*>& outputs, const std::function<void(int)>& call) {
  const Outcome one = outcome(outputs, 0xA5, s.threads(), call);
  const Outcome two = outcome(outputs, 0x5A, s.threads(), call);
  if (one.refusal != two.refusal)
    throw std::logic_error("refused in one of two runs: " + one.refusal + two.refusal);
  if (one.bytes != two.bytes)
    throw std::logic_error("two runs differ: an element was not written, or not the same");
  return one.refusal.empty();
}

std::vector<Array> views(const std::vector<Owned>& arrays) {
  std::vector<Array> all;
  for (const Owned& a : arrays) all.push_back(a.view);
  return all;
}

// --- the pooling of regions ----------------------------------------------------------------------

bool roi_align_case(Source& s) {
  const bool pyramid = s.chance(0.4);
  const int64_t maps = pyramid ? s.from_to(1, 3) : 1;
  const int64_t images = s.length(3), channels = s.chance(0.3) ? s.from_to(15, 35) : s.length(4);
  const int64_t bins_y = s.length(4), bins_x = s.length(4), count = s.length(5);
  const DType dtype = s.feature();
  std::vector<Owned> inputs;
  RoiAlignArgs args;
  args.position_sensitive = s.chance(0.3);
  const int64_t bins = args.position_sensitive ? std::max<int64_t>(bins_y * bins_x, 1) : 1;
  for (int64_t l = 0; l < maps; ++l) {
    inputs.push_back(s.input(dtype, {images, bins * channels, s.length(12), s.length(12)}));
    args.spatial_scales.push_back(s.scale());
  }
  args.inputs = views(inputs);
  const Owned rois = s.rois(count, images, 12);
  args.rois = rois.view;
  const Owned levels = s.input(DType::int64, {count}, [&](Source& r) {
    return static_cast<double>(r.chance(0.995) ? r.from_to(0, maps - 1) : r.from_to(-9, 9));
  });
  if (pyramid) args.levels = levels.view;
  args.sampling_ratio = s.one_of<int64_t>({-1, -1, 0, 1, 2, 3, 9, -(int64_t{1} << 60)});
  if (s.chance(0.002)) args.sampling_ratio = s.one_of<int64_t>({4097, int64_t{1} << 60});
  args.placement =
      s.one_of({Placement::align, Placement::aligned, Placement::warp, Placement::warp_mnc});
  if (s.chance(args.position_sensitive ? 0.5 : 0.002)) args.placement = Placement::cells;
  args.max = s.chance(args.position_sensitive ? 0.002 : 0.4);
  Owned pooled = s.output(dtype, {count, channels, bins_y, bins_x});
  switch (s.from_to(0, 2)) {
    case 0: {
      std::vector<Owned> values;
      if (args.max && s.chance(0.3))
        for (const Owned& map : inputs)
          values.push_back(s.input(
              dtype, {map.view.shape, map.view.shape + std::max(0, std::min(map.view.ndim, 4))}));
      return twice(s, {&pooled}, [&](int threads) {
        args.threads = threads;
        roi_align_forward(pooled.view, args, views(values));
      });
    }
    case 1: {
      std::vector<Owned> grads;
      for (const Owned& map : inputs)
        grads.push_back(s.output(dtype, {map.view.shape, map.view.shape + map.view.ndim}));
      std::vector<Owned*> outputs;
      for (Owned& grad : grads) outputs.push_back(&grad);
      pooled.each([](unsigned char* p) { *p = 1; });
      return twice(s, outputs, [&](int threads) {
        args.threads = threads;
        roi_align_grad_input(views(grads), pooled.view, args);
      });
    }
    default: {
      Owned grad = s.output(args.rois.dtype, {count, 5});
      return twice(s, {&grad}, [&](int threads) {
        args.threads = threads;
        roi_align_grad_rois(grad.view, pooled.view, args);
      });
    }
  }
}

bool roi_pool_case(Source& s) {
  const int64_t images = s.length(3), channels = s.chance(0.3) ? s.from_to(15, 35) : s.length(4);
  const int64_t height = s.length(12), width = s.length(12), count = s.length(5);
  const DType dtype = s.feature();
  const Owned input = s.input(dtype, {images, channels, height, width});
  const Owned rois = s.rois(count, images, 12);
  RoiPoolArgs args{input.view, rois.view, s.scale(), 1};
  Owned pooled = s.output(dtype, {count, channels, s.length(4), s.length(4)});
  if (s.chance(0.5)) {
    const Owned values = s.input(dtype, {images, channels, height, width});
    const bool directional = s.chance(0.3);
    return twice(s, {&pooled}, [&](int threads) {
      args.threads = threads;
      roi_pool_forward(pooled.view, args, directional ? values.view : Array{});
    });
  }
  Owned grad = s.output(dtype, {images, channels, height, width});
  return twice(s, {&grad}, [&](int threads) {
    args.threads = threads;
    roi_pool_grad_input(grad.view, pooled.view, args);
  });
}

// --- boxes ---------------------------------------------------------------------------------------

bool nms_case(Source& s) {
  // Beyond some size a group is searched in another way.
  const int64_t n = s.chance(0.01) ? s.from_to(1000, 1500) : s.length(40);
  const Owned boxes = s.input(s.floating(), {n, 4}, [](Source& r) { return r.number(40); });
  const Owned scores = s.input(s.floating(), {n});
  const Owned idxs = s.input(DType::int64, {n}, [](Source& r) { return r.from_to(-1, 2); });
  NmsArgs args{boxes.view,
               scores.view,
               s.chance(0.4) ? idxs.view : Array{},
               s.chance(0.97) ? s.uniform(0, 1) : s.number(),
               s.chance(0.3),
               1};
  Owned keep = s.output(DType::int64, {n});
  int64_t kept = 0;
  return twice(s, {&keep}, [&](int threads) {
    args.threads = threads;
    kept = nms(keep.view, args);
    if (kept < 0 || kept > n) throw std::logic_error("nms: more kept than given");
    for (int64_t i = kept; i < n; ++i) keep.view.at<int64_t>(i) = 0;
  });
}

bool padded_nms_case(Source& s) {
  const int64_t images = s.length(3), n = s.chance(0.01) ? s.from_to(600, 900) : s.length(30);
  const Owned boxes = s.input(s.floating(), {images, n, 4}, [](Source& r) { return r.number(40); });
  const Owned scores = s.input(s.floating(), {images, n});
  const Owned idxs = s.input(DType::int64, {images, n}, [](Source& r) { return r.from_to(-1, 2); });
  NmsArgs args{
      boxes.view, scores.view, s.chance(0.4) ? idxs.view : Array{}, s.uniform(0, 1), false, {}, 1};
  if (s.chance(0.5)) args.score_threshold = s.number(1);
  Owned indices = s.output(DType::int64, {images, s.length(40)});
  Owned counts = s.output(DType::int64, {images});
  return twice(s, {&indices, &counts}, [&](int threads) {
    args.threads = threads;
    padded_nms(indices.view, counts.view, args);
  });
}

bool soft_nms_case(Source& s) {
  const int64_t n = s.chance(0.01) ? s.from_to(250, 700) : s.length(40);
  const Owned boxes = s.input(s.floating(), {n, 4}, [](Source& r) { return r.number(40); });
  const Owned scores = s.input(s.floating(), {n}, [](Source& r) { return r.number(1); });
  const Owned idxs = s.input(DType::int64, {n}, [](Source& r) { return r.from_to(-1, 2); });
  SoftNmsArgs args{boxes.view, scores.view, s.chance(0.4) ? idxs.view : Array{}};
  args.method = s.one_of({Decay::linear, Decay::gaussian, Decay::hard});
  args.iou_threshold = s.chance(0.97) ? s.uniform(0, 1) : s.number();
  args.sigma = s.scale();
  args.score_threshold = s.chance(0.9) ? s.uniform(0, 0.5) : s.number();
  Owned keep = s.output(DType::int64, {n}), new_scores = s.output(args.scores.dtype, {n});
  return twice(s, {&keep, &new_scores}, [&](int threads) {
    args.threads = threads;
    const int64_t kept = soft_nms(keep.view, new_scores.view, args);
    for (int64_t i = kept; i < n; ++i) {
      keep.view.at<int64_t>(i) = 0;
      dispatch_float(args.scores.dtype,
                     [&](auto zero) { new_scores.view.at<decltype(zero)>(i) = zero; });
    }
  });
}

bool box_iou_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t n = s.length(20), m = s.length(20);
  const Owned boxes1 = s.input(dtype, {n, 4}), boxes2 = s.input(dtype, {m, 4});
  BoxIouArgs args{boxes1.view, boxes2.view, s.chance(0.3), 1};
  if (s.chance(0.5)) {
    Owned iou = s.output(dtype, {n, m});
    return twice(s, {&iou}, [&](int threads) {
      args.threads = threads;
      box_iou(iou.view, args);
    });
  }
  const Owned grad = s.input(dtype, {n, m});
  Owned grad1 = s.output(dtype, {n, 4}), grad2 = s.output(dtype, {m, 4});
  return twice(s, {&grad1, &grad2}, [&](int threads) {
    args.threads = threads;
    box_iou_backward(grad1.view, grad2.view, grad.view, args);
  });
}

bool box_coding_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t batch = s.length(3), n = s.length(20), classes = s.length(3);
  DecodeOptions options;
  for (double& weight : options.weights) weight = s.scale();
  options.plus_one = s.chance(0.3);
  options.scale_clamp = s.number();
  options.clip = s.chance(0.5);
  options.height = s.number();
  options.width = s.number();
  if (s.chance(0.4)) {
    const Owned to = s.input(dtype, {n, 4}), from = s.input(dtype, {n, 4});
    Owned deltas = s.output(dtype, {n, 4}), other = s.output(dtype, {n, 4});
    if (s.chance(0.5))
      return twice(s, {&deltas}, [&](int threads) {
        options.threads = threads;
        encode_boxes(deltas.view, to.view, from.view, options);
      });
    const Owned grad = s.input(dtype, {n, 4});
    return twice(s, {&deltas, &other}, [&](int threads) {
      options.threads = threads;
      encode_boxes_backward(deltas.view, other.view, grad.view, to.view, from.view, options);
    });
  }
  const Owned deltas = s.input(dtype, {batch, n, 4 * classes});
  const int64_t sharing = s.chance(0.5) ? 1 : batch;
  const Owned boxes = s.input(dtype, {sharing, n, 4});
  Owned decoded = s.output(dtype, {batch, n, 4 * classes});
  if (s.chance(0.5))
    return twice(s, {&decoded}, [&](int threads) {
      options.threads = threads;
      decode_boxes(decoded.view, deltas.view, boxes.view, options);
    });
  const Owned grad = s.input(dtype, {batch, n, 4 * classes});
  Owned grad_boxes = s.output(dtype, {sharing, n, 4});
  return twice(s, {&decoded, &grad_boxes}, [&](int threads) {
    options.threads = threads;
    decode_boxes_backward(decoded.view, grad_boxes.view, grad.view, deltas.view, boxes.view,
                          options);
  });
}

bool clip_boxes_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t n = s.length(20);
  const Owned boxes = s.input(dtype, {n, 4}), grad = s.input(dtype, {n, 4});
  const ImageSize size{s.number(), s.number()};
  Owned out = s.output(dtype, {n, 4});
  const bool backward = s.chance(0.5);
  return twice(s, {&out}, [&](int threads) {
    if (backward)
      clip_boxes_backward(out.view, grad.view, boxes.view, size, threads);
    else
      clip_boxes(out.view, boxes.view, size, threads);
  });
}

bool match_boxes_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t images = s.length(3);
  const bool shared = s.chance(0.5);
  std::vector<Owned> targets, boxes;
  int64_t total = 0;
  for (int64_t i = 0; i < images; ++i) {
    targets.push_back(s.input(dtype, {s.length(5), 4}));
    if (shared && i) continue;
    const int64_t n = s.chance(0.1) ? s.from_to(250, 600) : s.length(20);
    boxes.push_back(s.input(dtype, {n, 4}));
    total += n * (shared ? images : 1);
  }
  MatchArgs args{views(targets), views(boxes), s.number(1), s.number(1), s.chance(0.5), 1};
  Owned matched = s.output(DType::int64, {total}), labels = s.output(DType::int8, {total});
  Owned ious = s.output(dtype, {total});
  return twice(s, {&matched, &labels, &ious}, [&](int threads) {
    args.threads = threads;
    match_boxes(matched.view, labels.view, ious.view, args);
  });
}

bool fpn_levels_case(Source& s) {
  const int64_t n = s.length(20);
  const Owned boxes = s.input(s.floating(), {n, 4});
  std::vector<double> thresholds(s.length(5));
  for (double& t : thresholds) t = s.number();
  Owned levels = s.output(DType::int64, {n});
  const int64_t low = s.from_to(-60, 60);
  return twice(s, {&levels},
               [&](int threads) { fpn_levels(levels.view, boxes.view, low, thresholds, threads); });
}

bool grid_anchors_case(Source& s) {
  GridAnchorArgs args{};
  args.height = s.length(8);
  args.width = s.length(8);
  args.stride_y = s.number();
  args.stride_x = s.number();
  for (int64_t i = s.length(3); i > 0; --i) args.sizes.push_back(s.number());
  for (int64_t i = s.length(3); i > 0; --i) args.aspect_ratios.push_back(s.number());
  args.convention = s.one_of(
      {AnchorConvention::torchvision, AnchorConvention::detectron2, AnchorConvention::detectron});
  const int64_t cells = args.height * args.width;
  const auto per_cell = static_cast<int64_t>(args.sizes.size() * args.aspect_ratios.size());
  Owned anchors = s.output(s.floating(), {cells * per_cell, 4});
  return twice(s, {&anchors}, [&](int threads) {
    args.threads = threads;
    grid_anchors(anchors.view, args);
  });
}

// --- masks ---------------------------------------------------------------------------------------

bool paste_masks_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t n = s.length(3), cells = s.length(6);
  const Owned masks = s.input(dtype, {n, cells, cells}, [](Source& r) { return r.number(1); });
  const Owned boxes = s.input(s.floating(), {n, 4}, [](Source& r) { return r.number(20); });
  PasteMasksArgs args{masks.view, boxes.view, {}, s.length(3), PasteConvention::torchvision, 1};
  if (s.chance(0.6)) args.threshold = s.number(1);
  if (s.chance(0.5)) args.convention = PasteConvention::detectron2;
  Owned out = s.output(args.threshold ? DType::uint8 : dtype, {n, s.length(20), s.length(20)});
  return twice(s, {&out}, [&](int threads) {
    args.threads = threads;
    paste_masks(out.view, args);
  });
}

struct Operator {
  const char* name;
  bool (*run)(Source&);
};

constexpr Operator kOperators[] = {
    {"roi_align", roi_align_case},
    {"roi_pool", roi_pool_case},
    {"padded_nms", padded_nms_case},
    {"soft_nms", soft_nms_case},
    {"nms", nms_case},
    {"box_iou", box_iou_case},
    {"box_coding", box_coding_case},
    {"clip_boxes", clip_boxes_case},
    {"match_boxes", match_boxes_case},
    {"fpn_levels", fpn_levels_case},
    {"grid_anchors", grid_anchors_case},
    {"paste_masks", paste_masks_case},
};

}  // namespace

void run_case(uint64_t number, Tally& tally) {
  Source source(number);
  const Operator& op = kOperators[number % std::size(kOperators)];
  Counts& counts = tally[op.name];
  ++(op.run(source) ? counts.results : counts.refused);
}

}  // namespace roiops::fuzz
