// Boxes within an image.
#include "roiops/clip_boxes.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_clip_boxes(py::module_& m) {
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
}

}  // namespace roiops::binding
