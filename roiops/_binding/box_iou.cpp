// The overlap of boxes, of four kinds.
#include "roiops/box_iou.h"

#include <pybind11/pybind11.h>

#include <string>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
namespace {

IouKind iou_kind(const std::string& name) {
  if (name == "generalized") return IouKind::generalized;
  if (name == "distance") return IouKind::distance;
  if (name == "complete") return IouKind::complete;
  return IouKind::iou;
}

}  // namespace

void bind_box_iou(py::module_& m) {
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
}

}  // namespace roiops::binding
