// Areas of boxes.
#include "roiops/box_area.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_box_area(py::module_& m) {
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
}

}  // namespace roiops::binding
