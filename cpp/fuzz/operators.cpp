#include "operators.h"

#include <array>
#include <stdexcept>

#include "roiops/anchors.h"
#include "roiops/box_area.h"
#include "roiops/box_coding.h"
#include "roiops/box_convert.h"
#include "roiops/box_iou.h"
#include "roiops/check.h"
#include "roiops/clip_boxes.h"
#include "roiops/crop_masks.h"
#include "roiops/fpn_levels.h"
#include "roiops/keypoints.h"
#include "roiops/masks_to_boxes.h"
#include "roiops/match_boxes.h"
#include "roiops/nms.h"
#include "roiops/paste_masks.h"
#include "roiops/paste_masks_rle.h"
#include "roiops/rasterize_polygons.h"
#include "roiops/remove_small_boxes.h"
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
        args.execution.threads = threads;
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
        args.execution.threads = threads;
        roi_align_grad_input(views(grads), pooled.view, args);
      });
    }
    default: {
      Owned grad = s.output(args.rois.dtype, {count, 5});
      return twice(s, {&grad}, [&](int threads) {
        args.execution.threads = threads;
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
      args.execution.threads = threads;
      roi_pool_forward(pooled.view, args, directional ? values.view : Array{});
    });
  }
  Owned grad = s.output(dtype, {images, channels, height, width});
  return twice(s, {&grad}, [&](int threads) {
    args.execution.threads = threads;
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
    args.execution.threads = threads;
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
    args.execution.threads = threads;
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
    args.execution.threads = threads;
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
  const int64_t images = s.length(3), n = s.length(20), m = s.length(20);
  const Owned boxes1 = s.input(dtype, {images, n, 4}), boxes2 = s.input(dtype, {images, m, 4});
  BoxIouArgs args{boxes1.view, boxes2.view};
  args.kind = s.one_of({IouKind::iou, IouKind::generalized, IouKind::distance, IouKind::complete});
  args.eps = s.chance(0.9) ? 1e-7 : s.number();
  args.plus_one = s.chance(0.3);
  if (s.chance(0.5)) {
    Owned values = s.output(dtype, {images, n, m});
    return twice(s, {&values}, [&](int threads) {
      args.execution.threads = threads;
      box_iou(values.view, args);
    });
  }
  const Owned grad = s.input(dtype, {images, n, m});
  Owned grad1 = s.output(dtype, {images, n, 4}), grad2 = s.output(dtype, {images, m, 4});
  return twice(s, {&grad1, &grad2}, [&](int threads) {
    args.execution.threads = threads;
    box_iou_backward(grad1.view, grad2.view, grad.view, args);
  });
}

bool box_convert_case(Source& s) {
  const int64_t n = s.length(20);
  const bool rotated = s.chance(0.5);
  const auto format = [&] {
    return rotated ? s.one_of({BoxFormat::xywhr, BoxFormat::cxcywhr, BoxFormat::xyxyxyxy})
                   : s.one_of({BoxFormat::xyxy, BoxFormat::xywh, BoxFormat::cxcywh});
  };
  const auto length = [&](BoxFormat f) {
    return int64_t{rotated ? f == BoxFormat::xyxyxyxy ? 8 : 5 : 4};
  };
  BoxConvertArgs args{format(), format()};
  if (s.chance(0.01)) args.to = BoxFormat::xyxy;
  const DType dtype = s.one_of({DType::float32, DType::float64, DType::int64});
  const bool centred = !rotated && args.from != args.to &&
                       (args.from == BoxFormat::cxcywh || args.to == BoxFormat::cxcywh);
  const DType result = dtype == DType::int64 && centred ? DType::float32 : dtype;
  const Owned boxes = s.input(dtype, {n, length(args.from)});
  if (s.chance(0.5)) {
    Owned converted = s.output(result, {n, length(args.to)});
    return twice(s, {&converted}, [&](int threads) {
      args.execution.threads = threads;
      box_convert(converted.view, boxes.view, args);
    });
  }
  const Owned grad = s.input(dtype, {n, length(args.to)});
  Owned grad_boxes = s.output(dtype, {n, length(args.from)});
  return twice(s, {&grad_boxes}, [&](int threads) {
    args.execution.threads = threads;
    box_convert_backward(grad_boxes.view, grad.view, boxes.view, args);
  });
}

bool box_area_case(Source& s) {
  const int64_t n = s.length(20);
  const DType dtype = s.one_of({DType::float32, DType::float64, DType::int64});
  const Owned boxes = s.input(dtype, {n, 4}), grad = s.input(dtype, {n});
  Owned area = s.output(dtype, {n}), grad_boxes = s.output(dtype, {n, 4});
  const bool sized = s.chance(0.5);
  if (s.chance(0.5))
    return twice(s, {&area}, [&](int threads) { box_area(area.view, boxes.view, sized, threads); });
  return twice(s, {&grad_boxes}, [&](int threads) {
    box_area_backward(grad_boxes.view, grad.view, boxes.view, sized, threads);
  });
}

bool remove_small_boxes_case(Source& s) {
  const int64_t n = s.length(20);
  const Owned boxes = s.input(s.floating(), {n, 4});
  Owned keep = s.output(DType::int64, {n});
  const double least = s.number();
  return twice(s, {&keep}, [&](int threads) {
    for (int64_t i = remove_small_boxes(keep.view, boxes.view, least, threads); i < n; ++i)
      keep.view.at<int64_t>(i) = 0;
  });
}

bool masks_to_boxes_case(Source& s) {
  const int64_t n = s.length(4);
  const DType dtype = s.one_of({DType::uint8, DType::float32, DType::float64, DType::float16,
                                DType::int16, DType::int32, DType::int64, DType::int8});
  const int64_t width = s.chance(0.2) ? s.from_to(60, 140) : s.length(20);
  const Owned masks = s.input(dtype, {n, s.length(20), width},
                              [](Source& r) { return r.chance(0.05) ? r.number() : 0.0; });
  Owned boxes = s.output(DType::float32, {n, 4});
  return twice(s, {&boxes}, [&](int threads) { masks_to_boxes(boxes.view, masks.view, threads); });
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
        options.execution.threads = threads;
        encode_boxes(deltas.view, to.view, from.view, options);
      });
    const Owned grad = s.input(dtype, {n, 4});
    return twice(s, {&deltas, &other}, [&](int threads) {
      options.execution.threads = threads;
      encode_boxes_backward(deltas.view, other.view, grad.view, to.view, from.view, options);
    });
  }
  const Owned deltas = s.input(dtype, {batch, n, 4 * classes});
  const int64_t sharing = s.chance(0.5) ? 1 : batch;
  const Owned boxes = s.input(dtype, {sharing, n, 4});
  Owned decoded = s.output(dtype, {batch, n, 4 * classes});
  if (s.chance(0.5))
    return twice(s, {&decoded}, [&](int threads) {
      options.execution.threads = threads;
      decode_boxes(decoded.view, deltas.view, boxes.view, options);
    });
  const Owned grad = s.input(dtype, {batch, n, 4 * classes});
  Owned grad_boxes = s.output(dtype, {sharing, n, 4});
  return twice(s, {&decoded, &grad_boxes}, [&](int threads) {
    options.execution.threads = threads;
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
    args.execution.threads = threads;
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
    args.execution.threads = threads;
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
    args.execution.threads = threads;
    paste_masks(out.view, args);
  });
}

