// roi_pool.
#include "roiops/roi_pool.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {

void bind_roi_pool(py::module_& m) {
  m.def("roi_pool_forward",
        [](const py::object& output, const py::object& input, const py::object& rois,
           double spatial_scale, const Execution& execution, const py::object& values) {
          const roiops::RoiPoolArgs args{view(input), view(rois), spatial_scale, execution};
          const Array out = view(output), direction = view_or_none(values);
          py::gil_scoped_release release;
          roiops::roi_pool_forward(out, args, direction);
        });

  m.def("roi_pool_grad_input",
        [](const py::object& grad_input, const py::object& grad_output, const py::object& input,
           const py::object& rois, double spatial_scale, const Execution& execution) {
          const roiops::RoiPoolArgs args{view(input), view(rois), spatial_scale, execution};
          const Array out = view(grad_input), grad = view(grad_output);
          py::gil_scoped_release release;
          roiops::roi_pool_grad_input(out, grad, args);
        });
}

}  // namespace roiops::binding
