// Boxes of a least size.
#include "roiops/remove_small_boxes.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_remove_small_boxes(py::module_& m) {
  m.def("remove_small_boxes", [](const py::object& keep, const py::object& boxes, double min_size,
                                 const Execution& execution) {
    const Array out = view(keep), in = view(boxes);
    py::gil_scoped_release release;
    return roiops::remove_small_boxes(out, in, min_size, execution);
  });
}

}  // namespace roiops::binding