bool paste_masks_rle_case(Source& s) {
  const int64_t n = s.length(3), cells = s.length(6);
  const Owned masks =
      s.input(s.floating(), {n, cells, cells}, [](Source& r) { return r.number(1); });
  const Owned boxes = s.input(s.floating(), {n, 4}, [](Source& r) { return r.number(20); });
  PasteMasksArgs args{masks.view, boxes.view, {}, s.length(3), PasteConvention::torchvision, 1};
  if (s.chance(0.99)) args.threshold = s.number(1);
  if (s.chance(0.5)) args.convention = PasteConvention::detectron2;
  const int64_t height = s.length(20), width = s.length(20);
  std::vector<std::string> first;
  return twice(s, {}, [&](int threads) {
    args.execution.threads = threads;
    const std::vector<std::string> texts = paste_masks_rle(args, height, width);
    if (!first.empty() && texts != first) throw std::logic_error("paste_masks_rle: two texts");
    first = texts;
  });
}

bool crop_masks_case(Source& s) {
  const int64_t n = s.length(3);
  const DType dtype = s.chance(0.5) ? DType::uint8 : s.feature();
  const Owned masks = s.input(dtype, {n, s.length(15), s.length(15)},
                              [](Source& r) { return r.chance(0.5) ? 1.0 : r.number(1); });
  const Owned boxes = s.input(s.floating(), {n, 4}, [](Source& r) { return r.number(15); });
  CropMasksArgs args{masks.view, boxes.view, s.chance(0.5)};
  const DType soft = dtype == DType::float64 ? DType::float64 : DType::float32;
  Owned out = s.output(args.aligned ? DType::uint8 : soft, {n, s.length(6), s.length(6)});
  return twice(s, {&out}, [&](int threads) {
    args.execution.threads = threads;
    crop_masks(out.view, args);
  });
}

