// Offsets between boxes: encoding and decoding.
#include "roiops/box_coding.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
namespace {

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

}  // namespace

void bind_box_coding(py::module_& m) {
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
}

}  // namespace roiops::binding
