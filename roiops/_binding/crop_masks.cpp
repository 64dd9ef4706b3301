// Targets of the mask head, from masks.
#include "roiops/crop_masks.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {
void bind_crop_masks(py::module_& m) {
  m.def("crop_masks", [](const py::object& cropped, const py::object& masks,
                         const py::object& boxes, bool aligned, const Execution& execution) {
    const roiops::CropMasksArgs args{view(masks), view(boxes), aligned, execution};
    const Array out = view(cropped);
    py::gil_scoped_release release;
    roiops::crop_masks(out, args);
  });
}

}  // namespace roiops::binding