bool rasterize_polygons_case(Source& s) {
  const int64_t n = s.length(3);
  std::vector<double> objects{0}, polygons{0};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t p = s.from_to(0, 3); p > 0; --p)
      polygons.push_back(polygons.back() + static_cast<double>(s.from_to(0, 6)));
    objects.push_back(static_cast<double>(polygons.size()) - 1);
  }
  const auto offsets = [&](const std::vector<double>& values) {
    size_t at = 0;
    return s.input(DType::int64, {static_cast<int64_t>(values.size())}, [&](Source& r) {
      const double value = at < values.size() ? values[at++] : 0;
      return r.chance(0.998) ? value : r.number();
    });
  };
  const Owned vertices = s.input(DType::float64, {static_cast<int64_t>(polygons.back()), 2},
                                 [](Source& r) { return r.number(15); });
  const Owned starts = offsets(polygons), firsts = offsets(objects);
  const Owned boxes = s.input(s.floating(), {n, 4}, [](Source& r) { return r.number(15); });
  RasterizePolygonsArgs args{vertices.view, starts.view, firsts.view, boxes.view};
  Owned out = s.output(DType::uint8, {n, s.length(20), s.length(20)});
  return twice(s, {&out}, [&](int threads) {
    args.execution.threads = threads;
    rasterize_polygons(out.view, args);
  });
}

// --- keypoints -----------------------------------------------------------------------------------

bool keypoints_to_heatmap_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t n = s.length(4), k = s.length(4);
  const Owned keypoints = s.input(dtype, {n, k, 3}), boxes = s.input(dtype, {n, 4});
  Owned cells = s.output(DType::int64, {n, k}), valid = s.output(DType::int64, {n, k});
  const int64_t size = s.chance(0.98) ? s.from_to(1, 60) : s.from_to(-2, int64_t{1} << 40);
  return twice(s, {&cells, &valid}, [&](int threads) {
    keypoints_to_heatmap(cells.view, valid.view, keypoints.view, boxes.view, size, threads);
  });
}

bool heatmaps_to_keypoints_case(Source& s) {
  const DType dtype = s.floating();
  const int64_t n = s.length(2), k = s.length(2);
  const Owned maps = s.input(dtype, {n, k, s.length(6), s.length(6)});
  // Enormous boxes cost 4096 x 4096 pixels a map, each: few of them.
  const Owned boxes = s.input(
      dtype, {n, 4}, [](Source& r) { return r.chance(0.9995) ? r.uniform(-20, 40) : r.number(); });
  Owned keypoints = s.output(dtype, {n, k, 3});
  return twice(s, {&keypoints}, [&](int threads) {
    heatmaps_to_keypoints(keypoints.view, maps.view, boxes.view, threads);
  });
}

struct Operator {
  const char* name;
  bool (*run)(Source&);
};

constexpr Operator kOperators[] = {
    {"roi_align", roi_align_case},
    {"roi_pool", roi_pool_case},
    {"paste_masks_rle", paste_masks_rle_case},
    {"crop_masks", crop_masks_case},
    {"rasterize_polygons", rasterize_polygons_case},
    {"keypoints_to_heatmap", keypoints_to_heatmap_case},
    {"heatmaps_to_keypoints", heatmaps_to_keypoints_case},
    {"box_convert", box_convert_case},
    {"box_area", box_area_case},
    {"remove_small_boxes", remove_small_boxes_case},
    {"masks_to_boxes", masks_to_boxes_case},
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
