// The boxes around masks.
#include "roiops/masks_to_boxes.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_masks_to_boxes(py::module_& m) {
  m.def("masks_to_boxes",
        [](const py::object& boxes, const py::object& masks, const Execution& execution) {
          const Array out = view(boxes), in = view(masks);
          py::gil_scoped_release release;
          roiops::masks_to_boxes(out, in, execution);
        });
}

}  // namespace roiops::binding
