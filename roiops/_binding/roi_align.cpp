// roi_align, and with it roi_warp, the pyramid and the position-sensitive poolings.
#include "roiops/roi_align.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
namespace {

// The Python layer has checked the names.
Placement placement_named(const std::string& name) {
  if (name == "aligned" || name == "ps_align") return Placement::aligned;
  if (name == "ps_pool") return Placement::cells;
  if (name == "warp") return Placement::warp;
  if (name == "warp_mnc") return Placement::warp_mnc;
  return Placement::align;
}

RoiAlignArgs roi_align_args(const py::sequence& inputs, const py::object& rois,
                            const py::object& levels, std::vector<double> spatial_scales,
                            int64_t sampling_ratio, const std::string& placement, bool max,
                            const Execution& execution) {
  const bool position_sensitive = placement == "ps_align" || placement == "ps_pool";
  return {views(inputs),  std::move(spatial_scales),  view(rois), view_or_none(levels),
          sampling_ratio, placement_named(placement), max,        position_sensitive,
          execution};
}

}  // namespace

void bind_roi_align(py::module_& m) {
  m.def("roi_align_forward",
        [](const py::object& output, const py::sequence& inputs, const py::object& rois,
           const py::object& levels, std::vector<double> scales, int64_t sampling_ratio,
           const std::string& placement, bool max, const Execution& execution,
           const py::sequence& values) {
          const auto args = roi_align_args(inputs, rois, levels, std::move(scales), sampling_ratio,
                                           placement, max, execution);
          const Array out = view(output);
          const auto value_views = views(values);
          py::gil_scoped_release release;
          roiops::roi_align_forward(out, args, value_views);
        });

  m.def("roi_align_grad_input",
        [](const py::sequence& grad_inputs, const py::object& grad_output,
           const py::sequence& inputs, const py::object& rois, const py::object& levels,
           std::vector<double> scales, int64_t sampling_ratio, const std::string& placement,
           bool max, const Execution& execution) {
          const auto args = roi_align_args(inputs, rois, levels, std::move(scales), sampling_ratio,
                                           placement, max, execution);
          const auto out = views(grad_inputs);
          const Array grad = view(grad_output);
          py::gil_scoped_release release;
          roiops::roi_align_grad_input(out, grad, args);
        });

  m.def("roi_align_grad_rois",
        [](const py::object& grad_rois, const py::object& grad_output, const py::sequence& inputs,
           const py::object& rois, const py::object& levels, std::vector<double> scales,
           int64_t sampling_ratio, const std::string& placement, bool max,
           const Execution& execution) {
          const auto args = roi_align_args(inputs, rois, levels, std::move(scales), sampling_ratio,
                                           placement, max, execution);
          const Array out = view(grad_rois), grad = view(grad_output);
          py::gil_scoped_release release;
          roiops::roi_align_grad_rois(out, grad, args);
        });
}

}  // namespace roiops::binding
