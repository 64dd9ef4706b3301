// fpn_levels.
#include "roiops/fpn_levels.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {

void bind_fpn_levels(py::module_& m) {
  m.def("fpn_levels", [](const py::object& levels, const py::object& boxes, int64_t min_level,
                         const std::vector<double>& thresholds, const Execution& execution) {
    const Array out = view(levels), in = view(boxes);
    py::gil_scoped_release release;
    roiops::fpn_levels(out, in, min_level, thresholds, execution);
  });
}

}  // namespace roiops::binding
