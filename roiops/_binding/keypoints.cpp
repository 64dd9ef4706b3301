// Keypoints.
#include "roiops/keypoints.h"

#include <pybind11/pybind11.h>

#include "bindings.h"
#include "views.h"

namespace roiops::binding {

void bind_keypoints(py::module_& m) {
  m.def("keypoints_to_heatmap",
        [](const py::object& cells, const py::object& valid, const py::object& keypoints,
           const py::object& boxes, int64_t size, const Execution& execution) {
          const Array to = view(cells), marks = view(valid);
          const Array points = view(keypoints), in = view(boxes);
          py::gil_scoped_release release;
          roiops::keypoints_to_heatmap(to, marks, points, in, size, execution);
        });

  m.def("heatmaps_to_keypoints", [](const py::object& keypoints, const py::object& heatmaps,
                                    const py::object& boxes, const Execution& execution) {
    const Array out = view(keypoints), maps = view(heatmaps), in = view(boxes);
    py::gil_scoped_release release;
    roiops::heatmaps_to_keypoints(out, maps, in, execution);
  });
}

}  // namespace roiops::binding
