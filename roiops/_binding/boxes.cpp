// Boxes: coding, formats, area, clipping, overlap, matching, pyramid levels, anchors; from masks.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>

#include "bindings.h"
#include "roiops/anchors.h"
#include "roiops/box_area.h"
#include "roiops/box_coding.h"
#include "roiops/box_convert.h"
#include "roiops/box_iou.h"
#include "roiops/clip_boxes.h"
#include "roiops/masks_to_boxes.h"
#include "roiops/match_boxes.h"
#include "roiops/remove_small_boxes.h"
#include "views.h"

namespace roiops::binding {
namespace {

AnchorConvention anchor_convention(const std::string& name) {
  if (name == "detectron2") return AnchorConvention::detectron2;
  if (name == "detectron") return AnchorConvention::detectron;
  return AnchorConvention::torchvision;
}

DecodeOptions decode_options(const std::array<double, 4>& weights, double scale_clamp,
                             const std::optional<std::array<double, 2>>& clip_to, bool plus_one,
                             const Execution& execution) {
  const bool clip = clip_to.has_value();
  return {{weights, plus_one, execution},
          scale_clamp,
          clip,
          clip ? (*clip_to)[0] : 0,
          clip ? (*clip_to)[1] : 0};
}

BoxFormat box_format(const std::string& name) {
  if (name == "xywh") return BoxFormat::xywh;
  if (name == "cxcywh") return BoxFormat::cxcywh;
  if (name == "xywhr") return BoxFormat::xywhr;
  if (name == "cxcywhr") return BoxFormat::cxcywhr;
  if (name == "xyxyxyxy") return BoxFormat::xyxyxyxy;
  return BoxFormat::xyxy;
}

IouKind iou_kind(const std::string& name) {
  if (name == "generalized") return IouKind::generalized;
  if (name == "distance") return IouKind::distance;
  if (name == "complete") return IouKind::complete;
  return IouKind::iou;
}

}  // namespace

void bind_boxes(py::module_& m) {
  m.def("encode_boxes",
        [](const py::object& deltas, const py::object& reference_boxes, const py::object& proposals,
           const std::array<double, 4>& weights, bool plus_one, const Execution& execution) {
          const Array out = view(deltas), to = view(reference_boxes), from = view(proposals);
          py::gil_scoped_release release;
          roiops::encode_boxes(out, to, from, {weights, plus_one, execution});
        });

  m.def("encode_boxes_backward",
        [](const py::object& grad_reference_boxes, const py::object& grad_proposals,
           const py::object& grad_deltas, const py::object& reference_boxes,
           const py::object& proposals, const std::array<double, 4>& weights, bool plus_one,
           const Execution& execution) {
          const Array grad_to = view(grad_reference_boxes), grad_from = view(grad_proposals);
          const Array grad = view(grad_deltas), to = view(reference_boxes), from = view(proposals);
          py::gil_scoped_release release;
          roiops::encode_boxes_backward(grad_to, grad_from, grad, to, from,
                                        {weights, plus_one, execution});
        });

  m.def("decode_boxes", [](const py::object& decoded, const py::object& deltas,
                           const py::object& boxes, const std::array<double, 4>& weights,
                           double scale_clamp, const std::optional<std::array<double, 2>>& clip_to,
                           bool plus_one, const Execution& execution) {
    const auto options = decode_options(weights, scale_clamp, clip_to, plus_one, execution);
    const Array out = view(decoded), offsets = view(deltas), from = view(boxes);
    py::gil_scoped_release release;
    roiops::decode_boxes(out, offsets, from, options);
  });

  m.def("decode_boxes_backward",
        [](const py::object& grad_deltas, const py::object& grad_boxes,
           const py::object& grad_decoded, const py::object& deltas, const py::object& boxes,
           const std::array<double, 4>& weights, double scale_clamp,
           const std::optional<std::array<double, 2>>& clip_to, bool plus_one,
           const Execution& execution) {
          const auto options = decode_options(weights, scale_clamp, clip_to, plus_one, execution);
          const Array grad_offsets = view(grad_deltas), grad_from = view(grad_boxes);
          const Array grad = view(grad_decoded), offsets = view(deltas), from = view(boxes);
          py::gil_scoped_release release;
          roiops::decode_boxes_backward(grad_offsets, grad_from, grad, offsets, from, options);
        });

  m.def("clip_boxes", [](const py::object& clipped, const py::object& boxes, double height,
                         double width, const Execution& execution) {
    const Array out = view(clipped), in = view(boxes);
    py::gil_scoped_release release;
    roiops::clip_boxes(out, in, {height, width}, execution);
  });

  m.def("clip_boxes_backward",
        [](const py::object& grad_boxes, const py::object& grad_clipped, const py::object& boxes,
           double height, double width, const Execution& execution) {
          const Array out = view(grad_boxes), grad = view(grad_clipped), in = view(boxes);
          py::gil_scoped_release release;
          roiops::clip_boxes_backward(out, grad, in, {height, width}, execution);
        });

  m.def("box_iou",
        [](const py::object& values, const py::object& boxes1, const py::object& boxes2,
           const std::string& kind, double eps, bool plus_one, const Execution& execution) {
          const Array out = view(values);
          const roiops::BoxIouArgs args{view(boxes1), view(boxes2), iou_kind(kind),
                                        eps,          plus_one,     execution};
          py::gil_scoped_release release;
          roiops::box_iou(out, args);
        });

  m.def("box_iou_backward", [](const py::object& grad_boxes1, const py::object& grad_boxes2,
                               const py::object& grad_values, const py::object& boxes1,
                               const py::object& boxes2, const std::string& kind, double eps,
                               bool plus_one, const Execution& execution) {
    const Array grad1 = view(grad_boxes1), grad2 = view(grad_boxes2), grad = view(grad_values);
    const roiops::BoxIouArgs args{view(boxes1), view(boxes2), iou_kind(kind),
                                  eps,          plus_one,     execution};
    py::gil_scoped_release release;
    roiops::box_iou_backward(grad1, grad2, grad, args);
  });

  m.def("box_convert",
        [](const py::object& converted, const py::object& boxes, const std::string& in_fmt,
           const std::string& out_fmt, const Execution& execution) {
          const Array out = view(converted), in = view(boxes);
          const roiops::BoxConvertArgs args{box_format(in_fmt), box_format(out_fmt), execution};
          py::gil_scoped_release release;
          roiops::box_convert(out, in, args);
        });

  m.def("box_convert_backward",
        [](const py::object& grad_boxes, const py::object& grad_converted, const py::object& boxes,
           const std::string& in_fmt, const std::string& out_fmt, const Execution& execution) {
          const Array out = view(grad_boxes), grad = view(grad_converted), in = view(boxes);
          const roiops::BoxConvertArgs args{box_format(in_fmt), box_format(out_fmt), execution};
          py::gil_scoped_release release;
          roiops::box_convert_backward(out, grad, in, args);
        });

  m.def("box_area", [](const py::object& area, const py::object& boxes, bool sized,
                       const Execution& execution) {
    const Array out = view(area), in = view(boxes);
    py::gil_scoped_release release;
    roiops::box_area(out, in, sized, execution);
  });

  m.def("box_area_backward", [](const py::object& grad_boxes, const py::object& grad_area,
                                const py::object& boxes, bool sized, const Execution& execution) {
    const Array out = view(grad_boxes), grad = view(grad_area), in = view(boxes);
    py::gil_scoped_release release;
    roiops::box_area_backward(out, grad, in, sized, execution);
  });

  m.def("remove_small_boxes", [](const py::object& keep, const py::object& boxes, double min_size) {
    const Array out = view(keep), in = view(boxes);
    py::gil_scoped_release release;
    return roiops::remove_small_boxes(out, in, min_size);
  });

  m.def("masks_to_boxes",
        [](const py::object& boxes, const py::object& masks, const Execution& execution) {
          const Array out = view(boxes), in = view(masks);
          py::gil_scoped_release release;
          roiops::masks_to_boxes(out, in, execution);
        });

  m.def("match_boxes",
        [](const py::object& matched_idxs, const py::object& labels, const py::object& ious,
           const py::sequence& targets, const py::sequence& boxes, double high, double low,
           bool allow_low_quality, const Execution& execution) {
          const Array indices = view(matched_idxs), marks = view(labels), overlaps = view(ious);
          const roiops::MatchArgs args{views(targets),    views(boxes), high, low,
                                       allow_low_quality, execution};
          py::gil_scoped_release release;
          roiops::match_boxes(indices, marks, overlaps, args);
        });

  m.def("grid_anchors",
        [](const py::object& anchors, int64_t height, int64_t width, double stride_y,
           double stride_x, std::vector<double> sizes, std::vector<double> aspect_ratios,
           const std::string& convention, const Execution& execution) {
          const roiops::GridAnchorArgs args{height,
                                            width,
                                            stride_y,
                                            stride_x,
                                            std::move(sizes),
                                            std::move(aspect_ratios),
                                            anchor_convention(convention),
                                            execution};
          const Array out = view(anchors);
          py::gil_scoped_release release;
          roiops::grid_anchors(out, args);
        });
}

}  // namespace roiops::binding
