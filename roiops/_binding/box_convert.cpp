// Formats of boxes.
#include "roiops/box_convert.h"

#include <pybind11/pybind11.h>

#include <string>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
namespace {

BoxFormat box_format(const std::string& name) {
  if (name == "xywh") return BoxFormat::xywh;
  if (name == "cxcywh") return BoxFormat::cxcywh;
  if (name == "xywhr") return BoxFormat::xywhr;
  if (name == "cxcywhr") return BoxFormat::cxcywhr;
  if (name == "xyxyxyxy") return BoxFormat::xyxyxyxy;
  return BoxFormat::xyxy;
}

}  // namespace

void bind_box_convert(py::module_& m) {
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
}

}  // namespace roiops::binding
